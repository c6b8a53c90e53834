//! Grafana's own programs: its parser of LogQL, its types, its foundation SDK.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Once;

/// The result of a check.
#[derive(Debug)]
pub(super) enum Verdict {
    Accepted,
    /// The lines that the checker has printed.
    Refused(String),
    /// The checker is not installed.
    Skipped,
}

impl Verdict {
    fn of(output: &Output) -> Self {
        if output.status.success() {
            return Self::Accepted;
        }
        let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        Self::Refused(out + &error)
    }

    #[track_caller]
    pub(super) fn assert_accepted(&self) {
        if let Self::Refused(lines) = self {
            panic!("{lines}");
        }
    }

    /// Asserts that a line of the checker names each case.
    #[track_caller]
    pub(super) fn assert_refused(&self, cases: &[String]) {
        match self {
            Self::Accepted => panic!("accepted: {cases:?}"),
            Self::Refused(lines) => {
                for case in cases {
                    assert!(lines.lines().any(|line| line.contains(case)), "{case} is accepted: {lines}");
                }
            }
            Self::Skipped => {}
        }
    }
}

/// Prints one line for a checker that is not installed.
///
/// # Panics
///
/// Panics if `CI` is `true`.
fn skip(once: &'static Once, message: &str) -> Verdict {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
    once.call_once(|| eprintln!("skipped: {message}"));
    Verdict::Skipped
}

/// Returns a command for a script of `tests/grafana`, if Node and its packages are installed.
fn node(script: &str) -> Option<Command> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/grafana");
    let has_node = || Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    if !folder.join("node_modules").is_dir() || !has_node() {
        return None;
    }
    let mut command = Command::new("node");
    command.arg(folder.join(script));
    Some(command)
}

static NO_NODE_ONCE: Once = Once::new();
const NO_NODE: &str = "Grafana's parser and types are not installed: run `cargo xtask setup`, which needs Node 20";

/// Parses LogQL with Grafana's parser.
pub(super) fn parse_logql(expressions: &[String]) -> Verdict {
    let Some(mut command) = node("logql.mjs") else { return skip(&NO_NODE_ONCE, NO_NODE) };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let input = serde_json::to_vec(expressions).unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    Verdict::of(&child.wait_with_output().unwrap())
}

/// Checks dashboards with Grafana's types.
pub(super) fn read_by_types(paths: &[PathBuf]) -> Verdict {
    let Some(mut command) = node("dashboards.mjs") else { return skip(&NO_NODE_ONCE, NO_NODE) };
    Verdict::of(&command.args(paths).output().unwrap())
}

/// Reads dashboards with Grafana's foundation SDK.
pub(super) fn read_by_sdk(paths: &[PathBuf]) -> Verdict {
    static ONCE: Once = Once::new();
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let program = target.join("tools/backends/grafana/read-dashboards");
    if !program.is_file() {
        return skip(
            &ONCE,
            "Grafana's foundation SDK is not built: run `cargo xtask backends grafana`, which needs Go",
        );
    }
    Verdict::of(&Command::new(program).args(paths).output().unwrap())
}
