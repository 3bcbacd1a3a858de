//! Executions that are being worked on, as far as they have been read. Work on one execution takes
//! turns here: of a hundred timers that fire at once, each would otherwise read the whole stream
//! to find that another one was faster.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::execution::Execution;
use domain::{Id, Tenant};
use eventstore::Held;
use uuid::Uuid;

/// How many are kept before those that nobody works on are forgotten.
const KEPT: usize = 4_096;

type Shared = Arc<tokio::sync::Mutex<Held<Execution>>>;

/// The executions at hand. Whoever wants one waits for whoever has it; other processes are not
/// waited for, and are told apart by the version that each append names.
#[derive(Debug, Default)]
pub struct AtHand(Mutex<HashMap<(Uuid, Uuid), Shared>>);

impl AtHand {
    /// An execution, to be locked while something is decided on it, but not while the world is
    /// asked.
    pub(crate) fn execution(&self, tenant: Id<Tenant>, id: Id<Execution>) -> Shared {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.retain(|_, held| Arc::strong_count(held) > 1);
        }
        let fresh = || Arc::new(tokio::sync::Mutex::new(Held::new(tenant, id)));
        known.entry((tenant.as_uuid(), id.as_uuid())).or_insert_with(fresh).clone()
    }

    /// Has an execution read anew, by whoever has it next: a panic may have left it half way.
    pub(crate) async fn forget(&self, tenant: Id<Tenant>, id: Id<Execution>) {
        let hand = self.execution(tenant, id);
        *hand.lock().await = Held::new(tenant, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id<T>(number: usize) -> Id<T> {
        Id::from_uuid(Uuid::from_u128(u128::try_from(number).expect("fits")))
    }

    #[test]
    fn an_execution_that_is_worked_on_is_never_there_twice() {
        let hand = AtHand::default();
        let held = hand.execution(id(1), id(1));
        for other in 0..2 * KEPT {
            drop(hand.execution(id(2), id(other)));
        }
        assert!(Arc::ptr_eq(&held, &hand.execution(id(1), id(1))));
        assert!(!Arc::ptr_eq(&held, &hand.execution(id(2), id(1))), "tenants are apart");
        let kept = hand.0.lock().expect("no panic").len();
        assert!(kept <= KEPT, "{kept} are kept");
    }
}
