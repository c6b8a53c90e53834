//! The times of drills, as a table in Markdown.

use std::fmt;
use std::time::Duration;

use wasmetry_export::scrape::Drill;

/// The times of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    /// From the begin of the fault until Alertmanager had the alert.
    pub(super) detected: Duration,
    /// From the end of the fault until the alert had resolved.
    pub(super) resolved: Duration,
    /// The faults that were injected.
    pub(super) faults: u64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { detected, resolved, faults } = self;
        write!(f, "detected after {}, resolved after {}, {faults} faults", seconds(*detected), seconds(*resolved))
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// The drills, and the times of those whose alerts fired and resolved.
#[derive(Default)]
pub(super) struct Report(Vec<(Drill, Option<Measured>)>);

impl Report {
    pub(super) fn add(&mut self, drill: Drill, measured: Option<Measured>) {
        self.0.push((drill, measured));
    }

    /// Returns `true` if every alert fired and resolved.
    pub(super) fn is_complete(&self) -> bool {
        self.0.iter().all(|(_, measured)| measured.is_some())
    }

    /// Returns the table.
    pub(super) fn table(&self) -> String {
        let mut rows = vec![
            ["alert", "severity", "fault", "share", "faults", "time to detect", "time to resolve"].map(str::to_owned),
        ];
        for (drill, measured) in &self.0 {
            let time =
                |of: fn(&Measured) -> Duration| measured.as_ref().map_or("-".to_owned(), |times| seconds(of(times)));
            rows.push([
                drill.alert.clone(),
                drill.severity.clone(),
                drill.fault.clone(),
                format!("{:.3}", drill.share).trim_end_matches('0').trim_end_matches('.').to_owned(),
                measured.as_ref().map_or("-".to_owned(), |times| times.faults.to_string()),
                time(|times| times.detected),
                time(|times| times.resolved),
            ]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 7] = std::array::from_fn(width);
        let line = |cells: &[String; 7]| {
            let cells: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = widths.map(|width| "-".repeat(width));
        let mut lines = vec![line(&rows[0]), line(&rule)];
        lines.extend(rows[1..].iter().map(line));
        lines.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_row_per_alert() {
        let mut report = Report::default();
        let drill = |alert: &str| Drill {
            alert: alert.to_owned(),
            severity: "warning".into(),
            fault: "trap".into(),
            share: 0.02,
            ..Drill::default()
        };
        let measured = Measured { detected: Duration::from_millis(6540), resolved: Duration::from_secs(4), faults: 12 };
        report.add(drill("A"), Some(measured));
        assert!(report.is_complete());
        report.add(drill("Longer"), None);
        assert!(!report.is_complete());
        let expected = "\
            | alert  | severity | fault | share | faults | time to detect | time to resolve |\n\
            | ------ | -------- | ----- | ----- | ------ | -------------- | --------------- |\n\
            | A      | warning  | trap  | 0.02  | 12     | 6.5 s          | 4.0 s           |\n\
            | Longer | warning  | trap  | 0.02  | -      | -              | -               |\n";
        assert_eq!(report.table(), expected);
        assert_eq!(measured.to_string(), "detected after 6.5 s, resolved after 4.0 s, 12 faults");
    }
}
