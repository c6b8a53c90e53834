//! The console's page: its libraries, types and size, and the page in a browser.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wasmetry_tests::server::Server;
use wasmetry_tests::tool::Tool;
use wasmetry_tests::{guest, root, target};

/// The bytes of the page and its libraries, compressed.
const PAGE_BYTES: u32 = 150_000;

/// Runs Node in `tests/page`. Returns `None` where the packages are not installed.
///
/// # Panics
///
/// Panics with the program's output if it fails.
fn node(arguments: &[&str]) -> Option<String> {
    Tool::TypeScript.find()?;
    let folder = root().join("tests/page");
    let output = Command::new("node").args(arguments).current_dir(folder).output().expect("Node is installed");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "node {}: {printed}{errors}", arguments.join(" "));
    Some(printed)
}

#[test]
fn vendored_libraries_are_recorded() {
    let Some(printed) = node(&["vendor.mjs", "--check"]) else { return };
    assert!(printed.contains("lit-html") && printed.contains("uplot"), "{printed}");
}

#[test]
fn scripts_have_types() {
    let _ = node(&["node_modules/typescript/bin/tsc", "--project", "."]);
}

#[test]
fn page_fits_its_budget() {
    let Some(printed) = node(&["size.mjs", &PAGE_BYTES.to_string()]) else { return };
    eprint!("{printed}");
}

// A document with inline code or with addresses of others would not run under the policy, or leak
// to them.
#[test]
fn document_has_files_only() {
    let page = root().join("crates/console/page");
    let mut seen = 0;
    check_folder(&page, &mut seen);
    assert!(seen > 15, "{seen}");
}

fn check_folder(folder: &Path, seen: &mut usize) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("vendor") {
                check_folder(&path, seen);
            }
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        *seen += 1;
        for forbidden in
            ["style=", "<style", "onclick=", "unsafeHTML", "innerHTML", "eval(", "https://", "localStorage", "//cdn"]
        {
            assert!(!text.contains(forbidden), "{}: {forbidden}", path.display());
        }
    }
}

// Otherwise a browser would find a script only after those that import it, one round trip each.
#[test]
fn document_preloads_all_scripts() {
    let page = root().join("crates/console/page");
    let document = fs::read_to_string(page.join("index.html")).unwrap();
    let mut scripts = Vec::new();
    find_scripts(&page, &mut scripts);
    assert!(scripts.len() > 15, "{scripts:?}");
    for script in &scripts {
        let path = script.strip_prefix(&page).unwrap().display();
        let is_entry = document.contains(&format!("<script type=\"module\" src=\"page/{path}\">"));
        let is_preloaded = document.contains(&format!("<link rel=\"modulepreload\" href=\"page/{path}\">"));
        assert!(is_entry != is_preloaded, "index.html does not preload {path}");
    }
    assert_eq!(document.matches("modulepreload").count(), scripts.len() - 1);
}

fn find_scripts(folder: &Path, scripts: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_scripts(&path, scripts);
        } else if path.extension().is_some_and(|ending| ending == "js") {
            scripts.push(path);
        }
    }
}

// `tests/page/browse.mjs` is a person's way through the page; here are the server and its restart.
#[test]
fn page_shows_real_traffic() {
    let (Some(_), Some(program)) = (Tool::TypeScript.find(), Tool::Chromium.find()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("wasmetry.toml");
    fs::write(
        &config,
        format!(
            "[defaults]\nlog-level = \"debug\"\nkeep-slow = \"100ms\"\n\
             [[component]]\npath = {:?}\nname = \"storefront\"\nversion = \"1.4.0\"\n\
             [[component]]\npath = {:?}\nname = \"carts\"\ntenant = \"acme\"\nhost = [\"carts.localhost\"]\n\
             [[component]]\npath = {:?}\nname = \"markup<script>globalThis.isRun=1</script>\"\nhost = [\"markup.localhost\"]\n\
             [[component]]\npath = {:?}\nname = \"relay\"\nhost = [\"relay.localhost\"]\n\
             [[component]]\npath = {:?}\nname = \"lines\"\nhost = [\"lines.localhost\"]\n",
            guest("storefront"),
            guest("failing-service"),
            guest("markup"),
            guest("trace-relay"),
            guest("log-service")
        ),
    )
    .unwrap();
    let mut server = Server::configured(&config, &[]);
    let token = "a-token-for-the-page-0123456789";
    let token_file = folder.path().join("token");
    fs::write(&token_file, token).unwrap();
    let flags = ["--telemetry-require-token", "--telemetry-view-token-file", token_file.to_str().unwrap()];
    let guarded = Server::start(&guest("storefront"), &flags);
    let small = Server::start(&guest("log-service"), &["--console-memory", "1MiB"]);
    let addresses = [&server.url, &server.telemetry].map(|url| url.trim_start_matches("http://").to_owned());
    let settings = serde_json::json!({
        "origin": server.telemetry,
        "service": server.url,
        "program": program,
        "pictures": target().join("page"),
        "guarded": { "origin": guarded.telemetry, "token": token },
        "small": { "origin": small.telemetry, "service": small.url },
    });
    let mut browser = Command::new("node")
        .args(["browse.mjs", &settings.to_string()])
        .current_dir(root().join("tests/page"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, output) = (browser.stdin.take().unwrap(), browser.stdout.take().unwrap());
    let mut printed = Vec::new();
    let mut is_stopping = false;
    for line in BufReader::new(output).lines() {
        let line = line.unwrap();
        match line.as_str() {
            "restart" => {
                server.terminate();
                is_stopping = true;
            }
            "stopped" => {
                assert!(is_stopping, "{printed:#?}");
                assert!(server.wait().success());
                let [service, telemetry] = &addresses;
                server = Server::configured_with(&config, &["--addr", service, "--telemetry-addr", telemetry], &[]);
                input.write_all(b"restarted\n").unwrap();
            }
            _ => eprintln!("{line}"),
        }
        printed.push(line);
    }
    assert!(browser.wait().unwrap().success(), "{printed:#?}");
    assert_eq!(printed.last().map(String::as_str), Some("done"), "{printed:#?}");
}
