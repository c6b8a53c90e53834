//! The table of dynamic sites in a guest's memory. No byte here is trusted.

use std::collections::HashMap;
use std::sync::Arc;

use wasmetry_abi::ring;

use crate::declaration::dynamic::DefinedSites;
use crate::declaration::site::Site;
use crate::ledger::Charge;
use crate::limits;
use crate::memory::budget::ReadBudget;
use crate::memory::ring::Reader;
use crate::memory::view::RegionView;
use crate::registry::drop_reason::{DropCounts, HostDropReason};

/// The call sites that one instance has defined.
///
/// They are kept as long as the instance, because its records refer to them at any later time.
/// Their number and size have bounds; what they describe is shared with the component's other
/// instances.
#[derive(Debug)]
pub(crate) struct DynamicSites {
    reader: Reader,
    sites: HashMap<u64, Arc<Site>>,
    /// The bytes of all definitions.
    bytes: usize,
    charge: Charge,
}

/// Bytes that a site takes beside its definition.
const SITE_BYTES: usize = size_of::<Site>() + 64;

impl DynamicSites {
    /// A table without sites, whose memory is charged.
    pub(crate) fn new(charge: Charge) -> Self {
        Self { reader: Reader::default(), sites: HashMap::new(), bytes: 0, charge }
    }

    /// The site with a hash.
    pub(crate) fn get(&self, hash: u64) -> Option<&Arc<Site>> {
        self.sites.get(&hash)
    }

    /// Reads the definitions that are new since the last read.
    pub(crate) fn read(
        &mut self,
        view: &RegionView<'_>,
        address: u64,
        budget: &mut ReadBudget,
        defined: &DefinedSites,
    ) -> DropCounts {
        let mut drops = DropCounts::default();
        let Self { reader, sites, bytes, charge } = self;
        let read = reader.read(view, address, budget, |record, _| {
            let Some((hash, declaration)) = ring::definition(record) else {
                return drops.add(HostDropReason::SiteDefinition, 1);
            };
            let is_known = sites.contains_key(&hash);
            let size = *bytes + declaration.len();
            if !is_known && (sites.len() == limits::DYNAMIC_SITES || size > limits::DYNAMIC_SITE_BYTES) {
                return drops.add(HostDropReason::SiteLimit, 1);
            }
            match defined.find(hash, declaration) {
                Some(_) if !is_known && !charge.resize(size + SITE_BYTES * (sites.len() + 1)) => {
                    drops.add(HostDropReason::RecordMemory, 1);
                }
                Some(site) if !is_known => {
                    *bytes = size;
                    sites.insert(hash, site);
                }
                // A repetition.
                Some(_) => {}
                None => drops.add(HostDropReason::SiteDefinition, 1),
            }
        });
        match read {
            Ok(unread) => {
                drops.add(HostDropReason::SiteDefinition, unread.overwritten);
                drops.add(HostDropReason::RecordBudget, unread.over_budget);
            }
            Err(reason) => drops.add(reason, 1),
        }
        drops
    }
}
