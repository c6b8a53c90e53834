use wasmetry::{Histogram, histogram};

static UNSORTED: Histogram = histogram!("cart_items", "Items in a cart.", buckets: [1, 10, 5]);
static NONE: Histogram = histogram!("basket_items", "Items in a basket.", buckets: []);

fn main() {}
