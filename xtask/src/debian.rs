//! Debian's packages without root: apt fetches them into a private state, and they are unpacked
//! under `target/tools`.

pub(crate) mod rust;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{process, workspace};

/// An apt with lists and caches of its own. It reads the system's sources and changes nothing
/// there.
#[derive(Debug)]
pub(crate) struct Apt {
    folder: PathBuf,
    /// The reason why `apt-get update` failed, repeated in the error of a package that is not
    /// found.
    stale: Option<String>,
}

impl Apt {
    /// Prepares the private state and brings its package lists up to date.
    ///
    /// # Errors
    ///
    /// Fails if this is no Debian-like system, or the private state cannot be written. A source
    /// that cannot be reached is an error only if a package is then not found.
    pub(crate) fn open() -> Result<Self> {
        for program in ["apt-get", "apt-cache", "dpkg"] {
            if !process::exists(program) {
                bail!("`{program}` is not here: this is no Debian or Ubuntu, so xtask cannot fetch packages");
            }
        }
        let folder = workspace::tools().join("apt");
        for sub in ["state/lists/partial", "cache/archives/partial"] {
            let sub = folder.join(sub);
            fs::create_dir_all(&sub).with_context(|| format!("cannot create {}", sub.display()))?;
        }
        let mut apt = Self { folder, stale: None };
        let config = apt.config();
        fs::write(&config, apt.settings()).with_context(|| format!("cannot write {}", config.display()))?;
        let updated = process::capture(apt.command("apt-get").args(["--quiet", "update"]));
        apt.stale = updated.err().map(|error| format!("{error:#}"));
        Ok(apt)
    }

    /// Fetches `packages`, nothing they depend on, and unpacks them into `prefix`, without their
    /// scripts.
    pub(crate) fn unpack(&self, packages: &[String], prefix: &Path) -> Result<()> {
        let archives = self.folder.join("archives");
        // Leftovers of an interrupted run must not be unpacked too.
        let _ = fs::remove_dir_all(&archives);
        for folder in [archives.as_path(), prefix] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let mut download = self.command("apt-get");
        download.args(["--quiet", "download"]).args(packages).current_dir(&archives);
        process::capture(&mut download).map_err(|error| self.blame_update(error))?;
        for entry in archives.read_dir().with_context(|| format!("cannot list {}", archives.display()))? {
            process::capture(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(prefix))?;
        }
        fs::remove_dir_all(&archives).with_context(|| format!("cannot remove {}", archives.display()))
    }

    /// Returns `package` and the packages that it depends on; with `recurse`, also their
    /// dependencies.
    pub(crate) fn dependencies(&self, package: &str, recurse: bool) -> Result<BTreeSet<String>> {
        let mut command = self.command("apt-cache");
        command.args(["depends", "--important"]);
        if recurse {
            command.arg("--recurse");
        }
        let printed = process::capture(command.arg(package)).map_err(|error| self.blame_update(error))?;
        let names = printed.lines().filter_map(|line| {
            let name = match line.trim_start().split_once("Depends: ") {
                Some((_, name)) => name,
                None if line.starts_with(' ') => return None,
                None => line,
            };
            // `<name>` is a virtual package.
            (!name.starts_with('<')).then(|| name.trim().to_owned())
        });
        Ok(names.collect())
    }

    /// Returns those of `packages` and of what they need that this system lacks.
    pub(crate) fn missing(&self, packages: &[&str]) -> Result<Vec<String>> {
        let mut install = self.command("apt-get");
        install.args(["--quiet", "--simulate", "--no-install-recommends", "install"]).args(packages);
        let printed = process::capture(&mut install).map_err(|error| self.blame_update(error))?;
        // `Inst libnss3 (2:3.87.1-1+deb12u1 Debian:12.11/oldstable [amd64])`
        let names = printed.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next());
        Ok(names.map(str::to_owned).collect())
    }

    /// Every package installed on this system.
    pub(crate) fn installed(&self) -> Result<BTreeSet<String>> {
        let mut query = Command::new("dpkg-query");
        let printed = process::capture(query.args(["-W", "-f", "${Package} ${db:Status-Status}\n"]))?;
        let installed = printed.lines().filter_map(|line| line.strip_suffix(" installed"));
        Ok(installed.map(str::to_owned).collect())
    }

    /// Adds to `error` that the package lists may be out of date, if `apt-get update` has failed.
    fn blame_update(&self, error: anyhow::Error) -> anyhow::Error {
        match &self.stale {
            None => error,
            Some(cause) => anyhow!("{error:#}\nand before that: {cause}"),
        }
    }

    /// Returns an apt program that uses the private state and prints English.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.config()).env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// The configuration file, which apt reads after the system's.
    fn config(&self) -> PathBuf {
        self.folder.join("apt.conf")
    }

    /// Returns the private configuration: own folders, no hooks, and only the lists that are
    /// needed.
    fn settings(&self) -> String {
        let folder = self.folder.display();
        format!(
            r#"// Written by `cargo xtask setup`.
Dir::State "{folder}/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "{folder}/cache";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::Retries "3";
"#
        )
    }
}
