use wasmetry::Label;

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
}

#[derive(Label)]
struct Unit;

#[derive(Label)]
struct Tuple(Route, bool);

#[derive(Label)]
struct Empty {}

#[derive(Label)]
struct Seven {
    a: bool,
    b: bool,
    c: bool,
    d: bool,
    e: bool,
    f: bool,
    g: bool,
}

#[derive(Label)]
struct Generic<T> {
    route: T,
}

#[derive(Label)]
#[label(rename_all = "UPPERCASE")]
struct Case {
    route: Route,
}

#[derive(Label)]
#[label(route)]
struct Routes {
    route: Route,
}

#[derive(Label)]
struct Key {
    #[label("HTTP.route")]
    route: Route,
}

#[derive(Label)]
struct Reserved {
    le: Route,
}

#[derive(Label)]
struct Owned {
    user: String,
}

#[derive(Label)]
struct Borrowed<'a> {
    user: &'a str,
}

#[derive(Label)]
struct Number {
    status: u16,
}

#[derive(Label)]
struct Option_ {
    #[label(size = 3)]
    status: usize,
}

#[derive(Label)]
struct Two {
    #[label(text = 3, below = 4)]
    status: usize,
}

#[derive(Label)]
union Bits {
    a: u32,
    b: f32,
}

fn main() {}
