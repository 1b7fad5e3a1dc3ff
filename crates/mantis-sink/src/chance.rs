//! Chance that is the same for a seed.

/// How far the state goes on for each number.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Numbers that look like chance and are the same each time: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014). For tests; nothing that is to be hard to guess.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// All numbers of a seed, from the first.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One number of a seed, counted from 1, without those before it.
    #[must_use]
    pub const fn nth(seed: u64, number: u64) -> u64 {
        let mut x = seed.wrapping_add(number.wrapping_mul(STEP));
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        let number = Self::nth(self.0, 1);
        self.0 = self.0.wrapping_add(STEP);
        number
    }

    /// A number below a bound; 0 for a bound of 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        let number = self.next();
        if bound == 0 { 0 } else { number % bound }
    }

    /// The index of one of so many.
    pub const fn index(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }

    /// Whether something happens that happens so often of a thousand times.
    pub const fn of_thousand(&mut self, times: u64) -> bool {
        self.below(1000) < times
    }

    /// What stands in for entropy.
    pub fn entropy(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.next().to_le_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_numbers_that_the_algorithm_gives() {
        // As computed by the reference implementation for the seed 1234567.
        let mut chance = Chance::new(1_234_567);
        let numbers = [chance.next(), chance.next(), chance.next()];
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
        assert_eq!(Chance::nth(1_234_567, 3), numbers[2]);
        assert_eq!(chance.below(0), 0);
    }
}
