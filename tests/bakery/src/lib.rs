//! A bakery's orders and oven, and their metrics.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::num::ParseIntError;

use serde::Serialize;
use wasmetry::{Counter, Gauge, Label, counter, gauge, info, instrument};

#[derive(Clone, Copy, Label)]
pub enum Flour {
    Wheat,
    Rye,
}

static LOAVES: Counter<Flour> = counter!("loaves_sold_total", "Loaves that were sold.", labels: [flour: Flour]);
static OVEN: Gauge = gauge!("oven_temperature_celsius", "The temperature of the oven.");

#[derive(Debug, Serialize)]
pub struct Order {
    pub id: u32,
    pub loaves: u32,
}

/// The error of an order that cannot be read.
#[derive(Debug)]
pub struct OrderError {
    id: u32,
    source: ParseIntError,
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot load order {}", self.id)
    }
}

impl Error for OrderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Loads an order. The number of loaves of order 13 is unreadable.
#[instrument]
pub fn load(id: u32) -> Result<Order, OrderError> {
    let stored = if id == 13 { "a dozen" } else { "3" };
    let loaves = stored.parse().map_err(|source| OrderError { id, source })?;
    Ok(Order { id, loaves })
}

pub fn sell(order: &Order) {
    LOAVES.with(Flour::Rye).add(order.loaves.into());
    let id = order.id;
    info!(loaves = order.loaves, "order {id} sold");
}

pub fn receipt(order: &Order) -> Result<String, handlebars::RenderError> {
    handlebars::Handlebars::new().render_template("{{loaves}} loaves, with thanks", order)
}

pub fn heat_oven(celsius: f64) {
    assert!(celsius < 400.0, "the oven cannot have {celsius} degrees");
    OVEN.set(celsius);
    info!(celsius, "the oven is hot");
}
