//! Builds the programs of one backend, unless they are built already.
//!
//! A file `stamp` beside the programs holds everything that they were made from.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::Backend;
use crate::{
    process,
    step::{self, Seconds},
    workspace,
};

/// The interval of progress lines.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(20);

/// The number of last lines that the error of a failed build repeats.
const TAIL_LINES: usize = 12;

/// Builds a backend's programs if they are missing or were built from something else.
pub(super) fn ensure(backend: &Backend, go: &str) -> Result<()> {
    let (built, release) = (backend.built(), backend.release()?);
    fs::create_dir_all(&built).with_context(|| format!("cannot create {}", built.display()))?;
    // Several test programs may need the backend at once.
    let lock = File::create(built.join("lock")).context("cannot create a lock file")?;
    lock.lock().with_context(|| format!("cannot lock {}", built.display()))?;
    let (stamp, wanted) = (built.join("stamp"), stamp(backend, go)?);
    let programs: Vec<PathBuf> = backend.programs.iter().map(|(name, _)| built.join(name)).collect();
    if programs.iter().all(|path| path.is_file()) && fs::read_to_string(&stamp).is_ok_and(|is| is == wanted) {
        step::note(backend.name, &format!("already in {}, {release}", workspace::shown(&built)));
        return Ok(());
    }
    step::note(backend.name, &format!("building {release} into {}", workspace::shown(&built)));
    let (start, cpu) = (Instant::now(), children_seconds());
    // An interrupted build must not look finished.
    let _ = fs::remove_file(&stamp);
    build(backend, &release, &programs).map_err(|error| {
        let remedy = "the module proxy must be reachable, and Go as new as its go.mod requires";
        process::failed(&format!("no {} for the tests", backend.name), &error, remedy)
    })?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    let mut sizes = String::new();
    for path in &programs {
        let size = path.metadata().with_context(|| format!("go built no {}", path.display()))?.len();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let _ = write!(sizes, ", {name} {:.1} MB", size as f64 / 1e6);
    }
    let cpu = children_seconds().zip(cpu).map(|(end, begin)| format!(", {:.0} s of CPU time", end - begin));
    step::note(backend.name, &format!("built in {}{}{sizes}", Seconds(start.elapsed()), cpu.unwrap_or_default()));
    Ok(())
}

/// Runs `go build` for each program.
fn build(backend: &Backend, release: &str, programs: &[PathBuf]) -> Result<()> {
    let modfile = backend.absent.map(|absent| complete_module(backend, absent)).transpose()?;
    let version = backend.version_variable.map(|variable| format!(" -X {variable}={release}"));
    let flags = format!("-ldflags=-s -w{}", version.unwrap_or_default());
    for ((_, package), program) in backend.programs.iter().zip(programs) {
        let mut command = go(backend);
        // The name of each compiled package is its only progress.
        command.args(["build", "-v", "-trimpath", "-buildvcs=false", &flags, "-tags", backend.tags]);
        if let Some(modfile) = &modfile {
            command.arg(format!("-modfile={}", modfile.display()));
        }
        run(command.arg("-o").arg(program).arg(package), backend.name)?;
    }
    Ok(())
}

/// Returns a command for Go in the backend's module, which yields to whatever else runs.
///
/// The settings that name the module proxy and the caches are the user's.
fn go(backend: &Backend) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "10", "go"]).current_dir(backend.folder());
    command.envs([("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local"), ("GOFLAGS", "-mod=readonly"), ("GOWORK", "off")]);
    command
}

/// Runs a build, with a line of progress now and then.
fn run(command: &mut Command, name: &str) -> Result<()> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.context("`nice` could not be started")?;
    let (start, mut shown, mut packages) = (Instant::now(), Instant::now(), 0);
    let mut lines = Vec::new();
    for line in BufReader::new(child.stderr.take().context("a child has a stderr")?).lines() {
        let line = line.context("cannot read the output of go")?;
        packages += u32::from(!line.contains(' '));
        lines.push(line);
        if shown.elapsed() >= PROGRESS_INTERVAL {
            shown = Instant::now();
            step::note(name, &format!("{packages} packages compiled in {}", Seconds(start.elapsed())));
        }
    }
    let status = child.wait().context("cannot wait for go")?;
    if !status.success() {
        let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        bail!("go build failed ({status}):\n  {}", last.join("\n  "));
    }
    Ok(())
}

/// Copies a module without its embedded files below `target/tools` and adds a placeholder for them.
/// Returns the path of a `go.mod` that uses the copy.
fn complete_module(backend: &Backend, absent: &str) -> Result<PathBuf> {
    let printed = process::capture(go(backend).args(["mod", "download", "-json", backend.module]))?;
    let found: serde_json::Value = serde_json::from_str(&printed).context("`go mod download` printed no JSON")?;
    let downloaded = found["Dir"].as_str().context("`go mod download` names no folder")?;
    let folder = backend.built().join("module");
    // The copy of another version must not remain.
    let _ = fs::remove_dir_all(&folder);
    copy(Path::new(downloaded), &folder)?;
    let placeholder = folder.join(absent);
    fs::create_dir_all(&placeholder).with_context(|| format!("cannot create {}", placeholder.display()))?;
    fs::write(placeholder.join("placeholder"), "This build has no user interface.\n").context("cannot write")?;
    let modfile = backend.built().join("go.mod");
    for file in ["go.mod", "go.sum"] {
        fs::copy(backend.folder().join(file), backend.built().join(file))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    let replace = format!("-replace={}={}", backend.module, folder.display());
    process::capture(go(backend).args(["mod", "edit", &replace]).arg(&modfile))?;
    Ok(modfile)
}

/// Copies a folder. The copies can be written to, unlike files of the module cache.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in from.read_dir().with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&path, &copied)?;
        } else {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            fs::write(&copied, bytes).with_context(|| format!("cannot write {}", copied.display()))?;
        }
    }
    Ok(())
}

/// Returns everything that a backend's programs are made from.
fn stamp(backend: &Backend, go: &str) -> Result<String> {
    let mut text = format!("{go}\n{backend:?}\n");
    add_files(&backend.folder(), &mut text)?;
    Ok(text)
}

/// Adds the names and contents of a module's files to `text`.
fn add_files(folder: &Path, text: &mut String) -> Result<()> {
    let entries = folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort_unstable();
    for path in paths {
        if path.is_dir() {
            add_files(&path, text)?;
        } else {
            let content = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let _ = write!(text, "\n{}\n{content}", workspace::shown(&path));
        }
    }
    Ok(())
}

/// Returns the CPU time of all children that have ended, in seconds.
fn children_seconds() -> Option<f64> {
    /// Linux's unit of these fields, on every architecture.
    const TICKS_PER_SECOND: f64 = 100.0;
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name is in parentheses and may have spaces.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(13).map(|field| field.parse::<f64>().ok());
    Some((fields.next()?? + fields.next()??) / TICKS_PER_SECOND)
}
