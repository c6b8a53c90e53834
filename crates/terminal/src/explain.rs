//! `wasmetry explain`: what failed or slow requests have in common, in words.

use std::io::{ErrorKind, Write};

use serde_json::Value;

use crate::client::{json, query};
use crate::escape::escape_to;
use crate::{Client, Error, answer, format};

/// The selection and the form of the output.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The component.
    pub component: Option<String>,
    /// The tenant; an empty text stands for none.
    pub tenant: Option<String>,
    /// The route.
    pub route: Option<String>,
    /// The seconds back from now.
    pub since: Option<u64>,
    /// An alert of the generated rules.
    pub alert: Option<String>,
    /// `failed`, `slow` or `failed,slow`.
    pub outcome: Option<String>,
    /// The least duration in seconds of the selected requests.
    pub min: Option<String>,
    /// The host's answer as it is.
    pub json: bool,
}

impl Options {
    fn target(&self) -> String {
        let since = self.since.map(|since| since.to_string());
        let parameters = [
            ("component", self.component.as_deref()),
            ("tenant", self.tenant.as_deref()),
            ("route", self.route.as_deref()),
            ("since", since.as_deref()),
            ("alert", self.alert.as_deref()),
            ("outcome", self.outcome.as_deref()),
            ("min", self.min.as_deref()),
        ];
        format!("/api/v1/explain{}", query(&parameters))
    }
}

/// Sends the request, and writes the answer. Returns `true` if there are causes.
///
/// # Errors
///
/// Returns an error if the host does not answer, or if the output cannot be written.
pub fn run(client: &dyn Client, options: &Options, output: &mut dyn Write) -> Result<bool, Error> {
    let found = json(client, &options.target())?;
    let text = if options.json { crate::escape::json(&found) } else { lines(&found).join("\n") };
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        // A reader that has closed the pipe, such as `head`, is no error.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(answer::text(&found, "verdict") == "causes")
}

/// Returns the answer in lines.
pub(crate) fn lines(found: &Value) -> Vec<String> {
    let text = |value: &Value, key: &str| escape_to(answer::text(value, key), 1024);
    let mut lines = vec![text(found, "text")];
    let selection = text(&found["selection"], "text");
    if !selection.is_empty() {
        lines.push(format!("compared: {selection}, {}", sizes(found)));
    }
    for (index, cause) in answer::list(found, "causes").iter().enumerate() {
        lines.push(String::new());
        lines.push(format!("{}. {}", index + 1, text(cause, "text")));
        lines.push(format!("   {}", figures(cause)));
        let same: Vec<String> =
            answer::list(cause, "attributes").iter().skip(1).map(|attribute| text(attribute, "text")).collect();
        if !same.is_empty() {
            lines.push(format!("   in the same requests: {}", same.join("; ")));
        }
        let others: Vec<String> =
            answer::list(cause, "together_with").iter().map(|attribute| text(attribute, "text")).collect();
        if !others.is_empty() {
            lines.push(format!("   together with: {}", others.join("; ")));
        }
        let follows: Vec<String> =
            answer::list(cause, "follows").iter().map(|attribute| text(attribute, "text")).collect();
        if !follows.is_empty() {
            lines.push(format!("   follows from it: {}", follows.join("; ")));
        }
    }
    section(&mut lines, "signs of the failure", answer::list(found, "signs"), |sign| text(sign, "text"));
    section(&mut lines, "examples", answer::list(found, "examples"), |trace| {
        format!("{} {}: {}", text(trace, "trace_id"), answer::component(trace), answer::trace(trace))
    });
    section(&mut lines, "logs", answer::list(found, "logs"), |log| {
        let level = text(log, "level").to_uppercase();
        format!("{} {level:<5} {}", format::time(answer::number(log, "time").unwrap_or(0.0)), answer::message(log))
    });
    section(&mut lines, "what changed lately", answer::list(found, "changes"), |change| {
        format!("{} {}", format::time(answer::number(change, "time").unwrap_or(0.0)), text(change, "text"))
    });
    lines
}

fn sizes(found: &Value) -> String {
    let size = |group: &str| {
        let [requests, of] = ["requests", "of"].map(|key| answer::number(&found[group], key).unwrap_or(0.0));
        if requests == of { format!("{requests}") } else { format!("{requests} of {of}") }
    };
    format!("{} requests against {} normal ones", size("selected"), size("normal"))
}

/// The numbers of a cause.
fn figures(cause: &Value) -> String {
    let number = |key: &str| answer::number(cause, key);
    let mut figures = Vec::new();
    if let Some(effect) = number("effect") {
        figures.push(format!("{:+.0} percentage points", effect * 100.0));
    }
    if let Some(ratio) = number("ratio") {
        figures.push(format!("{ratio:.1} times as frequent"));
    }
    if let Some(p_value) = number("p_value") {
        figures.push(if p_value < 1e-4 { format!("p = {p_value:.0e}") } else { format!("p = {p_value:.4}") });
    }
    figures.join(", ")
}

fn section(lines: &mut Vec<String>, title: &str, entries: &[Value], line: impl Fn(&Value) -> String) {
    if entries.is_empty() {
        return;
    }
    lines.push(String::new());
    lines.push(format!("{title}:"));
    lines.extend(entries.iter().map(|entry| format!("   {}", line(entry))));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the API's contract.
    const EXAMPLE: &str = include_str!("../../console/tests/fixtures/explain.json");

    #[test]
    fn example_is_written_in_words() {
        let lines = lines(&serde_json::from_str(EXAMPLE).unwrap());
        assert_eq!(
            lines[..6],
            [
                "40 of 42 failed requests put an item of the kind `gift` into a cart; of 512 normal ones, 3 did.",
                "compared: failed requests of `storefront` on /cart in the last 15 minutes, 42 requests against 512 of \
                 18020 normal ones",
                "",
                "1. 40 of 42 failed requests have cart_items_total{kind=\"gift\"}; 3 of 512 normal ones have it",
                "   +95 percentage points, 162.5 times as frequent, p = 1e-40",
                "   in the same requests: src/cart.rs:42 `cart {} has no items`",
            ]
        );
        let text = lines.join("\n");
        for part in [
            "0af7651916cd43dd8448eb211c80319c storefront: POST /cart 500 94ms reason=\"unreachable\"",
            "ERROR cart 42 has no items cart=42 kind=gift",
            "what changed lately:\n   2025-11-28T23:50:02.250Z `storefront`: version 0f3a52c1aa10 was replaced by",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn pairs_are_written_whole() {
        let cause = serde_json::json!({
            "text": "", "attributes": [{"text": "a"}], "together_with": [{"text": "b"}], "follows": [{"text": "c"}],
        });
        let lines = lines(&serde_json::json!({"text": "", "causes": [cause]}));
        assert_eq!(lines[4..], ["   together with: b", "   follows from it: c"]);
    }

    /// A reader that ends early, such as `head`.
    #[test]
    fn closed_pipe_is_no_error() {
        struct Answer;
        impl Client for Answer {
            fn get(&self, _: &str, _: Option<&str>) -> Result<crate::Response, Error> {
                Ok(crate::Response::new(200, "application/json", Box::new(EXAMPLE.as_bytes())))
            }
        }
        struct Output(ErrorKind);
        impl Write for Output {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        for json in [false, true] {
            let options = Options { json, ..Options::default() };
            assert!(run(&Answer, &options, &mut Output(ErrorKind::BrokenPipe)).unwrap());
            assert!(matches!(run(&Answer, &options, &mut Output(ErrorKind::StorageFull)), Err(Error::Output(_))));
        }
    }

    #[test]
    fn selections_become_parameters() {
        let options = Options {
            component: Some("shop".into()),
            route: Some("/a b".into()),
            since: Some(60),
            ..Options::default()
        };
        assert_eq!(options.target(), "/api/v1/explain?component=shop&route=%2Fa%20b&since=60");
        assert_eq!(Options::default().target(), "/api/v1/explain");
        let alert = Options { alert: Some("ShopHighLatency".into()), min: Some("0.25".into()), ..Options::default() };
        assert_eq!(alert.target(), "/api/v1/explain?alert=ShopHighLatency&min=0.25");
    }
}
