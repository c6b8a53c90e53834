//! `cargo xtask sizes`: the bytes that each kind of telemetry adds to a guest.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::{
    argument::Arguments,
    guests, process, step,
    toolchain::{self, Toolchain},
};

/// The package whose features are the kinds; `-second` and `-third` of each add further ones.
pub(crate) const PACKAGE: &str = "sizes";

/// The kinds, each with its description.
const KINDS: &[(&str, &str)] = &[
    ("counter", "counter"),
    ("amount", "counter of `f64`"),
    ("gauge", "gauge"),
    ("observable", "observable gauge"),
    ("label", "counter with a label of 2 values"),
    ("text", "counter with a label of up to 16 texts"),
    ("histogram", "histogram of 7 buckets"),
    ("duration", "histogram of seconds, 11 buckets"),
    ("exponential", "exponential histogram"),
    ("log", "log"),
    ("fields", "log with 4 values"),
    ("span", "span with an attribute"),
];

/// The bytes that one kind adds.
#[derive(Debug)]
pub(crate) struct Size {
    /// The feature's name.
    pub(crate) kind: &'static str,
    words: &'static str,
    /// Bytes of the first one, with the code that all share.
    first: u64,
    /// Bytes of each further one.
    pub(crate) further: u64,
}

/// Prints the bytes that each kind adds, as a table in Markdown.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let from_debian = arguments.flag("--from-debian");
    arguments.finish()?;
    let toolchain = if from_debian { toolchain::ensure_from_debian()? } else { toolchain::ensure()? };
    let sizes = measure(&toolchain)?;
    println!("| bytes of wasm | the first | each further |\n|---|---|---|");
    for Size { words, first, further, .. } in sizes {
        println!("| {words} | {first} | {further} |");
    }
    Ok(())
}

/// Builds the package with each of its features; returns the bytes that each adds.
pub(crate) fn measure(toolchain: &Toolchain) -> Result<Vec<Size>> {
    step::loud("sizes", || {
        let nothing = build(toolchain, None)?;
        let size = |&(kind, words)| {
            let [first, second, third] =
                ["", "-second", "-third"].map(|more| build(toolchain, Some(&format!("{kind}{more}"))));
            let (second, third) = (second?, third?);
            let added = |more: u64, less: u64| {
                more.checked_sub(less).with_context(|| format!("a guest with `{kind}` is smaller than one without"))
            };
            Ok(Size { kind, words, first: added(first?, nothing)?, further: added(third, second)? })
        };
        KINDS.iter().map(size).collect()
    })
}

/// Builds the package with a feature; returns its size.
fn build(toolchain: &Toolchain, feature: Option<&str>) -> Result<u64> {
    let mut cargo = toolchain.cargo()?;
    cargo.args(["build", "--quiet", "--profile", "guest", "--target", guests::MODULE_TARGET, "-p", PACKAGE]);
    cargo.args(feature.into_iter().flat_map(|feature| ["--features", feature]));
    process::run(&mut cargo)?;
    let program = crate::workspace::target().join(guests::MODULE_TARGET).join("guest").join(format!("{PACKAGE}.wasm"));
    let size = fs::metadata(&program).with_context(|| format!("Cargo made no {}", program.display()))?.len();
    if size == 0 {
        bail!("{} is empty", program.display());
    }
    Ok(size)
}
