//! The messages of a push, with the fields that a client sets.
//!
//! Source: Loki's `pkg/push/push.proto`, and Protocol Buffers' `timestamp.proto`.

use prost::Message;

/// The body of a push.
#[derive(Clone, PartialEq, Message)]
pub struct PushRequest {
    /// The streams.
    #[prost(message, repeated, tag = "1")]
    pub streams: Vec<Stream>,
}

/// The entries of one stream.
#[derive(Clone, PartialEq, Message)]
pub struct Stream {
    /// The stream's labels: `{name="value", …}`.
    #[prost(string, tag = "1")]
    pub labels: String,
    /// The stream's entries, in order.
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<Entry>,
}

/// One log line.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// The time of the line.
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    /// The text of the line.
    #[prost(string, tag = "2")]
    pub line: String,
    /// The structured metadata.
    #[prost(message, repeated, tag = "3")]
    pub structured_metadata: Vec<LabelPair>,
}

/// A point in time.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00 UTC.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds beyond the seconds.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// A name and its value.
#[derive(Clone, PartialEq, Message)]
pub struct LabelPair {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}
