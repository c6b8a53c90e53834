//! The spans of requests that have not ended.

use std::collections::{HashMap, VecDeque};

use crate::limits;
use crate::record::name::Origin;

/// The spans of requests that have not ended, by the host's span of each.
#[derive(Debug, Default)]
pub(super) struct PendingSpans {
    requests: HashMap<u64, Pending>,
    /// By the numbers of the owners.
    owners: Vec<OwnerPending>,
    bytes: usize,
}

/// The spans of a request that has not ended.
#[derive(Debug)]
pub(super) struct Pending {
    origin: Origin,
    pub(super) bytes: Vec<u8>,
    pub(super) spans: u32,
    pub(super) cut: u32,
}

impl Pending {
    /// The identity of the request's component.
    pub(super) fn identity(&self) -> u32 {
        self.origin.identity
    }

    fn size(&self) -> usize {
        self.bytes.capacity() + limits::PENDING_OVERHEAD
    }
}

/// Places in the order of an owner's requests that are kept when all of them have ended.
const KEPT_PLACES: usize = 64;

/// The requests of one owner that have not ended.
#[derive(Debug, Default)]
struct OwnerPending {
    /// In the order in which they are dropped, with some that have ended.
    order: VecDeque<u64>,
    requests: usize,
    bytes: usize,
}

impl PendingSpans {
    /// Adds a span of a request, as bytes.
    pub(super) fn add(&mut self, request: u64, origin: Origin, bytes: &[u8]) {
        let mut is_new = false;
        let pending = self.requests.entry(request).or_insert_with(|| {
            is_new = true;
            Pending { origin, bytes: Vec::new(), spans: 0, cut: 0 }
        });
        let before = if is_new { 0 } else { pending.size() };
        if pending.bytes.len() + bytes.len() <= limits::TRACE_BYTES {
            pending.bytes.extend_from_slice(bytes);
            pending.spans += 1;
        } else {
            pending.cut += 1;
        }
        let (added, at) = (pending.size() - before, pending.origin.owner as usize);
        if self.owners.len() <= at {
            self.owners.resize_with(at + 1, OwnerPending::default);
        }
        let owner = &mut self.owners[at];
        owner.bytes += added;
        self.bytes += added;
        if is_new {
            owner.requests += 1;
            owner.order.push_back(request);
            if owner.order.len() > KEPT_PLACES + 2 * owner.requests {
                owner.order.retain(|request| self.requests.contains_key(request));
            }
        }
    }

    pub(super) fn has(&self, request: u64) -> bool {
        self.requests.contains_key(&request)
    }

    /// Takes the spans of a request.
    pub(super) fn take(&mut self, request: u64) -> Option<Pending> {
        let pending = self.requests.remove(&request)?;
        let owner = &mut self.owners[pending.origin.owner as usize];
        owner.requests -= 1;
        owner.bytes -= pending.size();
        self.bytes -= pending.size();
        if owner.requests == 0 {
            owner.order.clear();
            owner.order.shrink_to(KEPT_PLACES);
        }
        Some(pending)
    }

    /// Takes the spans of the request of an owner that has waited for the longest time.
    pub(super) fn take_oldest(&mut self, owner: u32) -> Option<Pending> {
        loop {
            let request = self.owners.get_mut(owner as usize)?.order.pop_front()?;
            let taken = self.take(request);
            if taken.is_some() {
                return taken;
            }
        }
    }

    /// Returns the owner that has most.
    pub(super) fn largest(&self) -> Option<u32> {
        let owners = (0..).zip(&self.owners).filter(|(_, owner)| owner.bytes > 0);
        owners.max_by_key(|(_, owner)| owner.bytes).map(|(number, _)| number)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes of an owner.
    pub(super) fn bytes_of(&self, owner: u32) -> usize {
        self.owners.get(owner as usize).map_or(0, |owner| owner.bytes)
    }

    /// The number of owners.
    pub(super) fn owners(&self) -> usize {
        self.owners.len()
    }

    /// The identities of the requests.
    pub(super) fn identities(&self) -> impl Iterator<Item = u32> {
        self.requests.values().map(Pending::identity)
    }
}
