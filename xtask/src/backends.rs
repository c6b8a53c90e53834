//! `cargo xtask backends`: the servers that users run, built from the Go modules in
//! `tests/backends`.
//!
//! Each backend is a module of its own, because their dependencies need not agree. It is built when
//! a test or the demo needs it, and again when its module or Go has changed.

mod build;
mod version;

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    argument::{Arguments, Usage},
    process, step, workspace,
};

/// A backend: a folder of `tests/backends` with a `go.mod`.
#[derive(Debug)]
pub(crate) struct Backend {
    /// The folder's name.
    pub(crate) name: &'static str,
    /// The module whose version is the backend's.
    module: &'static str,
    /// The programs and their packages.
    programs: &'static [(&'static str, &'static str)],
    /// Go's build tags.
    tags: &'static str,
    /// The Go variable that holds the version, for modules that do not read their build's.
    version_variable: Option<&'static str>,
    /// The folder of embedded files that a release adds to the module, such as a user interface.
    absent: Option<&'static str>,
}

/// A backend without tags, variables and absent files.
const PLAIN: Backend = Backend { name: "", module: "", programs: &[], tags: "", version_variable: None, absent: None };

/// The backends, in the order in which they are built.
pub(crate) const BACKENDS: &[Backend] = &[
    Backend {
        name: "prometheus",
        module: "github.com/prometheus/prometheus",
        programs: &[
            ("prometheus", "github.com/prometheus/prometheus/cmd/prometheus"),
            ("promtool", "github.com/prometheus/prometheus/cmd/promtool"),
        ],
        // Without the service discoveries of clouds, each of which brings a client library.
        tags: "remove_all_sd,enable_kubernetes_sd,enable_dns_sd",
        version_variable: Some("github.com/prometheus/common/version.Version"),
        ..PLAIN
    },
    Backend {
        name: "collector",
        module: "go.opentelemetry.io/collector/otelcol",
        programs: &[("collector", ".")],
        ..PLAIN
    },
    Backend {
        name: "jaeger",
        module: "github.com/jaegertracing/jaeger",
        programs: &[("jaeger", "github.com/jaegertracing/jaeger/cmd/jaeger")],
        ..PLAIN
    },
    Backend {
        name: "victorialogs",
        module: "github.com/VictoriaMetrics/VictoriaLogs",
        programs: &[("victoria-logs", "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs")],
        ..PLAIN
    },
    Backend {
        name: "alertmanager",
        module: "github.com/prometheus/alertmanager",
        programs: &[
            ("alertmanager", "github.com/prometheus/alertmanager/cmd/alertmanager"),
            ("amtool", "github.com/prometheus/alertmanager/cmd/amtool"),
        ],
        version_variable: Some("github.com/prometheus/common/version.Version"),
        absent: Some("ui/app/dist"),
        ..PLAIN
    },
    Backend {
        name: "sloth",
        module: "github.com/slok/sloth",
        programs: &[("sloth", "github.com/slok/sloth/cmd/sloth")],
        ..PLAIN
    },
    Backend { name: "kubernetes", module: "k8s.io/api", programs: &[("manifests", ".")], ..PLAIN },
];

impl Backend {
    /// The folder of its module.
    fn folder(&self) -> PathBuf {
        workspace::root().join("tests/backends").join(self.name)
    }

    /// The folder of its built programs, in which tests find them.
    fn built(&self) -> PathBuf {
        workspace::tools().join("backends").join(self.name)
    }
}

/// Builds the named backends, or all of them.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let mut named = Vec::new();
    while let Some(name) = arguments.command() {
        let find = || BACKENDS.iter().find(|backend| backend.name == name);
        named.push(find().ok_or_else(|| {
            let names: Vec<&str> = BACKENDS.iter().map(|backend| backend.name).collect();
            Usage::error(format!("no backend `{name}`; there are {}", names.join(", ")))
        })?);
    }
    arguments.finish()?;
    if named.is_empty() { build_all(BACKENDS.iter()) } else { build_all(named.into_iter()) }
}

/// Builds all backends whose module or Go has changed.
pub(crate) fn ensure() -> Result<()> {
    build_all(BACKENDS.iter())
}

/// Compares README with the modules' versions, and the Go files with gofmt's style.
pub(crate) fn check() -> Result<()> {
    version::check()?;
    if !process::exists("gofmt") {
        return Ok(());
    }
    let unformatted = process::capture(Command::new("gofmt").arg("-l").arg(workspace::root().join("tests/backends")))?;
    if !unformatted.is_empty() {
        bail!("files that gofmt would change; run `gofmt -w` on them:\n{}", unformatted.trim_end());
    }
    Ok(())
}

/// Returns the path of a backend's program, which is built first if its module or Go has changed.
pub(crate) fn program(backend: &str, program: &str) -> Result<PathBuf> {
    let found = BACKENDS.iter().find(|of| of.name == backend).with_context(|| format!("no backend `{backend}`"))?;
    build::ensure(found, &go_version()?)?;
    Ok(found.built().join(program))
}

/// Builds backends one after another.
///
/// Without Go one line is printed; with `CI=true` that is an error.
fn build_all(backends: impl Iterator<Item = &'static Backend>) -> Result<()> {
    let Some(go) = step::optional(go_version())? else { return Ok(()) };
    for backend in backends {
        step::optional(build::ensure(backend, &go))?;
    }
    Ok(())
}

/// Returns the version of Go.
fn go_version() -> Result<String> {
    let printed = process::capture(Command::new("go").args(["env", "GOVERSION"])).map_err(|error| {
        let remedy = "install Go 1.26 (https://go.dev/dl)";
        process::failed("no Go to build the backends of the tests", &error, remedy)
    })?;
    Ok(printed.trim().to_owned())
}

/// A process that builds the backends while this one does something else.
#[derive(Debug)]
pub(crate) struct Background(Child);

impl Background {
    /// Starts to build all backends.
    pub(crate) fn start() -> Result<Self> {
        let this = std::env::current_exe().context("cannot find xtask's own program")?;
        let child = Command::new(this).arg("backends").stdin(Stdio::null()).spawn();
        Ok(Self(child.context("cannot start to build the backends")?))
    }

    /// Waits until they are built.
    pub(crate) fn wait(mut self) -> Result<()> {
        let status = self.0.wait().context("cannot wait for the backends")?;
        if !status.success() {
            bail!("the backends were not built ({status}); see the output of `backends` above");
        }
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It has ended, unless another step failed first. Go ends with its parent's signal.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
