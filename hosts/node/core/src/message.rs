//! Texts and bytes on their way between JavaScript and the core: each is a `u32` length,
//! little-endian, and its bytes.

use crate::error::Error;

/// The parts of an input that have not been taken yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// Takes the next part.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let (len, rest) = self.0.split_first_chunk().ok_or(Error::Input)?;
        let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| Error::Input)?;
        let (part, rest) = rest.split_at_checked(len).ok_or(Error::Input)?;
        self.0 = rest;
        Ok(part)
    }

    /// Takes the next part, which is a text.
    pub(crate) fn text(&mut self) -> Result<&'a str, Error> {
        str::from_utf8(self.bytes()?).map_err(|_| Error::Input)
    }

    /// Takes `count` texts.
    pub(crate) fn texts(&mut self, count: u32) -> Result<Vec<&'a str>, Error> {
        (0..count).map(|_| self.text()).collect()
    }

    /// Takes the next part, which is a list of numbers.
    pub(crate) fn numbers(&mut self) -> Result<Vec<f64>, Error> {
        let (numbers, []) = self.bytes()?.as_chunks() else { return Err(Error::Input) };
        Ok(numbers.iter().map(|number| f64::from_le_bytes(*number)).collect())
    }

    /// Returns `true` if no part is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends texts to an output.
pub(crate) fn write<T: AsRef<str>>(output: &mut Vec<u8>, texts: impl IntoIterator<Item = T>) {
    for text in texts {
        let text = text.as_ref();
        output.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        output.extend(text.as_bytes());
    }
}
