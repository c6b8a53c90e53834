//! Lines about what is dropped of a component: each kind once, and its rejected declarations.
//!
//! In come the registry's new kinds and a binary's declarations; out go single lines. It does not
//! know where they are written.

use std::fmt::Write as _;

use wasmetry_host::{Declarations, Identity, NewDrop, Registry};

use super::limits;
use crate::text;

/// Passes a line about each kind of drop that is new to `line`, at most `most` of them. `line`
/// returns `false` if it has no room; what is left is reported by the next call.
pub(crate) fn report_new_drops(registry: &Registry, most: usize, mut line: impl FnMut(String) -> bool) {
    let mut reported = 0;
    registry.report_new_drops(|kind| {
        let Some(text) = new_drop(kind) else { return true };
        reported += 1;
        reported <= most && line(text)
    });
}

/// Describes a kind of drop. Returns `None` for metrics that are reported by their names, and for
/// the past that leaves the console, which is so of each busy component.
fn new_drop(kind: &NewDrop) -> Option<String> {
    let NewDrop { identity, counter, signal, reason, .. } = kind;
    if matches!(&**reason, "type_conflict" | "invalid_declaration" | "console_memory") {
        return None;
    }
    let of = owner(identity);
    let what = match &**signal {
        "output" => "some of its output is dropped".to_owned(),
        "outgoing requests" => format!("some of its {signal} are refused"),
        signal => format!("some of its {signal} are dropped"),
    };
    Some(format!("{of}: {what} ({reason}); {counter} counts them, and docs/limits.md has the limits"))
}

/// Describes the rejected declarations of a component's binary, some of them by their names and
/// reasons. Returns `None` if there are none.
pub(crate) fn rejected_declarations(identity: &Identity, declarations: &Declarations) -> Option<String> {
    let rejected = declarations.rejected();
    if rejected.is_empty() {
        return None;
    }
    let mut line = format!("{}: rejected declarations, whose values are dropped:", owner(identity));
    for (at, rejected) in rejected.iter().take(limits::NAMED_DECLARATIONS).enumerate() {
        let separator = if at == 0 { "" } else { ";" };
        let name: String = rejected.name.chars().take(limits::DECLARATION_NAME).collect();
        let reason: String = rejected.reason.chars().take(limits::DECLARATION_REASON).collect();
        let _ = write!(line, "{separator} `{}`: {}", text::line(&name), text::line(&reason));
    }
    match rejected.len().saturating_sub(limits::NAMED_DECLARATIONS) {
        0 => {}
        _ => line.push_str("; and more"),
    }
    line.push_str("; `wasmetry inspect` lists them");
    Some(line)
}

/// Names a component and its tenant.
fn owner(identity: &Identity) -> String {
    let component = text::line(identity.component());
    match identity.tenant() {
        "" => component,
        tenant => format!("{component} of the tenant `{}`", text::line(tenant)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmetry_abi::{Descriptor, Kind};

    #[test]
    fn each_kind_is_one_line() {
        let registry = Registry::new();
        let evil = Identity::new("evil\u{202e}").with_tenant("mallory");
        registry.count_dropped(&evil, "logs", "queue_full", 3);
        registry.count_dropped(&evil, "metrics", "type_conflict", 1);
        registry.count_dropped(&evil, "logs", "console_memory", 1);
        registry.count_dropped(&evil, "output", "write_failed", 1);
        let report = |most: usize| {
            let mut lines = Vec::new();
            report_new_drops(&registry, most, |line| {
                lines.push(line);
                true
            });
            lines
        };
        assert_eq!(
            report(1),
            [
                "evil\\u{202e} of the tenant `mallory`: some of its logs are dropped (queue_full); wasmetry_dropped_total \
              counts them, and docs/limits.md has the limits"
            ]
        );
        registry.count_dropped(&evil, "logs", "queue_full", 3);
        // What found no room is reported later, and once.
        report_new_drops(&registry, 9, |_| false);
        let [output] = &report(9)[..] else { panic!("one kind is left") };
        assert!(output.contains("some of its output is dropped (write_failed)"), "{output}");
        assert_eq!(report(9), [""; 0]);
    }

    #[test]
    fn rejected_declarations_are_one_line() {
        const UP: Descriptor<'static> = Descriptor::new(Kind::GaugeI64, "up", "All is well.");
        static RECORD: [u8; UP.record_len()] = UP.encode();
        let identity = Identity::new("evil");
        let declarations = Declarations::from_sections([&RECORD[..]]);
        let line = rejected_declarations(&identity, &declarations).unwrap();
        assert!(line.starts_with("evil: rejected declarations, whose values are dropped: `up`: "), "{line}");
        assert_eq!(line.lines().count(), 1);
        assert_eq!(rejected_declarations(&identity, &Declarations::default()), None);
    }
}
