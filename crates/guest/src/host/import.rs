//! The guest's imports. No other module calls the host.

#[cfg(wasmetry_component)]
pub(super) mod component;
#[cfg(target_os = "wasi")]
pub(super) mod libc;
#[cfg(wasmetry_wasip1)]
pub(super) mod wasip1;
