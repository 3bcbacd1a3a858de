//! Published workflows, compiled: read from their streams, kept for as long as the process lives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::workflow::{Plan, Workflow};
use domain::{Fault, Id, Tenant};

use crate::{Error, EventStore, Known, Version};

/// How many workflows are kept with the text of all their versions.
const WORKFLOWS: usize = 100;
/// How many compiled versions are kept; beyond it all are dropped and compiled anew on demand.
const CAPACITY: usize = 1_000;

type Key = (Id<Tenant>, Id<Workflow>, u32);

/// Compiled versions of workflows. A version never changes, so what was compiled once stays true.
#[derive(Debug)]
pub struct Plans {
    workflows: Known<Workflow>,
    compiled: Mutex<HashMap<Key, Arc<Plan>>>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No such workflow, or it was deleted.
    #[error("there is no such workflow")]
    NotFound,
    /// The workflow has no such version.
    #[error("the workflow has no such version")]
    NoSuchVersion,
    /// A published document does not compile any more: this release is stricter than the one
    /// that took it, which is a defect of this release.
    #[error("the published document does not compile: {}", .0.first().map_or("", |fault| &fault.detail))]
    Broken(Vec<Fault>),
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Default for Plans {
    fn default() -> Self {
        Self { workflows: Known::new(WORKFLOWS), compiled: Mutex::default() }
    }
}

impl Plans {
    /// A version for a new execution: the newest, or the one asked for, of a workflow that is
    /// still there. Gives its number as well.
    pub async fn published(
        &self,
        store: &dyn EventStore,
        tenant: Id<Tenant>,
        workflow: Id<Workflow>,
        version: Option<&str>,
    ) -> Result<(u32, Arc<Plan>), PlanError> {
        let state = self.workflow(store, tenant, workflow).await?;
        self.version_of(&state, (tenant, workflow), version)
    }

    /// A workflow as it is now.
    pub async fn workflow(
        &self,
        store: &dyn EventStore,
        tenant: Id<Tenant>,
        workflow: Id<Workflow>,
    ) -> Result<Arc<Workflow>, Error> {
        self.workflows.look(store, tenant, workflow).await
    }

    /// A workflow as it was when somebody last looked, as [`Known::remembered`].
    pub fn remembered(
        &self,
        tenant: Id<Tenant>,
        workflow: Id<Workflow>,
    ) -> Option<(Arc<Workflow>, Version)> {
        self.workflows.remembered(tenant, workflow)
    }

    /// A version of a workflow for a new execution, as above.
    pub fn version_of(
        &self,
        state: &Workflow,
        (tenant, workflow): (Id<Tenant>, Id<Workflow>),
        version: Option<&str>,
    ) -> Result<(u32, Arc<Plan>), PlanError> {
        if !state.is_live() {
            return Err(PlanError::NotFound);
        }
        let revision = state.find(version).ok_or(PlanError::NoSuchVersion)?;
        let number = revision.revision;
        let plan = self.compiled((tenant, workflow, number), &revision.document)?;
        Ok((number, plan))
    }

    /// The version an execution is pinned to, whether or not the workflow is still there.
    pub async fn pinned(
        &self,
        store: &dyn EventStore,
        tenant: Id<Tenant>,
        workflow: Id<Workflow>,
        revision: u32,
    ) -> Result<Arc<Plan>, PlanError> {
        let key = (tenant, workflow, revision);
        if let Some(plan) = self.lock().get(&key) {
            return Ok(plan.clone());
        }
        let state = self.workflows.look(store, tenant, workflow).await?;
        let found = state.revisions().iter().find(|known| known.revision == revision);
        self.compiled(key, &found.ok_or(PlanError::NoSuchVersion)?.document)
    }

    fn compiled(&self, key: Key, document: &str) -> Result<Arc<Plan>, PlanError> {
        if let Some(plan) = self.lock().get(&key) {
            return Ok(plan.clone());
        }
        let plan = Arc::new(Plan::compile(document).map_err(PlanError::Broken)?);
        let mut compiled = self.lock();
        if compiled.len() >= CAPACITY {
            compiled.clear();
        }
        compiled.insert(key, plan.clone());
        Ok(plan)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Plan>>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
