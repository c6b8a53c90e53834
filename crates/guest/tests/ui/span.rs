use wasmetry::{Level, event, span};

const NAME: &str = "load_cart";

fn main() {
    let user = 7;
    let _ = span!();
    let _ = span!(NAME);
    let _ = span!("");
    let _ = span!("load_cart" user);
    let _ = span!("load_cart", kind: query);
    let _ = span!("load_cart", kind: "client");
    let _ = span!("load_cart", level: );
    let _ = span!("load_cart", target: );
    let _ = span!("load_cart", parent: );
    let _ = span!("load_cart", name: "load");
    let _ = span!("load_cart", level: Level::Info, level: Level::Debug);
    let _ = span!("load_cart", user, level: Level::Debug);
    let _ = span!("load_cart", user, user = 3);
    let _ = span!("load_cart", user = );
    let _ = span!("load_cart", "user", 3);
    let _ = span!("load_cart", kind client);

    event!();
    event!(NAME);
    event!("");
    event!("cache miss", kind: client);
    event!("cache miss", parent: None);
    event!("cache miss", colour: "red");
    event!("cache miss", user, user);
    event!("cache miss", user target: "cache");
}
