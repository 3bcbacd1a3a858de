//! Which keys a table may have.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Bits, as a power of two: 32 MiB. With ten million keys, one unknown key in a thousand is taken
/// for a known one.
const BITS: u32 = 28;
/// How many bits a key sets.
const PROBES: u64 = 4;

/// A Bloom filter: whoever is not in it was never added; a few others seem to be in it as well.
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// With nothing in it.
    pub(super) fn empty() -> Self {
        Self { words: vec![0; 1 << (BITS - 6)] }
    }

    /// With everything in it.
    pub(super) fn full() -> Self {
        Self { words: vec![] }
    }

    pub(super) fn add(&mut self, key: &impl Hash) {
        if !self.words.is_empty() {
            for (word, bit) in bits(key) {
                self.words[word] |= bit;
            }
        }
    }

    pub(super) fn may_have(&self, key: &impl Hash) -> bool {
        self.words.is_empty() || bits(key).all(|(word, bit)| self.words[word] & bit != 0)
    }
}

/// Double hashing (Kirsch and Mitzenmacher, 2006): two halves of one hash make all probes.
fn bits(key: &impl Hash) -> impl Iterator<Item = (usize, u64)> {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let hash = hasher.finish();
    let (first, step) = (hash & 0xffff_ffff, (hash >> 32) | 1);
    (0..PROBES).map(move |nth| {
        let bit = first.wrapping_add(step.wrapping_mul(nth)) & ((1 << BITS) - 1);
        (usize::try_from(bit >> 6).unwrap_or(0), 1 << (bit & 63))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_never_missed() {
        let mut filter = Filter::empty();
        assert!(!filter.may_have(&"a"));
        (0..100_000_u32).for_each(|key| filter.add(&key));
        assert!((0..100_000_u32).all(|key| filter.may_have(&key)));
    }

    #[test]
    fn few_others_seem_to_be_there() {
        let mut filter = Filter::empty();
        (0..1_000_000_u32).for_each(|key| filter.add(&key));
        let wrong = (1_000_000..1_100_000_u32).filter(|key| filter.may_have(key)).count();
        assert!(wrong < 100, "{wrong}");
    }

    #[test]
    fn a_full_one_has_everything() {
        let mut filter = Filter::full();
        filter.add(&1);
        assert!(filter.may_have(&2));
    }
}
