//! Running other programs, with errors that name the program and repeat its last lines.

use std::{
    io::ErrorKind,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, anyhow, bail};

/// The number of last lines that the error of a failed program repeats.
const TAIL_LINES: usize = 12;

/// Runs `command` with this process's own standard streams.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|error| not_started(command, error))?;
    if !status.success() {
        bail!("{} failed ({status}); see its own output above", shown(command));
    }
    Ok(())
}

/// Runs `command` silently and returns its standard output. The error of a failure ends in its
/// last lines.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    capture_both(command).map(|(stdout, _)| stdout)
}

/// Runs `command` silently and returns its standard output and its standard error.
pub(crate) fn capture_both(command: &mut Command) -> Result<(String, String)> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| not_started(command, error))?;
    if !output.status.success() {
        bail!("{} failed ({}): {}", shown(command), output.status, tail(&output));
    }
    let stdout = String::from_utf8(output.stdout)
        .with_context(|| format!("{} printed something that is not UTF-8", shown(command)))?;
    Ok((stdout, String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Returns `true` if `program` can be started at all.
pub(crate) fn exists(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// Returns the error of a failed step: the thing, the cause and the remedy.
pub(crate) fn failed(thing: &str, cause: &anyhow::Error, remedy: &str) -> anyhow::Error {
    anyhow!("{thing}: {cause:#}; {remedy}")
}

/// Returns the command line as typed in a shell.
fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let mut line = format!("`{}", name.to_string_lossy());
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line + "`"
}

/// Returns the error of a `command` that could not be started.
fn not_started(command: &Command, error: std::io::Error) -> anyhow::Error {
    let program = command.get_program().to_string_lossy();
    match error.kind() {
        ErrorKind::NotFound => anyhow!("`{program}` is not installed, or not on PATH"),
        _ => anyhow!("`{program}` could not be started: {error}"),
    }
}

/// Returns the last lines of a program's output, standard error first.
fn tail(output: &Output) -> String {
    let said = match output.stderr.trim_ascii() {
        [] => output.stdout.trim_ascii(),
        stderr => stderr,
    };
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.lines().collect();
    match lines.as_slice() {
        [] => "it said nothing".to_owned(),
        [line] => (*line).to_owned(),
        lines => {
            let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
            format!("\n  {}", last.join("\n  "))
        }
    }
}
