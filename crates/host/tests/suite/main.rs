//! Region images made by hand, read by the host.

mod conflict;
mod counting;
mod exponential;
mod exposition;
mod gauges;
mod hostile;
mod image;
mod pushed;
mod texts;
