//! The lines that the Prometheus text format and OpenMetrics share.
//!
//! A *family* is all that has one name. Its text begins with *metadata*, the lines with a `#`. The
//! *samples* of each of its *series* follow, one line each: name, labels, value.
//!
//! ```text
//! # HELP jobs_total Jobs done.                              metadata
//! # TYPE jobs_total counter
//! jobs_total{queue="mail"} 3                                one series: one sample
//! jobs_total{queue="push"} 1                                another series
//!
//! # TYPE wait_seconds histogram
//! wait_seconds_bucket{queue="mail",le="0.1"} 2              one series of a histogram: a sample for
//! wait_seconds_bucket{queue="mail",le="+Inf"} 3             each bucket, the sum and the count
//! wait_seconds_sum{queue="mail"} 0.85
//! wait_seconds_count{queue="mail"} 3
//! ```
//!
//! In OpenMetrics, a bucket can end in an *exemplar*, and the *start time* of a series can follow
//! its samples:
//!
//! ```text
//! wait_seconds_bucket{queue="mail",le="+Inf"} 3 # {trace_id="4bf9…",span_id="00f0…"} 0.7 1700000000.5
//! wait_seconds_created{queue="mail"} 1699999990
//! ```
//!
//! The labels of a series never change, so their text is made once, when the series is first
//! written, and only copied afterwards; so is the text of a histogram's bounds. Both are kept with
//! what they were made from, as [`RenderedLabels`] and [`RenderedBounds`].
//!
//! A text can be written in pieces, none of which ends within a line: see [`Position`].

mod label;
mod number;
mod series;
mod size;

use self::series::Output;
use super::escape;
use crate::registry::family::FamilyKind;
use crate::snapshot::place::{self, TextFormat};
use crate::snapshot::{FamilySnapshot, Snapshot};
pub(crate) use label::{RenderedBounds, RenderedLabels};
pub(crate) use number::write_number;
pub(crate) use size::{metadata_size, series_size};

/// The text format that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The Prometheus text format. It has neither exemplars nor start times.
    Prometheus,
    /// OpenMetrics.
    OpenMetrics {
        /// Writes a sample `_created` for each series whose start time is known.
        with_created: bool,
    },
}

impl Format {
    /// The rules for names.
    fn names(self) -> TextFormat {
        match self {
            Self::Prometheus => TextFormat::Prometheus,
            Self::OpenMetrics { .. } => TextFormat::OpenMetrics,
        }
    }

    fn has_exemplars(self) -> bool {
        matches!(self, Self::OpenMetrics { .. })
    }

    /// Returns `true` if the series of this kind have a sample `_created`.
    fn has_created(self, kind: FamilyKind) -> bool {
        // Up/down counters have a start time. They are written as gauges, which have none.
        self == Self::OpenMetrics { with_created: true } && kind != FamilyKind::UpDownCounter
    }

    /// Returns `true` if a histogram with these bounds has the samples `_sum` and `_count`.
    ///
    /// OpenMetrics requires that a sum never falls. A bound below zero means that values may be
    /// negative and the sum may fall, so OpenMetrics then has neither of the two.
    fn has_sum_and_count(self, bounds: &[f64]) -> bool {
        self == Self::Prometheus || bounds.first().is_none_or(|lowest| *lowest >= 0.0)
    }
}

/// The position in a snapshot's text: its start by default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    family: usize,
    /// The part of a family that is split, among those of
    /// [`sample_suffixes`](place::sample_suffixes).
    part: usize,
    /// `true` if the metadata of the family is written.
    has_metadata: bool,
    block: usize,
    series: series::Position,
    is_end: bool,
}

impl Position {
    /// Returns `true` behind the last line.
    pub(crate) fn is_end(&self) -> bool {
        self.is_end
    }

    /// Moves to the next family, or to the next part of one that is split.
    fn advance(&mut self, families: &[FamilySnapshot], format: Format) {
        let Some(family) = families.get(self.family) else { return };
        let continues = |at: usize| families.get(at).is_some_and(|family| family.place.continues);
        let next = self.family + 1;
        *self = match family.place.is_split(format.names()) {
            true if continues(next) => Self { family: next, part: self.part, ..Self::default() },
            true if self.part + 1 < place::sample_suffixes(family.kind()).len() => {
                let first = (0..=self.family).rev().find(|at| !continues(*at)).unwrap_or(self.family);
                Self { family: first, part: self.part + 1, ..Self::default() }
            }
            _ => Self { family: next, ..Self::default() },
        };
    }
}

/// Appends a snapshot from a position on, and moves the position behind what is written: to the
/// end, or to the end of the line at which the output has `size` bytes.
pub(crate) fn write(snapshot: &Snapshot, format: Format, position: &mut Position, out: &mut String, size: usize) {
    if position.is_end {
        return;
    }
    let mut out = Output { text: out, size, start: String::new(), part: None };
    while let Some(family) = snapshot.families.get(position.family) {
        let is_split = family.place.is_split(format.names());
        out.part = is_split.then(|| place::sample_suffixes(family.kind())[position.part]);
        if !std::mem::replace(&mut position.has_metadata, true) && !family.place.continues {
            match out.part {
                None => write_metadata(out.text, family, format),
                Some(suffix) => write_sample_metadata(out.text, family, suffix, format),
            }
        }
        while let Some(block) = family.blocks.get(position.block) {
            if out.is_full() || !series::write_block(&mut out, family, block, &mut position.series, format) {
                return;
            }
            (position.block, position.series) = (position.block + 1, series::Position::default());
        }
        position.advance(&snapshot.families, format);
        if out.is_full() {
            return;
        }
    }
    if matches!(format, Format::OpenMetrics { .. }) {
        out.text.push_str("# EOF\n");
    }
    position.is_end = true;
}

/// Appends a whole snapshot.
pub(crate) fn write_all(snapshot: &Snapshot, format: Format, out: &mut String) {
    out.reserve(size_hint(snapshot));
    write(snapshot, format, &mut Position::default(), out, usize::MAX);
}

/// Appends the metadata of a family.
fn write_metadata(out: &mut String, family: &FamilySnapshot, format: Format) {
    let help = family.shown_help();
    let unit = if family.place.has_no_unit { "" } else { family.unit() };
    match format {
        Format::Prometheus => {
            if !help.is_empty() {
                write_strs(out, ["# HELP ", family.name(), " "]);
                escape::help(help, out);
                out.push('\n');
            }
            let kind = match family.kind() {
                // The format has no `info`.
                FamilyKind::Info => FamilyKind::Gauge,
                kind => kind,
            };
            write_strs(out, ["# TYPE ", family.name(), " ", kind.name(), "\n"]);
        }
        Format::OpenMetrics { .. } => {
            let name = family.info.stem();
            write_strs(out, ["# TYPE ", name, " ", family.kind().name(), "\n"]);
            if !unit.is_empty() {
                write_strs(out, ["# UNIT ", name, " ", unit, "\n"]);
            }
            if !help.is_empty() {
                write_strs(out, ["# HELP ", name, " "]);
                escape::label_value(help, out);
                out.push('\n');
            }
        }
    }
}

/// Appends the metadata of the samples of a family whose names end in this suffix: a family of its
/// own, of no known type.
#[cold]
fn write_sample_metadata(out: &mut String, family: &FamilySnapshot, suffix: &str, format: Format) {
    let (name, help) = (family.name(), family.shown_help());
    if format != Format::Prometheus {
        write_strs(out, ["# TYPE ", name, suffix, " unknown\n"]);
    }
    if !help.is_empty() {
        write_strs(out, ["# HELP ", name, suffix, " "]);
        match format {
            Format::Prometheus => escape::help(help, out),
            Format::OpenMetrics { .. } => escape::label_value(help, out),
        }
        out.push('\n');
    }
    if format == Format::Prometheus {
        write_strs(out, ["# TYPE ", name, suffix, " untyped\n"]);
    }
}

#[inline]
fn write_strs<const N: usize>(out: &mut String, texts: [&str; N]) {
    for text in &texts {
        out.push_str(text);
    }
}

/// The bytes of the metadata of a family, beside its help text.
const METADATA_SIZE_HINT: usize = 256;

/// The bytes of a suffix and a value.
const VALUE_SIZE_HINT: usize = 16;

/// Returns the approximate length in bytes of a snapshot's text.
fn size_hint(snapshot: &Snapshot) -> usize {
    let families = snapshot.families();
    families.map(|family| METADATA_SIZE_HINT + family.help().len() + samples_size_hint(family)).sum()
}

fn samples_size_hint(family: &FamilySnapshot) -> usize {
    let samples_per_series = match family.kind() {
        FamilyKind::Histogram => family.bounds().len() + 3,
        _ => 1,
    };
    let blocks = family.blocks.iter().map(|block| {
        let line = family.name().len() + block.labels(0).size() + VALUE_SIZE_HINT;
        block.len() * samples_per_series * line
    });
    blocks.sum()
}
