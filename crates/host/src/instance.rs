//! One guest region's state across reads.
use std::time::Duration;
/// One guest region's state across reads.
#[derive(Debug)]
pub struct Instance {}
impl Instance {
    /// Reads the region.
    pub fn read(&mut self, _memory: &[u8], _base: u64, _header: u64, _now: Duration) {}
    /// Reads the region for the last time and ends the instance.
    pub fn read_last(self, _memory: &[u8], _base: u64, _header: u64, _now: Duration) {}
    /// Ends the instance.
    pub fn end(self, _now: Duration) {}
}
