use wasmetry::{Label, handler, route, set_route};

#[derive(Clone, Copy, Label)]
#[label(route)]
enum Page {
    #[label("/users?id")]
    User,
    Other,
}

#[handler(route = route_of)]
fn without_request() {}

fn route_of(_request: &()) -> Option<wasmetry::Route> {
    None
}

#[handler(route = "/a#b")]
fn with_fragment() {}

#[handler(route = 7)]
fn with_number() {}

fn main() {
    let id = 7;
    set_route!("/users/{}", id);
    set_route!(format!("/users/{id}"));
    set_route!("");
    route!("/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
}
