//! Region images made by hand, read by the host.

mod conflict;
mod counting;
mod exposition;
mod gauges;
mod hostile;
mod image;
mod pushed;
mod retirement;
mod texts;
