//! Hostile guests and clients beside an honest tenant: the host stays within its limits, counts
//! what it drops with its owner, and the honest tenant's numbers are exact and its requests
//! answered.
//!
//! Each file of the folder `hostile` has the attacks on one part of the host; `README.md` lists
//! them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "hostile/client.rs"]
mod client;
#[path = "hostile/compile.rs"]
mod compile;
#[path = "hostile/descriptor.rs"]
mod descriptor;
#[path = "hostile/forged.rs"]
mod forged;
#[path = "hostile/limit.rs"]
mod limit;
#[path = "hostile/neighbour.rs"]
mod neighbour;
#[path = "hostile/outgoing.rs"]
mod outgoing;
#[path = "hostile/read.rs"]
mod read;
#[path = "hostile/resource.rs"]
mod resource;
#[path = "hostile/table.rs"]
mod table;
#[path = "hostile/tenant.rs"]
mod tenant;
#[path = "hostile/third_party.rs"]
mod third_party;
