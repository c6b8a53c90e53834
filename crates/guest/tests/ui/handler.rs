use wasmetry::handler;

#[handler]
struct Service;

#[handler]
const fn constant() {}

#[handler(path = "/")]
fn unknown() {}

#[handler("/")]
fn literal() {}

#[handler(route = cart)]
fn unquoted() {}

#[handler(route)]
fn routeless() {}

#[handler(route = "")]
fn empty() {}

#[handler(name = "a", name = "b")]
fn twice() {}

#[handler(name = 3)]
fn number() {}

#[handler(crate = "wasmetry")]
fn krate() {}

#[handler(error_type = "timeout")]
fn error_type() {}

fn main() {}
