//! The table of dynamic sites in a guest's memory. No byte here is trusted.

use std::collections::HashMap;
use std::sync::Arc;

use wasmetry_abi::ring;

use crate::declaration::dynamic::DefinedSites;
use crate::declaration::site::Site;
use crate::limits;
use crate::memory::ring::Reader;
use crate::memory::view::RegionView;
use crate::registry::drop_reason::{DropCounts, HostDropReason};

/// The call sites that one instance has defined.
///
/// They are kept as long as the instance, because its records refer to them at any later time.
/// Their number and size have bounds; what they describe is shared with the component's other
/// instances.
#[derive(Debug, Default)]
pub(crate) struct DynamicSites {
    reader: Reader,
    sites: HashMap<u64, Arc<Site>>,
    /// The bytes of all definitions.
    bytes: usize,
}

impl DynamicSites {
    /// The site with a hash.
    pub(crate) fn get(&self, hash: u64) -> Option<&Arc<Site>> {
        self.sites.get(&hash)
    }

    /// Reads the definitions that are new since the last read.
    pub(crate) fn read(&mut self, view: &RegionView<'_>, address: u64, defined: &DefinedSites) -> DropCounts {
        let mut drops = DropCounts::default();
        let Self { reader, sites, bytes } = self;
        let read = reader.read(view, address, |record| {
            let Some((hash, declaration)) = ring::definition(record) else {
                return drops.add(HostDropReason::SiteDefinition, 1);
            };
            let is_known = sites.contains_key(&hash);
            let size = *bytes + declaration.len();
            if !is_known && (sites.len() == limits::DYNAMIC_SITES || size > limits::DYNAMIC_SITE_BYTES) {
                return drops.add(HostDropReason::SiteLimit, 1);
            }
            match defined.find(hash, declaration) {
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
            Ok(lost) => drops.add(HostDropReason::SiteDefinition, lost),
            Err(reason) => drops.add(reason, 1),
        }
        drops
    }
}
