//! Servers that receive requests of the code under test, real ones and substitutes.

pub mod alertmanager;
pub mod built;
pub mod daemon;
pub mod echo;
pub mod jaeger;
pub mod otel_collector;
pub mod prometheus;
pub mod pushgateway;
pub mod rotel;
pub mod victorialogs;
pub mod victoriametrics;
pub mod webhook;
