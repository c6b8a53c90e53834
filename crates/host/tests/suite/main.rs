//! Region images made by hand, read by the host.

mod conflict;
mod copied;
mod counting;
mod exposition;
mod gauges;
mod hostile;
mod image;
mod pushed;
mod texts;
