//! The container file: the static program and the files that it serves, without a system around
//! them.
//!
//! Source: the Dockerfile reference. Tests read it with the parser of BuildKit.

use std::fmt::Write as _;

use super::{Head, argument};
use crate::File;
use crate::deployment::{Deployment, HTTP_PORT, PROGRAM, TELEMETRY_PORT, USER};

/// The path of the container file.
pub(crate) const PATH: &str = "container/Containerfile";

/// Returns the container file.
pub(crate) fn file(head: &Head, deployment: &Deployment) -> File {
    let [first, second] = head.lines();
    let mut text = format!("# {first}\n#   {second}\n#\n");
    let context = deployment.layout.context.as_ref().map_or("CONTEXT", String::as_str);
    let _ = write!(
        text,
        "# The build context has the program beside the files below, linked statically:\n\
         #   cargo build --release --target x86_64-unknown-linux-musl -p wasmetry-cli\n\
         #   docker build -t {} -f DIR/{PATH} {}\n",
        argument(&deployment.image),
        argument(context)
    );
    if deployment.layout.context.is_none() {
        text.push_str("# CONTEXT is a folder into which the files have been copied, with these paths.\n");
    }
    let _ = write!(
        text,
        "# It writes no files, so it needs no writable root:\n\
         #   docker run --read-only --cap-drop ALL -p {HTTP_PORT}:{HTTP_PORT} -p 127.0.0.1:{TELEMETRY_PORT}:{TELEMETRY_PORT} {}\n\
         FROM scratch\n",
        argument(&deployment.image)
    );
    let mut copy = |mode: &str, from: &str, to: &str| {
        let paths = json(&[escaped(&pattern(from)), escaped(to)]);
        let _ = writeln!(text, "COPY --chmod={mode} {paths}");
    };
    copy("0555", "wasmetry", PROGRAM);
    for file in &deployment.layout.files {
        copy("0444", &file.from, &file.to);
    }
    let arguments = deployment.arguments();
    let _ = write!(
        text,
        "USER {USER}:{USER}\nEXPOSE {HTTP_PORT} {TELEMETRY_PORT}\nENTRYPOINT {}\nCMD {}\n",
        json(&[PROGRAM.to_owned()]),
        json(&arguments)
    );
    File { path: PATH.to_owned(), contents: text }
}

/// Returns texts as a JSON array on one line.
fn json(texts: &[String]) -> String {
    // A list of texts is always valid JSON.
    serde_json::to_string(texts).unwrap_or_default()
}

/// Returns a path as a pattern that matches only it.
fn pattern(path: &str) -> String {
    let special = |c: char| "*?[".contains(c);
    path.chars().map(|c| if special(c) { format!("[{c}]") } else { c.to_string() }).collect()
}

/// Returns a text in which nothing is expanded.
fn escaped(text: &str) -> String {
    let special = |c: char| "\\\"'$".contains(c);
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}
