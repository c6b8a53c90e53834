//! The labels of a metric that have the same value on every series.

use super::consumed;
use crate::DecodeError;
use crate::codec::{Reader, Writer};

/// The list of constant labels in a descriptor, built or decoded.
#[derive(Clone, Copy, Debug)]
pub(super) enum ConstLabelList<'a> {
    Listed(&'a [(&'a str, &'a str)]),
    Encoded { bytes: &'a [u8] },
}

impl<'a> ConstLabelList<'a> {
    pub(super) const fn iter(self) -> ConstLabels<'a> {
        ConstLabels {
            source: match self {
                Self::Listed(labels) => ConstLabelsSource::Listed(labels),
                Self::Encoded { bytes } => ConstLabelsSource::Encoded(Reader::new(bytes)),
            },
        }
    }

    pub(super) const fn encoded_len(self) -> usize {
        match self {
            Self::Listed(labels) => {
                let mut len = 1;
                let mut i = 0;
                while i < labels.len() {
                    len += 4 + labels[i].0.len() + labels[i].1.len();
                    i += 1;
                }
                len
            }
            Self::Encoded { bytes } => 1 + bytes.len(),
        }
    }

    pub(super) const fn encode<const N: usize>(self, out: &mut Writer<N>) {
        match self {
            Self::Listed(labels) => {
                assert!(labels.len() <= u8::MAX as usize, "a metric has at most 255 constant labels");
                out.u8(labels.len() as u8);
                let mut i = 0;
                while i < labels.len() {
                    out.text(labels[i].0);
                    out.text(labels[i].1);
                    i += 1;
                }
            }
            Self::Encoded { .. } => panic!("a decoded descriptor cannot be encoded"),
        }
    }

    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = reader.u8()?;
        let start = reader.rest();
        for _ in 0..2 * usize::from(count) {
            reader.text()?;
        }
        Ok(Self::Encoded { bytes: consumed(start, reader.rest()) })
    }
}

/// An iterator over the constant labels of a descriptor, in declaration order: key and value.
#[derive(Clone, Debug)]
pub struct ConstLabels<'a> {
    source: ConstLabelsSource<'a>,
}

#[derive(Clone, Debug)]
enum ConstLabelsSource<'a> {
    Listed(&'a [(&'a str, &'a str)]),
    Encoded(Reader<'a>),
}

impl<'a> Iterator for ConstLabels<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.source {
            ConstLabelsSource::Listed(labels) => {
                let (first, rest) = labels.split_first()?;
                *labels = rest;
                Some(*first)
            }
            ConstLabelsSource::Encoded(reader) => Some((reader.text().ok()?, reader.text().ok()?)),
        }
    }
}
