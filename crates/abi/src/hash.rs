//! The hash of a descriptor's record.

/// Returns the 64-bit FNV-1a hash of a descriptor's encoded record.
///
/// A region refers to a descriptor by this hash. It need not resist an attacker: a component's
/// hashes are looked up only among that component's own descriptors, and the host refuses a binary
/// in which two different descriptors have the same hash.
///
/// Source: draft-eastlake-fnv, section 2; the offset basis and the prime are those of the 64-bit
/// variant.
pub const fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn agrees_with_the_published_vectors() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
