//! Aggregates that are asked for again and again, such as API keys: kept as they are, and never
//! older than the question.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Aggregate, Id, Tenant};
use uuid::Uuid;

use crate::{Error, EventStore, Held, StreamId, Version};

/// Aggregates with their versions, by tenant and id.
type Kept<A> = HashMap<(Uuid, Uuid), (Arc<A>, Version)>;

/// What is known of some aggregates. Each look asks the log for the version and reads what is new,
/// so that nobody is shown a state that was over when they asked; mostly nothing is.
///
/// For aggregates without personal data: what is erased from the log would live on here.
pub struct Known<A> {
    most: usize,
    kept: Mutex<Kept<A>>,
}

impl<A> fmt::Debug for Known<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("kept", &self.lock().len()).finish()
    }
}

impl<A> Known<A> {
    fn lock(&self) -> MutexGuard<'_, Kept<A>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: Aggregate> Known<A> {
    /// Nothing yet. At most so many are kept; beyond it all are dropped and read anew on demand.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    /// The state of an aggregate as it was when somebody last looked, with its version then: for whoever
    /// has the log judge whether it still is so ([`crate::Request::given`]).
    pub fn remembered(&self, tenant: Id<Tenant>, id: Id<A>) -> Option<(Arc<A>, Version)> {
        self.lock().get(&(tenant.as_uuid(), id.as_uuid())).cloned()
    }

    /// The state of an aggregate; that of one without events if it has none.
    pub async fn look(
        &self,
        store: &dyn EventStore,
        tenant: Id<Tenant>,
        id: Id<A>,
    ) -> Result<Arc<A>, Error> {
        let version = store.version(StreamId::of(tenant, id)).await?;
        if version == 0 {
            return Ok(Arc::default());
        }
        let name = (tenant.as_uuid(), id.as_uuid());
        let kept = self.lock().get(&name).cloned();
        let mut held = match kept {
            Some((state, known)) if known >= version => return Ok(state),
            Some((state, known)) => Held::at(tenant, id, A::clone(&state), known),
            None => Held::new(tenant, id),
        };
        held.catch_up(store).await?;
        let state = Arc::new(held.state);
        let mut kept = self.lock();
        if kept.len() >= self.most {
            kept.clear();
        }
        let newest = kept.entry(name).or_insert_with(|| (state.clone(), held.version));
        // Somebody else may have read further meanwhile.
        if newest.1 < held.version {
            *newest = (state.clone(), held.version);
        }
        Ok(state)
    }
}
