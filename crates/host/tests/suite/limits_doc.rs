//! The tables of docs/limits.md have the constants of `limits` with their values, and are complete.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use wasmetry_host::{GuestLimits, limits};

const DOCS: &str = include_str!("../../../../docs/limits.md");
const SOURCE: &str = include_str!("../../src/limits.rs");

/// Limits of formats, which cost nothing beyond their own output, and times for which series are
/// kept.
const NOT_LISTED: [&str; 9] = [
    "GAUGE_RETENTION",
    "LINE_BYTES",
    "LINE_TEXT",
    "LOKI_METADATA",
    "LOKI_METADATA_BYTES",
    "LOKI_STREAMS",
    "LOKI_TIMESTAMP_RANGES",
    "RETENTION",
    "SLOW_REQUEST",
];

/// A value as the table shows it.
trait Shown {
    fn shown(self, is_bytes: bool) -> String;
}

impl Shown for u64 {
    fn shown(self, is_bytes: bool) -> String {
        if !is_bytes {
            let digits = self.to_string();
            let groups: Vec<&str> =
                digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
            return groups.join(",");
        }
        let unit = ["bytes", "KiB", "MiB", "GiB"].into_iter().enumerate().rev();
        let (size, unit) = unit.map(|(power, unit)| (1 << (10 * power), unit)).find(|(size, _)| self >= *size).unwrap();
        assert_eq!(self % size, 0);
        format!("{} {unit}", self / size)
    }
}

impl Shown for usize {
    fn shown(self, is_bytes: bool) -> String {
        (self as u64).shown(is_bytes)
    }
}

impl Shown for Duration {
    fn shown(self, _: bool) -> String {
        format!("{} ms", self.as_millis())
    }
}

macro_rules! values {
    ($($bytes:ident)* ; $($number:ident)*) => {
        BTreeMap::from([
            $((stringify!($bytes), limits::$bytes.shown(true)),)*
            $((stringify!($number), limits::$number.shown(false)),)*
        ])
    };
}

#[test]
fn table_has_every_limit() {
    let values: BTreeMap<&str, String> = values!(
        READ_BYTES READ_LABEL_BYTES READ_RECORD_BYTES SMALL_WINDOW REGION_BYTES STORE_MEMORY RESERVED_STORE_MEMORY
        TENANT_MEMORY TELEMETRY_MEMORY EXPOSITION_BYTES_PER_COMPONENT EXPOSITION_BYTES_PER_TENANT EXPOSITION_BYTES TAIL_BUFFER_BYTES OPEN_SPAN_BYTES DYNAMIC_SITE_BYTES LABEL_TEXT_PER_COMPONENT
        SMALL_METRIC LABEL_VALUE SECTION_BYTES RECORD_TEXT RECORD_NAME ATTRIBUTE_BYTES OUTPUT_LINE SPARE_BUFFER_BYTES HANDLE_SITE_TEXT
        REFUSAL EXCEPTION_TEXT ;
        READ_CELLS READ_RECORDS READ_TIME CELLS_PER_TURN ENTRIES WORDS_PER_REGION REGIONS PUSHED_REGIONS RING_WORDS
        OPEN_SPANS SPAN_ATTRIBUTES SPAN_EVENTS SPAN_LINKS DYNAMIC_SITES SERIES_PER_METRIC WORDS_PER_COMPONENT LABELS
        METRICS SITES RESOLVED_METRICS REFUSALS HANDLES RESOLVED_GAUGES OBSERVATIONS ATTRIBUTES OUTPUT_LINES
        OUTPUT_LINES_PER_SECOND ACCESS_RECORDS ACCESS_RECORDS_PER_SECOND SERIES_PER_COMPONENT_AND_HOST_FAMILY
        SERIES_PER_TENANT_AND_HOST_FAMILY SERIES_PER_HOST_FAMILY RETIRED_OWNERS NAMED_ROUTES EXEMPLARS_PER_COMPONENT PENDING_EXEMPLARS LAYOUTS LAYOUT_ENTRIES
        SPARE_BUFFERS REACHED_SITES TOUCHED_SERIES TOUCHED_CELLS HIDDEN_SERIES SERIES_PER_COMPONENT SERIES_PER_TENANT
        METRICS_PER_COMPONENT METRICS_PER_TENANT NAMESAKES ROUTES FACADES IMPORTS REJECTED DECLARED_SERIES BATCH_GAP
        EXCEPTION_CAUSES REMOVED_SERIES RETAINED_VALUES FAIR_SHARE KEPT_FOR_SMALL SMALL_SHARE NEW_DROPS
        OUTPUT_LINES_PER_TENANT OUTPUT_LINES_PER_TENANT_AND_SECOND
        ACCESS_RECORDS_PER_TENANT ACCESS_RECORDS_PER_TENANT_AND_SECOND
        RECORDS RECORDS_PER_SECOND RECORDS_PER_TENANT RECORDS_PER_TENANT_AND_SECOND
        AUDIT_RECORDS AUDIT_RECORDS_PER_SECOND AUDIT_RECORDS_PER_TENANT AUDIT_RECORDS_PER_TENANT_AND_SECOND
    );
    let rows: BTreeMap<&str, &str> = DOCS
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `")?.split_once("`: ")?;
            Some((name, rest.split(" | ").nth(1)?))
        })
        .collect();
    for (name, value) in &values {
        assert_eq!(rows.get(name), Some(&value.as_str()), "{name}");
    }
    for name in SOURCE.lines().filter_map(|line| line.strip_prefix("pub const ")?.split_once(':').map(|(name, _)| name))
    {
        assert!(rows.contains_key(name) || NOT_LISTED.contains(&name), "{name} is not in docs/limits.md");
    }
}

/// Every row of every table of limits has a default, a reason, what happens beyond it, and the way
/// in which it is set, or `fixed`.
#[test]
fn rows_of_all_sections_are_complete() {
    let (mut tables, mut rows) = (0, 0);
    let mut columns: Vec<&str> = Vec::new();
    for line in DOCS.lines() {
        let row = line.strip_prefix('|').and_then(|rest| rest.strip_suffix('|'));
        let cells: Vec<&str> = row.into_iter().flat_map(|row| row.split('|')).map(str::trim).collect();
        if cells.is_empty() {
            columns.clear();
        } else if cells[0] == "limit" {
            tables += 1;
            columns = cells;
        } else if !columns.is_empty() && !line.starts_with("|---") {
            rows += 1;
            assert_eq!(cells.len(), columns.len(), "{line}");
            let cell = |column: &str| {
                let at = columns.iter().position(|known| *known == column);
                cells[at.unwrap_or_else(|| panic!("no column `{column}`: {columns:?}"))]
            };
            for column in ["limit", "default", "why", "beyond it", "set"] {
                assert!(!cell(column).is_empty(), "no `{column}`: {line}");
            }
            let set = cell("set");
            assert!(set.starts_with("fixed") || set.contains('`'), "`{set}` names no setting: {line}");
        }
    }
    assert!(tables >= 6 && rows > 150, "{tables} tables, {rows} rows");
}

/// The limits of guests that are set by name are those of the table.
#[test]
fn rows_of_guests_have_names() {
    let (_, section) = DOCS.split_once("## Telemetry of guests").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let set = section.lines().filter_map(|line| line.split_once("`--limit ")?.1.split('`').next());
    let set: BTreeSet<&str> = set.filter(|name| !name.contains("NAME")).collect();
    assert_eq!(set, GuestLimits::NAMES.iter().map(|(name, _)| *name).collect());
}

/// The head names each module of limits of the workspace.
#[test]
fn head_names_modules_of_limits() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (head, _) = DOCS.split_once("\n## ").unwrap();
    let mut folders: Vec<_> = fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path().join("src")).collect();
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|name| name == "limits.rs") {
                let name = path.strip_prefix(crates).unwrap().to_str().unwrap().replace('\\', "/");
                assert!(head.contains(&format!("`crates/{name}`")), "{name} is not in the head of docs/limits.md");
                found += 1;
            } else if path.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(found >= 9, "{found}");
}
