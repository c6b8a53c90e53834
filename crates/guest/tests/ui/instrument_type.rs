use wasmetry::instrument;

struct Cart;

#[instrument]
fn load(cart: Cart) {}

#[instrument(skip(cart), fields(cart))]
fn field(cart: Cart) {}

#[instrument(err)]
fn no_result() -> u32 {
    3
}

#[instrument(err)]
fn no_text() -> Result<(), Cart> {
    Err(Cart)
}

#[instrument(err)]
async fn no_future_text() -> Result<(), Cart> {
    Err(Cart)
}

#[instrument(level = "debug")]
fn level() {}

#[instrument(err)]
fn wrong() -> Result<u32, String> {
    "text"
}

fn main() {}
