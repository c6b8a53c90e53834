//! The command line of `cargo xtask`: its help, and one line for a wrong command line.
//!
//! This test also serves the build of the command; see `build_command` in `xtask/src/test.rs`.

use std::{
    io::Result,
    process::{Command, Output},
};

/// Runs xtask with `arguments`.
fn xtask(arguments: &[&str]) -> Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output()
}

#[test]
fn help_explains_every_command() -> Result<()> {
    for arguments in [&["help"][..], &["--help"], &["demo", "--help"]] {
        let output = xtask(arguments)?;
        assert!(output.status.success(), "{arguments:?}");
        let help = String::from_utf8_lossy(&output.stdout);
        for command in ["setup", "guests", "backends", "demo", "test", "ci", "gates", "wording", "wit", "bench"] {
            assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "no `{command}` in:\n{help}");
        }
    }
    Ok(())
}

#[test]
fn wrong_command_line_exits_with_2() -> Result<()> {
    let wrong: [&[&str]; 8] = [
        &[],
        &["tests"],
        &["setup", "--fast"],
        &["guests", "storefront"],
        &["backends", "tempo"],
        &["demo", "--addr"],
        &["demo", "--addr", "localhost"],
        &["ci", "--", "--nocapture"],
    ];
    for arguments in wrong {
        let output = xtask(arguments)?;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(printed.starts_with("error: ") && printed.lines().count() == 1, "{arguments:?}: {printed}");
    }
    Ok(())
}
