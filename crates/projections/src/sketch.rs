//! Percentiles out of counts: durations fall into buckets, and buckets are whole numbers.
//!
//! Buckets grow by at most a fiftieth, so that the middle of one is at most 1 % away from anything
//! in it. Nothing is ever added up but counts of buckets: sketches can be merged in any order and
//! always give the same bytes.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// The least value of each bucket. Up to 50 each value has a bucket of its own.
static LEAST: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let next = |least: &u64| least.checked_add((least / 50).max(1));
    std::iter::successors(Some(0), next).collect()
});

/// How many values fell into which bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sketch {
    counts: BTreeMap<u16, u64>,
}

impl Sketch {
    /// Takes in a value.
    pub fn add(&mut self, value: u64) {
        self.add_times(bucket(value), 1);
    }

    /// Takes in all that another one took in.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            self.add_times(*bucket, *count);
        }
    }

    /// How many values it took in.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The value that so many of a thousand do not exceed (nearest rank), within 1 %; none if it
    /// took in no values.
    #[must_use]
    pub fn quantile(&self, of_thousand: u16) -> Option<u64> {
        let wanted = (u128::from(self.count()) * u128::from(of_thousand)).div_ceil(1000).max(1);
        let mut seen = 0;
        let reached = self.counts.iter().find(|(_, count)| {
            seen += u128::from(**count);
            seen >= wanted
        });
        reached.map(|(bucket, _)| middle(*bucket))
    }

    fn add_times(&mut self, bucket: u16, times: u64) {
        let count = self.counts.entry(bucket).or_default();
        *count = count.saturating_add(times);
    }
}

/// The bucket of a value: the last one that begins at or before it.
fn bucket(value: u64) -> u16 {
    let above = LEAST.partition_point(|least| *least <= value);
    u16::try_from(above - 1).unwrap_or(u16::MAX)
}

/// The middle of a bucket.
fn middle(bucket: u16) -> u64 {
    let bucket = usize::from(bucket);
    let least = LEAST.get(bucket).copied().unwrap_or(u64::MAX);
    let most = LEAST.get(bucket + 1).map_or(u64::MAX, |next| next - 1);
    least + (most.saturating_sub(least)) / 2
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Sketch {
        let mut sketch = Sketch::default();
        for value in values {
            sketch.add(*value);
        }
        sketch
    }

    fn merged(one: &Sketch, other: &Sketch) -> Sketch {
        let mut both = one.clone();
        both.merge(other);
        both
    }

    fn values() -> impl Strategy<Value = Vec<u64>> {
        vec(prop_oneof![0..200_u64, 0..10_000_000_u64, any::<u64>()], 0..60)
    }

    proptest! {
        #[test]
        fn merging_is_commutative_associative_and_the_same_as_adding_all(
            a in values(), b in values(), c in values(),
        ) {
            let (x, y, z) = (of(&a), of(&b), of(&c));
            prop_assert_eq!(merged(&x, &y), merged(&y, &x));
            let sum = merged(&merged(&x, &y), &z);
            prop_assert_eq!(&sum, &merged(&x, &merged(&y, &z)));
            prop_assert_eq!(&sum, &of(&[a, b, c].concat()));
            let bytes = serde_json::to_string(&sum).expect("counts");
            prop_assert_eq!(serde_json::from_str::<Sketch>(&bytes).expect("counts"), sum);
        }

        #[test]
        fn a_quantile_is_at_most_one_percent_off(mut values in values(), of_thousand in 0..=1000_u16) {
            let sketch = of(&values);
            prop_assume!(!values.is_empty());
            values.sort_unstable();
            let rank = (values.len() * usize::from(of_thousand)).div_ceil(1000).max(1);
            let exact = values[rank - 1];
            let told = sketch.quantile(of_thousand).expect("it has values");
            prop_assert!(told.abs_diff(exact) <= exact / 100, "{told} is not {exact}");
        }
    }

    #[test]
    fn no_values_have_no_quantiles() {
        assert_eq!(Sketch::default().quantile(500), None);
    }

    #[test]
    fn every_value_has_a_bucket() {
        assert_eq!((bucket(0), middle(0)), (0, 0));
        assert_eq!(usize::from(bucket(u64::MAX)), LEAST.len() - 1);
        assert!(LEAST.len() < usize::from(u16::MAX), "{}", LEAST.len());
    }
}
