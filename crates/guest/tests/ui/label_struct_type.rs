//! A struct of labels has its keys, and each of its fields is a label.

use wasmetry::{Counter, Label, Method, StatusClass, Text, counter};

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
}

#[derive(Label)]
struct Request {
    method: Method,
    route: Route,
}

#[derive(Label)]
struct Answer<'a> {
    class: StatusClass,
    #[label(text = 16)]
    shop: &'a str,
}

#[derive(Label)]
struct Wrong {
    text: Text<16>,
    other: core::time::Duration,
}

static RIGHT: Counter<Request> = counter!("a_total", "A.", labels: Request);
static ANSWERS: Counter<Answer> = counter!("b_total", "B.", labels: Answer);
static KEYLESS: Counter<Route> = counter!("c_total", "C.", labels: Route);
static KEYED: Counter<Request> = counter!("d_total", "D.", labels: [request: Request]);
static TWICE: Counter<Request> = counter!("e_total", "E.", labels: Request, const_labels: [route: "home"]);
static UNTYPED: Counter = counter!("f_total", "F.", labels: Request);

fn main() {
    RIGHT.with(Request { method: Method::Get, route: Route::Home }).inc();
    ANSWERS.with(Answer { class: StatusClass::from(200), shop: "north" }).inc();
    RIGHT.with(Route::Home).inc();
}
