//! The bytes in which the console keeps values and records: integers of variable length, and texts.

/// Appends an integer of variable length.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed integer of variable length: a small one is short, whatever its sign.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, (value << 1 ^ value >> 63) as u64);
}

/// Appends a text with its length.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Reads what the functions above have written. At the end, all values are 0 or empty.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    #[inline]
    pub(crate) fn get(&mut self) -> u64 {
        if let [first @ 0..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return u64::from(*first);
        }
        self.get_long()
    }

    fn get_long(&mut self) -> u64 {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = self.byte();
            value |= u64::from(byte & 0x7f).wrapping_shl(shift);
            shift += 7;
            if byte < 0x80 || shift > 63 {
                return value;
            }
        }
    }

    #[inline]
    pub(crate) fn signed(&mut self) -> i64 {
        let value = self.get();
        (value >> 1) as i64 ^ -((value & 1) as i64)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        bytes
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        self.bytes(N).try_into().unwrap_or([0; N])
    }

    pub(crate) fn text(&mut self) -> &'a str {
        let len = self.get() as usize;
        std::str::from_utf8(self.bytes(len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back() {
        let mut out = Vec::new();
        let unsigned = [0, 1, 127, 128, 1 << 20, u64::MAX];
        let signed = [0, -1, 1, i64::MIN, i64::MAX, -64, 63];
        unsigned.iter().for_each(|value| put(&mut out, *value));
        signed.iter().for_each(|value| put_signed(&mut out, *value));
        put_text(&mut out, "größe");
        let mut reader = Reader::new(&out);
        assert_eq!(unsigned.map(|_| reader.get()), unsigned);
        assert_eq!(signed.map(|_| reader.signed()), signed);
        assert_eq!(reader.text(), "größe");
        assert!(reader.is_empty());
        assert_eq!((reader.get(), reader.text(), reader.array::<4>()), (0, "", [0; 4]));
    }
}
