//! Call sites that guests define at run time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use wasmetry_abi::site::Sites;

use crate::declaration::site::Site;
use crate::limits;

/// The sites that the instances of one component have defined lately, so that the next instance's
/// definition of the same site is a comparison of bytes.
///
/// A site's hash is that of its declaration, so no instance can change a site of another one.
#[derive(Debug, Default)]
pub(crate) struct DefinedSites {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    sites: HashMap<u64, (Box<[u8]>, Arc<Site>)>,
    bytes: usize,
}

impl DefinedSites {
    /// Returns the approximate bytes of the sites.
    pub(crate) fn memory(&self) -> usize {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A site has the texts of its declaration once more.
        2 * known.bytes + (size_of::<Site>() + 64) * known.sites.len()
    }

    /// Returns the site with this declaration, behind which may be up to seven zeros. Returns
    /// `None` if the declaration is invalid, or if its hash is another one.
    pub(crate) fn find(&self, site_hash: u64, declaration: &[u8]) -> Option<Arc<Site>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((bytes, site)) = known.sites.get(&site_hash)
            && **bytes == *declaration
        {
            return Some(site.clone());
        }
        let record = Sites::new(declaration).next()?.ok()?;
        let padding = declaration.get(record.bytes.len()..)?;
        if record.hash != site_hash || padding.len() >= 8 || padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        let site = Arc::new(Site::new(&record));
        known.bytes += declaration.len();
        if known.sites.len() == limits::DYNAMIC_SITES || known.bytes > limits::DYNAMIC_SITE_BYTES {
            // A guest that makes up sites only loses the advantage of the comparison.
            known.sites.clear();
            known.bytes = declaration.len();
        }
        known.sites.insert(site_hash, (declaration.into(), site.clone()));
        Some(site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use wasmetry_abi::Level;
    use wasmetry_abi::hash;
    use wasmetry_abi::site::{Site as Declared, SiteKind};

    fn declaration(text: &str) -> Vec<u8> {
        let site = Declared::new(SiteKind::Log { is_audit: false }, Level::Info, "shop", text);
        let mut buffer = [0; 256];
        site.encode_into(&mut buffer).map(<[u8]>::to_vec).unwrap_or_default()
    }

    #[test]
    fn equal_definitions_share_one_site() {
        let defined = DefinedSites::default();
        let bytes = declaration("loaded {}");
        let padded = [&bytes[..], &[0; 3]].concat();
        let first = defined.find(hash(&bytes), &padded);
        assert_eq!(first.as_ref().map(|site| &*site.text), Some("loaded {}"));
        let second = defined.find(hash(&bytes), &padded);
        assert!(first.zip(second).is_some_and(|(first, second)| Arc::ptr_eq(&first, &second)));
    }

    /// The hash is that of the declaration, so a definition cannot replace another one.
    #[test]
    fn other_hash_is_refused() {
        let defined = DefinedSites::default();
        let (bytes, other) = (declaration("a"), declaration("b"));
        assert!(defined.find(hash(&bytes), &bytes).is_some());
        assert!(defined.find(hash(&bytes), &other).is_none());
        assert!(defined.find(hash(&bytes) ^ 1, &bytes).is_none());
        assert!(defined.find(hash(&bytes), &[&bytes[..], &[0; 8]].concat()).is_none());
        assert!(defined.find(hash(&bytes), &[&bytes[..], &[1]].concat()).is_none());
        assert!(defined.find(hash(b""), b"").is_none());
        assert_eq!(defined.find(hash(&bytes), &bytes).map(|site| site.text.to_string()), Some("a".to_owned()));
    }

    #[test]
    fn many_definitions_forget_the_first() {
        let defined = DefinedSites::default();
        for number in 0..3 * limits::DYNAMIC_SITES {
            let bytes = declaration(&number.to_string());
            assert!(defined.find(hash(&bytes), &bytes).is_some());
            let known = defined.known.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(known.sites.len() <= limits::DYNAMIC_SITES && known.bytes <= limits::DYNAMIC_SITE_BYTES);
        }
    }
}
