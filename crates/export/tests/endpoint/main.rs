//! The endpoint as its clients see it: requests written by hand to a socket, well meant and
//! hostile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod close;
mod limit;
mod process;
mod reader;
mod response;
mod tls;
