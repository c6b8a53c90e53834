//! The drops of records by their owners, until they are counted in a registry.

use wasmetry_host::Identity;

use super::name::{Names, Used};

/// A kind of record that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Logs,
    /// Requests.
    Traces,
    /// Spans of requests that have not ended.
    Spans,
    /// Requests of groups of traps.
    Traps,
}

impl Signal {
    const ALL: [Self; 4] = [Self::Logs, Self::Traces, Self::Spans, Self::Traps];

    /// The name in `wasmetry_dropped_total{signal}`.
    fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Traces => "traces",
            Self::Spans => "spans",
            Self::Traps => "traps",
        }
    }
}

/// Drops of one signal of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) identity: Identity,
    pub(crate) signal: &'static str,
    pub(crate) count: u64,
}

/// Drops by the numbers of their identities.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    counts: Vec<[u64; Signal::ALL.len()]>,
}

impl Drops {
    /// Counts drops of an identity.
    pub(crate) fn add(&mut self, identity: u32, signal: Signal, count: u64) {
        let at = identity as usize;
        if self.counts.len() <= at {
            self.counts.resize(at + 1, Default::default());
        }
        self.counts[at][signal as usize] += count;
    }

    /// Takes all that were counted since the last call.
    pub(crate) fn take(&mut self, names: &Names) -> Vec<Dropped> {
        let mut taken = Vec::new();
        for (number, counts) in (0..).zip(&mut self.counts) {
            for (signal, count) in Signal::ALL.into_iter().zip(std::mem::take(counts)) {
                if count > 0 {
                    taken.push(Dropped { identity: names.identity_of(number).clone(), signal: signal.name(), count });
                }
            }
        }
        taken
    }

    /// Notes the identities that have drops.
    pub(crate) fn note_used(&self, used: &mut Used) {
        let dropped = (0..).zip(&self.counts).filter(|(_, counts)| counts.iter().any(|count| *count > 0));
        dropped.for_each(|(number, _)| used.identity(number));
    }
}
