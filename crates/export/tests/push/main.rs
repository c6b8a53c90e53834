//! Pushing logs, spans and metrics to servers that take the protocols at their word.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod count;
mod failure;
mod grpc;
mod lines;
mod loki;
mod metric;
mod otlp;
mod record;
mod rule;
mod sink;
mod started;
