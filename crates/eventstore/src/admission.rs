//! Who goes first when there is more to do than can be done.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use domain::{Id, Tenant};

/// How urgent it is to begin something. When the log has more to store than it can take, what is less
/// urgent is refused earlier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// It can wait: refused while others are hardly kept waiting.
    Low,
    /// As urgent as anything.
    #[default]
    Normal,
    /// Refused last.
    High,
}

/// How much of what tenants share is each one's, in proportion to the others; 1 if nothing is said.
#[derive(Debug, Clone, Default)]
pub struct Weights(Arc<HashMap<Id<Tenant>, NonZeroU16>>);

impl Weights {
    /// The weight of a tenant.
    #[must_use]
    pub fn of(&self, tenant: Id<Tenant>) -> usize {
        self.0.get(&tenant).map_or(1, |weight| usize::from(weight.get()))
    }
}

impl FromIterator<(Id<Tenant>, NonZeroU16)> for Weights {
    fn from_iter<I: IntoIterator<Item = (Id<Tenant>, NonZeroU16)>>(weights: I) -> Self {
        Self(Arc::new(weights.into_iter().collect()))
    }
}
