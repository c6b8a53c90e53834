use crate::{record, region};

/// A request that is being handled: what [`handler`](macro@crate::handler) puts at the beginning of a function.
#[doc(hidden)]
#[must_use = "the request ends when this is dropped"]
#[derive(Debug)]
pub struct Request(());

impl Request {
    /// Begins a request: an instance that has served one before asks for the host's settings anew.
    pub fn begin() -> Self {
        record::refresh();
        Self(())
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        region::end_request();
    }
}
