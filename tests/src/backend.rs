//! Servers that receive requests of the code under test, real ones and substitutes.

pub mod echo;
pub mod prometheus;
pub mod pushgateway;
pub mod rotel;
