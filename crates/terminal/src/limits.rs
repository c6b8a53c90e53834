//! The bounds on what a host can make a terminal keep.

/// Bytes of one answer. An overview of 100 components with 100 routes each is a few megabytes.
pub const ANSWER: u64 = 32 << 20;

/// Bytes of one line of an event stream, and of the data of one event.
pub const EVENT_LINE: u64 = 4 << 20;

/// Characters of a text of a guest in one line of output, without `--json`.
pub const TEXT: usize = 4096;

/// Components of one screen, the failing ones first: the most that one answer has.
pub const COMPONENTS: usize = 100;

/// Logs of one screen.
pub const LOGS: usize = 200;
