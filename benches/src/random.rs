/// Knuth's linear congruential generator: no branch predictor foresees the numbers, and they are
/// the same in every run.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Returns a generator with this seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed);
        // The first number after a small seed is hardly random.
        random.bits();
        random
    }

    /// Returns 64 bits, of which only the high ones are random.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0
    }

    /// Returns an integer below 2^`bits`, for up to 32 bits.
    #[inline]
    pub fn below(&mut self, bits: u32) -> u64 {
        self.bits() >> (64 - bits)
    }

    /// Returns a number from 2^-11 to 2^5, with the same probability for each octave.
    #[inline]
    pub fn value(&mut self) -> f64 {
        let bits = self.bits();
        f64::from_bits((1012 + (bits >> 60)) << 52 | (bits >> 8) & ((1 << 52) - 1))
    }
}
