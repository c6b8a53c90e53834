//! The check of a declaration in the compiler, for what needs the labels' types.

use super::Descriptor;
use super::const_label::ConstLabelList;
use super::label::{LabelList, LabelShape, LabelSpec};
use crate::layout::{cell_words, positions};
use crate::limits;

impl Descriptor<'_> {
    /// Checks, in a constant, the labels' values and the number of series of a descriptor that was
    /// built with [`new`](Self::new). `shapes` is the number of shapes that its labels' types have,
    /// and `buckets` that of its bounds or buckets.
    ///
    /// # Panics
    ///
    /// Panics (at compile time) with a message that names the metric, the number, the limit and the
    /// remedy.
    #[track_caller]
    pub const fn check(&self, shapes: usize, buckets: usize) {
        let LabelList::Listed(labels) = self.labels else { return };
        if shapes != labels.len() {
            let message = Message::about(self.name).text("a struct of labels has keys of its own");
            panic!("{}", message.text(": write `labels: ThisStruct`, without brackets").as_str());
        }
        let mut series = 1u64;
        let mut i = 0;
        while i < labels.len() {
            check_label(self.name, &labels[i]);
            series = series.saturating_mul(positions(labels[i].shape));
            i += 1;
        }
        check_keys(self.name, labels, self.const_labels);
        if series > limits::SERIES_PER_ENTRY {
            let message = Message::about(self.name)
                .text("it has ")
                .number(series)
                .text(" series in each instance, and a host takes ");
            let message =
                message.number(limits::SERIES_PER_ENTRY).text(": use fewer labels, or labels with fewer values");
            panic!("{}", message.as_str());
        }
        let words = series.saturating_mul(cell_words(self.kind, buckets) as u64);
        if words > limits::WORDS_PER_ENTRY {
            let message = Message::about(self.name)
                .text("its ")
                .number(series)
                .text(" series take ")
                .number(words.saturating_mul(8));
            let message =
                message.text(" bytes in each instance, and a host takes ").number(limits::WORDS_PER_ENTRY * 8);
            panic!("{}", message.text(": use fewer labels, values or buckets").as_str());
        }
    }
}

#[track_caller]
const fn check_label(metric: &str, label: &LabelSpec<'_>) {
    let message = Message::about(metric).text("the label `").text(label.key).text("` ");
    match label.shape {
        LabelShape::Below(0) => {
            panic!("{}", message.text("is a `Below<0>`, which has no values: write how many there are").as_str())
        }
        LabelShape::Text { capacity: 0, .. } => {
            panic!("{}", message.text("is a `Text<0>`, which has no values: write how many there may be").as_str())
        }
        LabelShape::Text { capacity, .. } if capacity as usize > limits::SERIES_PER_METRIC => {
            let message = message.text("may have ").number(capacity as u64).text(" texts, and a host takes ");
            let message = message
                .number(limits::SERIES_PER_METRIC as u64)
                .text(" series of a metric with texts: lower `N` of `Text<N>`");
            panic!("{}", message.as_str());
        }
        LabelShape::Text { max_len, .. } if max_len as usize > limits::LABEL_VALUE => {
            let message = message.text("may have texts of ").number(max_len as u64).text(" bytes, and a host takes ");
            let message = message.number(limits::LABEL_VALUE as u64).text(": lower `LEN` of `Text<N, LEN>`");
            panic!("{}", message.as_str());
        }
        LabelShape::Text { max_len, .. } if max_len == 0 || !max_len.is_multiple_of(4) => {
            let message = message.text("may have texts of ").number(max_len as u64);
            let message = message.text(" bytes: write a multiple of 4 as `LEN` of `Text<N, LEN>`, such as ");
            panic!("{}", message.number((max_len as u64 / 4 + 1) * 4).as_str());
        }
        LabelShape::Values(_) | LabelShape::Below(_) | LabelShape::Text { .. } => {}
    }
}

#[track_caller]
const fn check_keys(metric: &str, labels: &[LabelSpec<'_>], const_labels: ConstLabelList<'_>) {
    let ConstLabelList::Listed(const_labels) = const_labels else { return };
    let mut i = 0;
    while i < const_labels.len() {
        let (key, value) = const_labels[i];
        let mut j = 0;
        while j < labels.len() {
            if is_equal(labels[j].key, key) {
                let message = Message::about(metric).text("the metric has the label `").text(key);
                panic!("{}", message.text("` twice: remove it from `const_labels`").as_str());
            }
            j += 1;
        }
        if value.len() > limits::LABEL_VALUE {
            let message = Message::about(metric).text("the value of the label `").text(key).text("` has ");
            let message = message.number(value.len() as u64).text(" bytes, and a host takes ");
            panic!("{}", message.number(limits::LABEL_VALUE as u64).text(": write a shorter one").as_str());
        }
        i += 1;
    }
}

const fn is_equal(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

/// Bytes of the longest message. A longer one is truncated.
const MESSAGE: usize = 1024;

/// A message that is put together in a constant.
struct Message {
    bytes: [u8; MESSAGE],
    len: usize,
}

impl Message {
    const fn about(metric: &str) -> Self {
        Self { bytes: [0; MESSAGE], len: 0 }.text("`").text(metric).text("`: ")
    }

    const fn text(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        let mut i = 0;
        while i < text.len() && self.len < MESSAGE {
            self.bytes[self.len] = text[i];
            self.len += 1;
            i += 1;
        }
        self
    }

    const fn number(mut self, number: u64) -> Self {
        let mut power = 1;
        while number / power >= 10 {
            power *= 10;
        }
        while power > 0 && self.len < MESSAGE {
            self.bytes[self.len] = b'0' + (number / power % 10) as u8;
            self.len += 1;
            power /= 10;
        }
        self
    }

    const fn as_str(&self) -> &str {
        let (bytes, _) = self.bytes.split_at(self.len);
        match str::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => "the declaration breaks a limit of hosts",
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::panic::catch_unwind;
    use std::string::String;

    use super::*;
    use crate::Kind;

    /// The message about a counter with these labels.
    fn message(labels: &'static [LabelSpec<'static>]) -> Option<String> {
        let checked = catch_unwind(|| {
            Descriptor::new(Kind::CounterU64, "a_total", "A.").with_labels(labels).check(labels.len(), 0)
        });
        checked.err().map(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default())
    }

    const fn label(shape: LabelShape<'static>) -> LabelSpec<'static> {
        LabelSpec { key: "k", shape }
    }

    #[test]
    fn limits_are_exact() {
        assert_eq!(message(&const { [label(LabelShape::Below(65_535))] }), None);
        assert_eq!(message(&const { [label(LabelShape::Text { capacity: 2000, max_len: 1024 })] }), None);
        let cases: [(&'static [LabelSpec<'static>], &str); 4] = [
            (
                const { &[label(LabelShape::Below(65_536))] },
                "`a_total`: it has 65537 series in each instance, and a host takes 65536: use fewer labels, or labels with fewer values",
            ),
            (
                const { &[label(LabelShape::Below(u32::MAX)), label(LabelShape::Below(u32::MAX))] },
                "`a_total`: it has 18446744073709551615 series in each instance, and a host takes 65536: use fewer labels, or labels with fewer values",
            ),
            (
                const { &[label(LabelShape::Text { capacity: 2001, max_len: 4 })] },
                "`a_total`: the label `k` may have 2001 texts, and a host takes 2000 series of a metric with texts: lower `N` of `Text<N>`",
            ),
            (
                const { &[label(LabelShape::Text { capacity: 8, max_len: 30 })] },
                "`a_total`: the label `k` may have texts of 30 bytes: write a multiple of 4 as `LEN` of `Text<N, LEN>`, such as 32",
            ),
        ];
        for (labels, expected) in cases {
            assert_eq!(message(labels).as_deref(), Some(expected));
        }
    }
}
