//! `cargo xtask adapter`: the components that `wasmetry adapt` puts around an app, from
//! `crates/adapter`.
//!
//! Their bytes are checked in, so that the command can be installed without a wasm target. They
//! depend on the sources and the compiler only, not on where both lie, so anyone can rebuild the
//! same bytes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    argument::Arguments,
    guests, process, step,
    toolchain::{self, Toolchain},
    workspace,
};

/// A component.
struct Part {
    name: &'static str,
    package: &'static str,
    features: &'static [&'static str],
}

const PARTS: [Part; 5] = [
    Part { name: "collector", package: "wasmetry-adapter-collector", features: &[] },
    Part { name: "otlp-collector", package: "wasmetry-adapter-collector", features: &["--features", "otlp"] },
    Part { name: "http", package: "wasmetry-adapter-http", features: &[] },
    Part { name: "command", package: "wasmetry-adapter-command", features: &[] },
    Part { name: "exit", package: "wasmetry-adapter-exit", features: &[] },
];

/// The file beside the checked-in components that names the compiler that built them.
const COMPILER: &str = "compiler.txt";

/// The stack of each component in bytes; Rust's default is 1 MiB.
const STACK: usize = 128 << 10;

/// Builds the components and checks them in.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    arguments.finish()?;
    let toolchain = toolchain::ensure()?;
    build(&toolchain)?;
    let folder = workspace::root().join("crates/adapter-provider");
    for Part { name, .. } in PARTS {
        let name = format!("{name}.wasm");
        guests::install(&workspace::adapter().join(&name), &folder.join(name))?;
    }
    let compiler = folder.join(COMPILER);
    fs::write(&compiler, toolchain.version()?).with_context(|| format!("cannot write {}", compiler.display()))
}

/// Builds the components to `target/adapter`.
pub(crate) fn build(toolchain: &Toolchain) -> Result<()> {
    let folder = workspace::adapter();
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    step::loud("build adapter", || {
        for part in PARTS {
            let mut cargo = toolchain.cargo()?;
            cargo.args(["build", "--quiet", "--profile", "adapter", "--target", guests::MODULE_TARGET]);
            cargo.args(["-p", part.package]).args(part.features);
            // Not the WASI target: its standard library would import more than the components'
            // worlds have.
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-component-ld");
            cargo.env("CARGO_ENCODED_RUSTFLAGS", flags()?.join("\u{1f}"));
            process::run(&mut cargo)?;
            let built = workspace::target().join(guests::MODULE_TARGET).join("adapter");
            let from = built.join(format!("{}.wasm", part.package.replace('-', "_")));
            let to = folder.join(format!("{}.wasm", part.name));
            guests::report(guests::install(&from, &to)?, &to);
        }
        let compiler = folder.join(COMPILER);
        fs::write(&compiler, toolchain.version()?).with_context(|| format!("cannot write {}", compiler.display()))
    })
}

/// The compiler's flags.
fn flags() -> Result<Vec<String>> {
    let stack = format!("-Clink-arg=-zstack-size={STACK}");
    let mut flags = vec!["-Clink-arg=--wasi-adapter=none".to_owned(), stack];
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    flags.push(remap(workspace::root(), "wasmetry"));
    flags.push(remap(&registry()?, "registry"));
    Ok(flags)
}

/// Returns the folder in which Cargo keeps the sources of other packages.
fn registry() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    Ok(home.context("there is no home directory; set CARGO_HOME")?.join("registry"))
}
