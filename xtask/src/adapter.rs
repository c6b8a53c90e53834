//! `cargo xtask adapter`: the components that `wasmetry adapt` puts around an app, from `crates/adapter`.
//!
//! Their bytes are checked in, so that the command can be installed without a wasm target. They depend on the sources and
//! the compiler only, not on where both lie, so that anybody can make them again.

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

/// The components: the package of each is named after it.
pub(crate) const PARTS: &[&str] = &["collector", "http", "command", "exit"];

/// The file beside the checked-in components that says which compiler made them.
const COMPILER: &str = "compiler.txt";

/// Bytes of stack for each component, of which Rust gives 1 MiB to a module that does not say.
const STACK: usize = 128 << 10;

/// Builds the components and checks them in.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    arguments.finish()?;
    let toolchain = toolchain::ensure()?;
    build(&toolchain)?;
    let folder = workspace::root().join("crates/adapter-provider");
    for part in PARTS {
        let name = format!("{part}.wasm");
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
        let mut cargo = toolchain.cargo()?;
        cargo.args(["build", "--profile", "adapter", "--target", guests::MODULE_TARGET]);
        for part in PARTS {
            cargo.args(["-p", &package(part)]);
        }
        // Not the WASI target: its standard library would import more than the components' worlds have.
        cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-component-ld");
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags()?.join("\u{1f}"));
        process::run(&mut cargo)?;
        let built = workspace::target().join(guests::MODULE_TARGET).join("adapter");
        for part in PARTS {
            let from = built.join(format!("{}.wasm", package(part).replace('-', "_")));
            let to = folder.join(format!("{part}.wasm"));
            let size = guests::install(&from, &to)?;
            eprintln!("{size:>9} B  {}", workspace::shown(&to));
        }
        let compiler = folder.join(COMPILER);
        fs::write(&compiler, toolchain.version()?).with_context(|| format!("cannot write {}", compiler.display()))
    })
}

fn package(part: &str) -> String {
    format!("wasmetry-adapter-{part}")
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

/// Where Cargo keeps the sources of other packages.
fn registry() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    Ok(home.context("there is no home directory; set CARGO_HOME")?.join("registry"))
}
