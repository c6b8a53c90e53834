//! The totals of one component.
use std::sync::Arc;
use std::time::Duration;
use crate::family::{Families, FamilyInfo};
use crate::instrument::{Counter, Family};
use crate::snapshot::Block;
use crate::{Declarations, Identity, Instance};

/// One component.
#[derive(Clone, Debug)]
pub struct Component { state: Arc<ComponentState> }
impl Component {
    pub(crate) fn new(state: Arc<ComponentState>) -> Self { Self { state } }
    /// Who it is.
    pub fn identity(&self) -> &Identity { &self.state.identity }
    /// A new instance.
    pub fn instance(&self) -> Instance { Instance {} }
}
#[derive(Debug)]
pub(crate) struct ComponentState { identity: Identity, _dropped: Family<Counter> }
impl ComponentState {
    pub(crate) fn new(identity: Identity, dropped: Family<Counter>) -> Self { Self { identity, _dropped: dropped } }
    pub(crate) fn declare(&self, _: &Declarations, _: &mut Families) {}
    pub(crate) fn collect(&self, _: Duration, _: &mut Vec<(Arc<FamilyInfo>, Block)>) {}
}
