//! The owners of what is kept: tenants, and components without one, by number.

use std::collections::HashMap;
use std::sync::Arc;

use crate::limits;

/// Owners by number. Each is a tenant, or a component without a tenant.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    /// The numbers of components, and of tenants, by their names.
    numbers: [HashMap<Arc<str>, u32>; 2],
    owners: Vec<Option<Owner>>,
    free: Vec<u32>,
    bytes: usize,
}

#[derive(Debug)]
struct Owner {
    name: Arc<str>,
    is_tenant: bool,
}

impl Owner {
    fn size(&self) -> usize {
        self.name.len() + limits::OWNER_OVERHEAD
    }
}

impl Owners {
    /// Returns the number of a component's owner, which is a new one if it has none.
    pub(crate) fn number(&mut self, component: &str, tenant: &str) -> u32 {
        let is_tenant = !tenant.is_empty();
        let name = if is_tenant { tenant } else { component };
        if let Some(known) = self.numbers[usize::from(is_tenant)].get(name) {
            return *known;
        }
        let name: Arc<str> = name.into();
        let owner = Owner { name: Arc::clone(&name), is_tenant };
        self.bytes += owner.size();
        let number = self.free.pop().unwrap_or_else(|| {
            self.owners.push(None);
            self.owners.len() as u32 - 1
        });
        self.owners[number as usize] = Some(owner);
        self.numbers[usize::from(is_tenant)].insert(name, number);
        number
    }

    /// Removes the owners of which nothing is kept. Their numbers are given to others.
    pub(crate) fn retain(&mut self, is_used: impl Fn(u32) -> bool) {
        for (number, owner) in (0..).zip(&mut self.owners) {
            if is_used(number) {
                continue;
            }
            if let Some(owner) = owner.take() {
                self.bytes -= owner.size();
                self.numbers[usize::from(owner.is_tenant)].remove(&owner.name);
                self.free.push(number);
            }
        }
    }

    /// The bytes of all owners, and of their places in the stores.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Components of a tenant are one owner, others are their own, whatever their names.
    #[test]
    fn tenants_and_components_are_owners() {
        let mut owners = Owners::default();
        let acme = owners.number("cart", "acme");
        assert_eq!(owners.number("pay", "acme"), acme);
        let component = owners.number("acme", "");
        assert_ne!(component, acme);
        let bytes = owners.bytes();
        owners.retain(|number| number == acme);
        assert!(owners.bytes() < bytes);
        // A number that is free is given to the next one.
        assert_eq!(owners.number("pay", ""), component);
        assert_eq!(owners.number("cart", "acme"), acme);
    }
}
