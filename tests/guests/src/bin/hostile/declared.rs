//! The declarations of the guest's binary: metrics as large as they may be, and a call site.

use wasmetry_abi::site::{Site, SiteKind, SpanKind};
use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec, Level, Merge};

/// The metrics of [`CELLS`].
pub(crate) const CELL_METRICS: usize = 31;

/// The series of each of them.
pub(crate) const CELL_SERIES: usize = 65_536;

const CELL_LABEL: [LabelSpec<'static>; 1] = [LabelSpec { key: "k", shape: LabelShape::Below(CELL_SERIES as u32 - 1) }];

/// A counter of [`CELL_SERIES`] series.
struct CellCounter<const I: usize>;

impl<const I: usize> CellCounter<I> {
    /// `cells_aa_total`, `cells_ab_total` and so on.
    const NAME: [u8; 14] = {
        let mut name = *b"cells_aa_total";
        name[6] += (I / 26) as u8;
        name[7] += (I % 26) as u8;
        name
    };
    const DESCRIPTOR: Descriptor<'static> =
        Descriptor::new(Kind::CounterU64, text(&Self::NAME), "Cells.").with_labels(&CELL_LABEL);
    const LEN: usize = Self::DESCRIPTOR.record_len();
}

/// Returns bytes as the text that they are.
const fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => panic!("the bytes are ASCII"),
    }
}

macro_rules! cell_counters {
    ($($index:literal)*) => {
        /// The records of counters of 65,536 series each: 512 KiB of cells.
        pub(crate) const CELLS: [&[u8]; CELL_METRICS] = [$({
            #[unsafe(link_section = "wasmetry.v1")]
            #[used]
            static RECORD: [u8; CellCounter::<$index>::LEN] = CellCounter::<$index>::DESCRIPTOR.encode();
            &RECORD
        }),*];
    };
}

cell_counters!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30);

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzabcdefgh";

/// The key with a number below 32.
const fn key(number: usize) -> &'static str {
    let (_, rest) = LETTERS.split_at(number);
    rest.split_at(if number < 26 { 1 } else { 2 }).0
}

/// The labels of [`LABELS`].
pub(crate) const TEXT_LABELS: usize = 16;

const TEXT_LABEL: LabelShape<'static> = LabelShape::Text { capacity: 1, max_len: 1024 };

const TEXT: [LabelSpec<'static>; TEXT_LABELS] = {
    let mut labels = [LabelSpec { key: "a", shape: TEXT_LABEL }; TEXT_LABELS];
    let mut at = 0;
    while at < TEXT_LABELS {
        labels[at].key = key(at);
        at += 1;
    }
    labels
};

const LABELS_DESCRIPTOR: Descriptor<'static> =
    Descriptor::new(Kind::CounterU64, "labels_total", "Labels.").with_labels(&TEXT);

/// The record of a counter of 65,536 series with 16 labels of 1 KiB.
#[unsafe(link_section = "wasmetry.v1")]
#[used]
pub(crate) static LABELS: [u8; LABELS_DESCRIPTOR.record_len()] = LABELS_DESCRIPTOR.encode();

/// The rows of [`BUCKETS`] without its overflow row.
pub(crate) const BUCKET_ROWS: u32 = 2000;

/// Bytes of a label value of [`BUCKETS`].
pub(crate) const ROW_TEXT: u32 = 8;

/// Words of a cell of [`BUCKETS`].
pub(crate) const BUCKET_WORDS: usize = 202;

const LONG: [u8; 1024] = [b'x'; 1024];

const CONSTANT: [(&str, &str); 30] = {
    let mut labels = [("a", text(&LONG)); 30];
    let mut at = 0;
    while at < 30 {
        labels[at].0 = key(at);
        at += 1;
    }
    labels
};

const BOUNDS: [f64; 200] = {
    let mut bounds = [0.0; 200];
    let mut at = 0;
    while at < 200 {
        bounds[at] = at as f64;
        at += 1;
    }
    bounds
};

const ROW: [LabelSpec<'static>; 1] =
    [LabelSpec { key: "row", shape: LabelShape::Text { capacity: BUCKET_ROWS, max_len: ROW_TEXT } }];

const BUCKETS_DESCRIPTOR: Descriptor<'static> = Descriptor::new(Kind::HistogramF64, "buckets", "Buckets.")
    .with_labels(&ROW)
    .with_const_labels(&CONSTANT)
    .with_bounds(&BOUNDS);

/// The record of a histogram of 201 buckets and 30 KiB of constant labels.
#[unsafe(link_section = "wasmetry.v1")]
#[used]
pub(crate) static BUCKETS: [u8; BUCKETS_DESCRIPTOR.record_len()] = BUCKETS_DESCRIPTOR.encode();

static TEMPLATE: [u8; 60_000] = [b't'; 60_000];

const LONG_LOG: Site<'static> = Site::new(SiteKind::Log { is_audit: false }, Level::Info, "hostile", text(&TEMPLATE));

/// The record of a log whose message has 60 KB and no arguments.
#[unsafe(link_section = "wasmetry.v1")]
#[used]
pub(crate) static LOG: [u8; LONG_LOG.record_len()] = LONG_LOG.encode();

/// Puts the record of a descriptor or a call site into the binary's declarations.
macro_rules! declare {
    ($($(#[$doc:meta])* $name:ident = $declared:expr;)*) => {
        $($(#[$doc])*
        #[unsafe(link_section = "wasmetry.v1")]
        #[used]
        pub(crate) static $name: [u8; $declared.record_len()] = $declared.encode();)*
    };
}

const NAME: [LabelSpec<'static>; 1] =
    [LabelSpec { key: "name", shape: LabelShape::Text { capacity: NAMES_CAPACITY, max_len: NAMES_TEXT } }];

/// The texts of [`NAMES`].
pub(crate) const NAMES_CAPACITY: u32 = 2;

/// The longest of them.
pub(crate) const NAMES_TEXT: u32 = 8;

/// The buckets of [`WIDTH`].
pub(crate) const WIDTH_BUCKETS: u16 = 4;

declare! {
    /// A counter, whose cell is a word.
    HITS = Descriptor::new(Kind::CounterU64, "forged_total", "Forged.");
    /// Another counter.
    MISSES = Descriptor::new(Kind::CounterU64, "forged_misses_total", "Forged.");
    /// A counter of amounts.
    SPENT = Descriptor::new(Kind::CounterF64, "forged_spent_total", "Forged.");
    /// A gauge: the value, and how often it was set.
    LEVEL = Descriptor::new(Kind::GaugeF64, "forged_level", "Forged.").with_merge(Merge::Last);
    /// A histogram: the sum, and two buckets.
    WAIT = Descriptor::new(Kind::HistogramF64, "forged_wait", "Forged.").with_bounds(&[1.0]);
    /// An exponential histogram.
    WIDTH = Descriptor::new(Kind::ExponentialF64, "forged_width", "Forged.").with_max_buckets(WIDTH_BUCKETS);
    /// A counter of three series.
    NAMES = Descriptor::new(Kind::CounterU64, "forged_names_total", "Forged.").with_labels(&NAME);
    /// A log with two holes.
    HOLES = Site::new(SiteKind::Log { is_audit: false }, Level::Info, "hostile", "{} and {}").with_arguments(2, &["k"]);
    /// A span.
    SPAN = Site::new(SiteKind::Span(SpanKind::Internal), Level::Info, "hostile", "forged");
}
