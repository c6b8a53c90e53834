//! Logs, spans and metrics on their way to servers that enforce their protocols, and to outputs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod count;
mod failure;
mod grpc;
mod lines;
mod loki;
mod memory_output;
mod metric;
mod otlp;
mod record;
mod rule;
mod sink;
mod started;
mod tenant;
