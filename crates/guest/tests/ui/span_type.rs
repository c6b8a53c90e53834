use wasmetry::{Level, event, span};

struct Cart;

fn main() {
    let (cart, level) = (Cart, Level::Info);
    let _ = span!("load_cart", cart);
    let _ = span!("load_cart", parent: "00-1-2-01");
    let _ = span!("load_cart", level: level);
    let _ = span!("load_cart", level: "debug");
    let _ = span!("load_cart", target: 3);
    event!("cache miss", cart = ?cart);
}
