//! How much is asked of one other side at once: of an integration, or of a provider of models. More than
//! it can bear helps nobody, and what waits for it must not take the room of everything else.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::integration::Integration;
use domain::{Id, Tenant};

/// Another side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Gate {
    /// An integration of a tenant.
    Integration(Id<Tenant>, Id<Integration>),
    /// A provider of models, by its name; all tenants share it.
    Provider(String),
}

/// How many calls of this process may be under way at each of them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// At each integration.
    pub integration: usize,
    /// At each provider of models.
    pub provider: usize,
}

/// Who is inside.
#[derive(Debug)]
pub struct Gates {
    limits: Limits,
    inside: Mutex<HashMap<Gate, usize>>,
}

impl Gates {
    /// Gates that let so many in.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, inside: Mutex::default() })
    }

    fn inside(&self) -> MutexGuard<'_, HashMap<Gate, usize>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self, gate: &Gate) -> usize {
        match gate {
            Gate::Integration(..) => self.limits.integration,
            Gate::Provider(_) => self.limits.provider,
        }
    }

    /// How many more may go in.
    pub(crate) fn room(&self, gate: &Gate) -> usize {
        let inside = self.inside().get(gate).copied().unwrap_or_default();
        self.limit(gate).saturating_sub(inside)
    }

    /// Goes in until the pass is dropped; the gate itself if there is no room.
    pub(crate) fn enter(self: &Arc<Self>, gate: Gate) -> Result<Pass, Gate> {
        let mut inside = self.inside();
        let count = inside.entry(gate.clone()).or_default();
        if *count >= self.limit(&gate) {
            return Err(gate);
        }
        *count += 1;
        drop(inside);
        Ok(Pass { gates: self.clone(), gate })
    }
}

/// A call that is under way.
#[derive(Debug)]
pub(crate) struct Pass {
    gates: Arc<Gates>,
    gate: Gate,
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.gates.inside().entry(self.gate.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn only_so_many_are_inside_and_whoever_leaves_makes_room() {
        let gates = Gates::new(Limits { integration: 2, provider: 1 });
        let gate = |number| Gate::Integration(id(1), id(number));
        let one = gates.enter(gate(1)).expect("room");
        let _other = gates.enter(gate(1)).expect("room");
        assert_eq!(gates.enter(gate(1)).expect_err("full"), gate(1));
        let _elsewhere = gates.enter(gate(2)).expect("it is another");
        drop(one);
        assert_eq!(gates.room(&gate(1)), 1);
        assert_eq!(gates.room(&Gate::Provider("p".to_owned())), 1);
    }

    fn id<T>(number: u128) -> Id<T> {
        Id::from_uuid(Uuid::from_u128(number))
    }
}
