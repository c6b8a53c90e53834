use std::sync::Mutex;

use wasmetry::{Level, info, log};

struct Cart;

fn main() {
    let cart = Cart;
    let target = String::from("shop");
    let level = Level::Info;
    info!(cart = cart, "loaded");
    info!(lock = Mutex::new(3), "loaded");
    info!(cart = %cart, "loaded");
    info!(cart = ?cart, "loaded");
    info!("loaded {cart}");
    info!("loaded {}", cart);
    info!("loaded {cart:?}");
    info!("loaded {basket}");
    info!(basket, "loaded");
    info!(target: target, "loaded");
    log!(level, "loaded");
    log!(Info, "loaded");
    log!("info".len(), "loaded");
}
