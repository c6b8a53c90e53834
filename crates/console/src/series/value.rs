//! Cumulative values of series, and the changes between two of them.

use wasmetry_host::{ExponentialValue, Number};

use crate::code::{Reader, put, put_signed};

/// The value of a series at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Number(Number),
    Histogram(Box<HistogramValue>),
}

/// The counts of a histogram's buckets, not cumulative over the buckets, and the sum of its values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HistogramValue {
    pub(crate) counts: Box<[u64]>,
    pub(crate) sum: Number,
}

impl HistogramValue {
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().fold(0, |all, count| all.saturating_add(*count))
    }
}

/// A change of a value, which can be taken back exactly.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// The difference of integers, or the bits in which two floats differ.
    Number(u64),
    /// The buckets that changed, by their index, and the change of the sum.
    Histogram { buckets: Vec<(u32, i64)>, sum: u64 },
}

/// One change of a series, seen from the value after it.
#[derive(Debug)]
pub(crate) enum StepBack<'a> {
    Number {
        after: Number,
        before: Number,
    },
    Histogram {
        after: &'a HistogramValue,
        /// The buckets that changed.
        buckets: &'a [(u32, i64)],
        /// The sum before.
        sum: Number,
    },
}

/// Returns a duration in seconds. A sum is one only while nothing else was added to it, and the
/// values of a series must be of one type.
fn seconds(number: Number) -> Number {
    match number {
        Number::Nanos(_) => Number::Float(number.as_f64()),
        number => number,
    }
}

fn is_float(number: Number) -> bool {
    matches!(number, Number::Float(_))
}

fn bits(number: Number) -> u64 {
    match number {
        Number::Unsigned(value) | Number::Nanos(value) => value,
        Number::Signed(value) => value as u64,
        Number::Float(value) => value.to_bits(),
        _ => 0,
    }
}

fn with_bits(like: Number, bits: u64) -> Number {
    match like {
        Number::Nanos(_) => Number::Nanos(bits),
        Number::Signed(_) => Number::Signed(bits as i64),
        Number::Float(_) => Number::Float(f64::from_bits(bits)),
        _ => Number::Unsigned(bits),
    }
}

fn difference(old: Number, new: Number) -> u64 {
    if is_float(new) { bits(old) ^ bits(new) } else { bits(new).wrapping_sub(bits(old)) }
}

fn undone(new: Number, change: u64) -> Number {
    let old = if is_float(new) { bits(new) ^ change } else { bits(new).wrapping_sub(change) };
    with_bits(new, old)
}

fn put_bits(out: &mut Vec<u8>, change: u64, is_float: bool) {
    if is_float {
        // Floats that are whole numbers differ in their upper bits.
        let shift = change.trailing_zeros() & 63;
        out.push(shift as u8);
        put(out, change >> shift);
    } else {
        put_signed(out, change as i64);
    }
}

fn get_bits(reader: &mut Reader<'_>, is_float: bool) -> u64 {
    if is_float {
        let shift = u32::from(reader.byte()) & 63;
        reader.get() << shift
    } else {
        reader.signed() as u64
    }
}

impl Value {
    /// Converts the value of a snapshot.
    pub(crate) fn new(value: wasmetry_host::Value<'_>, bounds: &[f64]) -> Self {
        match value {
            wasmetry_host::Value::Histogram { counts, sum } => {
                Self::Histogram(Box::new(HistogramValue { counts: counts.into(), sum: seconds(sum) }))
            }
            wasmetry_host::Value::Exponential(value) => {
                let counts = explicit_counts(value, bounds).into();
                Self::Histogram(Box::new(HistogramValue { counts, sum: seconds(value.sum()) }))
            }
            wasmetry_host::Value::Number(number) => Self::Number(seconds(number)),
            _ => Self::Number(Number::Unsigned(0)),
        }
    }

    /// Returns the value before a series began.
    pub(crate) fn zero(&self) -> Self {
        match self {
            Self::Number(number) => Self::Number(zero(*number)),
            Self::Histogram(value) => {
                let counts = vec![0; value.counts.len()].into();
                Self::Histogram(Box::new(HistogramValue { counts, sum: zero(value.sum) }))
            }
        }
    }

    /// Returns `true` if a change between both can be expressed.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let is_same = |a: Number, b: Number| std::mem::discriminant(&a) == std::mem::discriminant(&b);
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => is_same(*a, *b),
            (Self::Histogram(a), Self::Histogram(b)) => a.counts.len() == b.counts.len() && is_same(a.sum, b.sum),
            _ => false,
        }
    }

    /// Appends the change from `old`, which is like this value. Both differ.
    pub(crate) fn put_change(&self, old: &Self, out: &mut Vec<u8>) {
        match (old, self) {
            (Self::Histogram(old), Self::Histogram(new)) => {
                let changed = |at: usize| new.counts[at] != old.counts[at];
                put(out, (0..new.counts.len()).filter(|at| changed(*at)).count() as u64);
                let mut next = 0;
                for at in (0..new.counts.len()).filter(|at| changed(*at)) {
                    put(out, (at - next) as u64);
                    put_signed(out, new.counts[at].wrapping_sub(old.counts[at]) as i64);
                    next = at + 1;
                }
                put_bits(out, difference(old.sum, new.sum), is_float(new.sum));
            }
            (Self::Number(old), Self::Number(new)) => put_bits(out, difference(*old, *new), is_float(*new)),
            _ => out.push(0),
        }
    }

    /// Reads a change of a value like this one.
    pub(crate) fn read_change(&self, reader: &mut Reader<'_>) -> Change {
        match self {
            Self::Number(number) => Change::Number(get_bits(reader, is_float(*number))),
            Self::Histogram(value) => {
                let mut next = 0u64;
                let buckets = (0..reader.get()).map(|_| {
                    let at = next + reader.get();
                    next = at + 1;
                    (at as u32, reader.signed())
                });
                let buckets = buckets.collect();
                Change::Histogram { buckets, sum: get_bits(reader, is_float(value.sum)) }
            }
        }
    }

    /// Appends a change of a value like this one.
    pub(crate) fn put(&self, change: &Change, out: &mut Vec<u8>) {
        match (self, change) {
            (Self::Number(number), Change::Number(change)) => put_bits(out, *change, is_float(*number)),
            (Self::Histogram(value), Change::Histogram { buckets, sum }) => {
                put(out, buckets.len() as u64);
                let mut next = 0;
                for (at, change) in buckets {
                    put(out, u64::from(at - next));
                    put_signed(out, *change);
                    next = at + 1;
                }
                put_bits(out, *sum, is_float(value.sum));
            }
            _ => out.push(0),
        }
    }

    /// Returns the change that has the effect of `first` and then of `second`.
    pub(crate) fn both(&self, first: Change, second: Change) -> Change {
        let join = |a: u64, b: u64, number: Number| if is_float(number) { a ^ b } else { a.wrapping_add(b) };
        match (self, first, second) {
            (Self::Number(number), Change::Number(a), Change::Number(b)) => Change::Number(join(a, b, *number)),
            (
                Self::Histogram(value),
                Change::Histogram { buckets: a, sum: first },
                Change::Histogram { buckets: b, sum: second },
            ) => {
                let mut buckets = a;
                for (at, change) in b {
                    match buckets.binary_search_by_key(&at, |(at, _)| *at) {
                        Ok(index) => buckets[index].1 = buckets[index].1.wrapping_add(change),
                        Err(index) => buckets.insert(index, (at, change)),
                    }
                }
                Change::Histogram { buckets, sum: join(first, second, value.sum) }
            }
            (_, first, _) => first,
        }
    }

    /// Takes a change back.
    pub(crate) fn undo(&mut self, change: &Change) {
        match (self, change) {
            (Self::Number(number), Change::Number(change)) => *number = undone(*number, *change),
            (Self::Histogram(value), Change::Histogram { buckets, sum }) => {
                for (at, change) in buckets {
                    if let Some(count) = value.counts.get_mut(*at as usize) {
                        *count = count.wrapping_sub(*change as u64);
                    }
                }
                value.sum = undone(value.sum, *sum);
            }
            _ => {}
        }
    }

    /// Takes back the change that is next in a column, and calls `visit` with it before. `buckets`
    /// is memory that calls share.
    #[inline]
    pub(crate) fn step_back(
        &mut self,
        reader: &mut Reader<'_>,
        buckets: &mut Vec<(u32, i64)>,
        visit: impl FnOnce(StepBack<'_>),
    ) {
        match self {
            Self::Number(number) => {
                let before = undone(*number, get_bits(reader, is_float(*number)));
                visit(StepBack::Number { after: *number, before });
                *number = before;
            }
            Self::Histogram(value) => {
                buckets.clear();
                let mut next = 0u64;
                // A column has no more buckets than the value.
                for _ in 0..reader.get().min(value.counts.len() as u64) {
                    let at = next + reader.get();
                    next = at + 1;
                    buckets.push((at as u32, reader.signed()));
                }
                let before = undone(value.sum, get_bits(reader, is_float(value.sum)));
                visit(StepBack::Histogram { after: value, buckets, sum: before });
                for (at, change) in buckets.iter() {
                    if let Some(count) = value.counts.get_mut(*at as usize) {
                        *count = count.wrapping_sub(*change as u64);
                    }
                }
                value.sum = before;
            }
        }
    }

    /// The number, or the count of a histogram.
    pub(crate) fn number(&self) -> Number {
        match self {
            Self::Number(number) => *number,
            Self::Histogram(value) => Number::Unsigned(value.count()),
        }
    }
}

fn zero(like: Number) -> Number {
    with_bits(like, 0)
}

/// Returns the counts of an exponential histogram in buckets with explicit bounds, which are powers
/// of four. The last one is that of `+Inf`.
fn explicit_counts(value: &ExponentialValue, bounds: &[f64]) -> Vec<u64> {
    let mut counts = vec![0u64; bounds.len() + 1];
    counts[0] = value.zero_count();
    let scale = f64::from(value.scale());
    for (index, count) in (value.first_index()..).zip(value.counts()) {
        // The upper bound of a bucket is 2 to the power of this.
        let exponent = (f64::from(index) + 1.0) * (-scale).exp2();
        let at = bounds.partition_point(|bound| bound.log2() < exponent - 1e-9);
        counts[at] = counts[at].saturating_add(*count);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(counts: &[u64], sum: Number) -> Value {
        Value::Histogram(Box::new(HistogramValue { counts: counts.into(), sum }))
    }

    #[test]
    fn changes_are_taken_back_exactly() {
        let values = [
            [
                Value::Number(Number::Unsigned(3)),
                Value::Number(Number::Unsigned(10)),
                Value::Number(Number::Unsigned(2)),
            ],
            [
                Value::Number(Number::Float(0.1)),
                Value::Number(Number::Float(f64::NAN)),
                Value::Number(Number::Float(-1e300)),
            ],
            [Value::Number(Number::Signed(-3)), Value::Number(Number::Signed(4)), Value::Number(Number::Signed(-4))],
            [
                histogram(&[0, 1, 2], Number::Nanos(7)),
                histogram(&[0, 5, 2], Number::Nanos(1 << 40)),
                histogram(&[9, 5, 3], Number::Nanos(1 << 41)),
            ],
        ];
        for [first, second, third] in values {
            let mut bytes = Vec::new();
            second.put_change(&first, &mut bytes);
            third.put_change(&second, &mut bytes);
            let mut reader = Reader::new(&bytes);
            let (to_second, to_third) = (first.read_change(&mut reader), first.read_change(&mut reader));
            assert!(reader.is_empty());
            let both = first.both(to_second.clone(), to_third.clone());
            let mut written = Vec::new();
            first.put(&both, &mut written);
            assert_eq!(first.read_change(&mut Reader::new(&written)), both);
            for changes in [vec![to_third, to_second], vec![both]] {
                let mut value = third.clone();
                changes.iter().for_each(|change| value.undo(change));
                assert_eq!(value, first);
            }
        }
    }
}
