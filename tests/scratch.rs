//! A new user's project, made of the files and commands in README.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::fs;

use serde_json::{Value, json};
use wasmetry_tests::exposition;
use wasmetry_tests::scratch::Project;
use wasmetry_tests::server::{self, Server};

/// A fenced block of README.
#[derive(Debug)]
struct Block<'a> {
    language: &'a str,
    text: String,
}

impl Block<'_> {
    /// Returns the file that the block's first line names in a comment, such as `// src/lib.rs`.
    fn file(&self) -> Option<&str> {
        let line = self.text.lines().next()?;
        let name = line.strip_prefix("//").or_else(|| line.strip_prefix('#'))?.trim();
        (name.ends_with(".rs") || name.ends_with(".toml")).then_some(name)
    }

    /// Returns the commands, without their comments.
    fn commands(&self) -> impl Iterator<Item = &str> {
        let commands = self.text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
        commands.filter(|command| !command.is_empty())
    }
}

/// Returns the fenced blocks of a Markdown text.
fn blocks(markdown: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for line in markdown.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some(Block { language, text: String::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// Returns the declarations of a program, as `wasmetry inspect` prints them.
fn declared(project: &Project, program: &str) -> Value {
    let output = project.run(&format!("wasmetry inspect --json {program}"));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A project made of README's snippets and commands works.
#[test]
fn readme_project_works() {
    let readme = fs::read_to_string(wasmetry_tests::root().join("README.md")).unwrap();
    let blocks = blocks(&readme);
    let project = Project::new("shop");
    let mut files = Vec::new();
    for block in &blocks {
        if let Some(file) = block.file() {
            project.write(file, &block.text, "…/crates");
            files.push(file);
        }
    }
    assert_eq!(files, ["src/lib.rs", "src/main.rs", "Cargo.toml", "tests/shop.rs"]);

    let is_for_the_project = |block: &&Block<'_>| block.language == "sh" && block.text.contains("shop.wasm");
    let commands: Vec<&str> = blocks.iter().find(is_for_the_project).unwrap().commands().collect();
    let (serve, others) = commands.split_last().unwrap();
    let (mut tests, mut targets) = (0, Vec::new());
    for command in others {
        let output = project.run(command);
        let printed = String::from_utf8_lossy(&output.stdout);
        if command.contains("cargo test") {
            assert!(printed.contains("test a_checkout_is_counted ... ok"), "`{command}` printed: {printed}");
            tests += 1;
        }
        if command.starts_with("wasmetry inspect") {
            assert!(printed.contains("cart_items"), "`{command}` printed: {printed}");
        }
        targets.extend(command.split_once("--target ").and_then(|(_, rest)| rest.split(' ').next()));
    }
    assert_eq!((tests, targets), (3, vec!["wasm32-wasip2", "wasm32-wasip1", "wasm32-wasip2"]), "{others:?}");

    let program = serve.strip_prefix("wasmetry serve ").expect("README serves the project at last");
    let server = Server::start(&project.file(program), &[]);
    for (path, times) in [("/checkout", 3), ("/", 2)] {
        for _ in 0..times {
            let (status, body) = server::get(&server::agent(), &format!("{}{path}", server.url));
            assert_eq!((status, body.as_str()), (200, "Welcome.\n"));
        }
    }
    let metrics = server.scrape();
    let sample = |name, labels: &[_]| exposition::value(&metrics, name, labels);
    assert_eq!(sample("page_views_total", &[("component", "shop"), ("page", "checkout")]), 3.0);
    assert_eq!(sample("page_views_total", &[("component", "shop"), ("page", "home")]), 2.0);
    assert_eq!(sample("cart_items_count", &[("component", "shop")]), 5.0);

    // A debug build has the same declarations.
    project.run("cargo build --target wasm32-wasip2");
    let (debug, release) = ["debug", "release"]
        .map(|profile| declared(&project, &format!("target/wasm32-wasip2/{profile}/shop.wasm")))
        .into();
    assert_eq!(debug["metrics"], release["metrics"]);
    assert_eq!(debug["logs"], release["logs"]);
    assert_eq!(debug["spans"], release["spans"]);
    let logs = debug["logs"].as_array().unwrap();
    let [loaded] = logs.as_slice() else { panic!("the one log of the project is declared: {logs:?}") };
    assert_eq!(
        (&loaded["message"], &loaded["level"], &loaded["fields"], &loaded["file"]),
        (&json!("cart loaded"), &json!("info"), &json!(["items"]), &json!("src/lib.rs"))
    );
}
