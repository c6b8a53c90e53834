//! A guest at each optimisation level that guests are built with.
//!
//! A test reads such a guest after each of its stores. LLVM may reorder stores when it generates
//! code, and does so differently at each level.

use std::path::PathBuf;

use anyhow::Result;

use super::{MODULE_TARGET, build_as};
use crate::toolchain::Toolchain;

/// The package. Its program is installed as `every-kind-LEVEL.wasm`.
pub(crate) const PACKAGE: &str = "every-kind";

/// The levels: the end of the guest's name, and the value in Cargo's profile.
const LEVELS: [(&str, &str); 4] = [("2", "2"), ("3", "3"), ("s", "\"s\""), ("z", "\"z\"")];

/// Builds the guest at each level; returns the paths of the programs.
pub(super) fn build(toolchain: &Toolchain) -> Result<Vec<PathBuf>> {
    let build = |(level, value)| {
        let profile = format!("profile.guest.opt-level={value}");
        build_as(toolchain, &format!("{PACKAGE}-{level}"), MODULE_TARGET, &["-p", PACKAGE, "--config", &profile])
    };
    LEVELS.into_iter().map(build).collect()
}
