//! A server that knows the records of these tests.

use std::net::TcpListener;
use std::time::Instant;

pub(crate) use wasmetry_sink::{LOKI, PATIENCE, Reply};
use wasmetry_sink::{Seen, State, Version};

use crate::rule::{self, Arrived};

/// Polls until a condition is true.
pub(crate) fn poll(mut is_done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_done() {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
}

pub(crate) struct Sink(wasmetry_sink::Sink);

impl Sink {
    pub(crate) fn start(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), Version::Http, script)
    }

    pub(crate) fn grpc(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), Version::Grpc, script)
    }

    pub(crate) fn start_on(
        listener: TcpListener,
        version: Version,
        script: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self(wasmetry_sink::Sink::start_on(listener, version, |request| rule::records(request).map(drop), script))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.0.url(path)
    }

    pub(crate) fn wait(&self, is_done: impl FnMut(&State) -> bool) {
        self.0.wait(is_done);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.0.seen()
    }

    /// The numbers that arrived, in order of arrival; no rule may have been broken.
    pub(crate) fn arrived(&self) -> Vec<u64> {
        self.records().into_iter().map(|arrived| arrived.number).collect()
    }

    /// Returns the same, with `true` for audit records.
    pub(crate) fn arrived_streams(&self) -> Vec<(u64, bool)> {
        self.records().into_iter().map(|arrived| (arrived.number, arrived.is_audit)).collect()
    }

    fn records(&self) -> Vec<Arrived> {
        self.0.with(|state| {
            assert_eq!(state.broken, [""; 0]);
            let taken = |(request, taken): &(_, usize)| rule::records(request).unwrap().into_iter().take(*taken);
            state.accepted.iter().flat_map(taken).collect()
        })
    }
}
