use wasmetry::{Label, handler, set_route};

#[derive(Clone, Copy, Label)]
enum Page {
    User,
}

struct Request;

fn takes_number(_request: &u64) -> Option<wasmetry::Route> {
    None
}

#[handler(route = takes_number)]
fn handle(_request: Request) {}

fn main() {
    set_route("/users/7");
    set_route(Page::User);
}
