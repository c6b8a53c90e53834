//! The kinds of records, and the merge rules of gauges.

/// The kind of a record: a metric type, a call site, a facade, or a route.
///
/// Numbers from 1 to 63 are metrics; those of logs, spans and requests follow. Numbers not listed
/// here are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// A counter with integer values.
    CounterU64 = 1,
    /// A counter with floating-point values.
    CounterF64 = 2,
    /// An up/down counter with integer values.
    UpDownI64 = 3,
    /// An up/down counter with floating-point values.
    UpDownF64 = 4,
    /// A gauge with integer values.
    GaugeI64 = 5,
    /// A gauge with floating-point values.
    GaugeF64 = 6,
    /// A histogram of numbers with explicit bounds.
    HistogramF64 = 7,
    /// A histogram of durations with explicit bounds: values in integer nanoseconds, bounds in
    /// seconds.
    HistogramNanos = 8,
    /// A histogram of numbers with base-2 exponential buckets.
    ExponentialF64 = 9,
    /// A histogram of durations with base-2 exponential buckets: values in integer nanoseconds,
    /// buckets in seconds.
    ExponentialNanos = 10,
    /// The constant 1 with constant labels; it has no entry in memory.
    Info = 11,
    /// The call site of a log record.
    LogSite = 64,
    /// The call site of a span.
    SpanSite = 65,
    /// A facade, whose call sites are defined at run time.
    Facade = 66,
    /// A route of requests.
    Route = 67,
}

impl Kind {
    const ALL: [Self; 15] = [
        Self::CounterU64,
        Self::CounterF64,
        Self::UpDownI64,
        Self::UpDownF64,
        Self::GaugeI64,
        Self::GaugeF64,
        Self::HistogramF64,
        Self::HistogramNanos,
        Self::ExponentialF64,
        Self::ExponentialNanos,
        Self::Info,
        Self::LogSite,
        Self::SpanSite,
        Self::Facade,
        Self::Route,
    ];

    pub(crate) fn from_u8(value: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == value)
    }

    /// Returns `true` for a histogram with exponential buckets.
    pub const fn is_exponential(self) -> bool {
        matches!(self, Self::ExponentialF64 | Self::ExponentialNanos)
    }

    /// The metric type as the exposition formats name it; else `log`, `span`, `facade` or `route`.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::CounterU64 | Self::CounterF64 => "counter",
            Self::UpDownI64 | Self::UpDownF64 | Self::GaugeI64 | Self::GaugeF64 => "gauge",
            Self::HistogramF64 | Self::HistogramNanos | Self::ExponentialF64 | Self::ExponentialNanos => "histogram",
            Self::Info => "info",
            Self::LogSite => "log",
            Self::SpanSite => "span",
            Self::Facade => "facade",
            Self::Route => "route",
        }
    }
}

/// The rule that combines one gauge's values of several instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Merge {
    /// The sum over the live instances.
    #[default]
    Sum = 0,
    /// The greatest value; an ended instance's value counts for a time after its end.
    Max = 1,
    /// The least value; an ended instance's value counts for a time after its end.
    Min = 2,
    /// The value set last; an ended instance's value counts for a time after its end.
    Last = 3,
}

impl Merge {
    /// The rule's name in the macros.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Max => "max",
            Self::Min => "min",
            Self::Last => "last",
        }
    }

    pub(super) const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Sum),
            1 => Some(Self::Max),
            2 => Some(Self::Min),
            3 => Some(Self::Last),
            _ => None,
        }
    }
}
