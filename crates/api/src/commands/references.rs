//! Whether what a document names is there: a workflow that calls an agent nobody made is refused
//! when it is saved, not when it runs.

use domain::agent::Agent;
use domain::integration::Integration;
use domain::template::Template;
use domain::workflow::{Plan, Reference, Referent, Workflow};
use domain::{Fault, Id, Tenant};
use eventstore::load;

use crate::{App, Problem};

/// Refuses a document that names what is not there. A workflow may name itself.
pub(super) async fn check(app: &App, tenant: Id<Tenant>, plan: &Plan) -> Result<(), Problem> {
    let mut faults = vec![];
    for reference in &plan.references {
        if let Some(missing) = missing(app, tenant, plan, reference).await? {
            let Reference { pointer, line, .. } = reference;
            faults.push(Fault::new(pointer, "unknown_reference", missing).at_line(*line));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid("workflow_invalid", faults)) }
}

async fn missing(
    app: &App,
    tenant: Id<Tenant>,
    plan: &Plan,
    Reference { to, name, .. }: &Reference,
) -> Result<Option<String>, Problem> {
    let log = &*app.log;
    Ok(match to {
        Referent::Agent => {
            let (agent, _) = load::<Agent>(log, tenant, Agent::id(tenant, name)).await?;
            agent.current().is_none().then(|| format!("there is no agent `{name}`"))
        }
        Referent::Template => {
            let (template, _) = load::<Template>(log, tenant, Template::id(tenant, name)).await?;
            template.newest().is_none().then(|| format!("there is no template `{name}`"))
        }
        Referent::Integration(operation) => {
            let id = Integration::id(tenant, name);
            let (integration, _) = load::<Integration>(log, tenant, id).await?;
            match integration.spec() {
                None => Some(format!("there is no integration `{name}`")),
                Some(spec) if spec.operations.contains_key(operation) => None,
                Some(_) => Some(format!("integration `{name}` has no operation `{operation}`")),
            }
        }
        Referent::Workflow(namespace) => {
            let itself = *namespace == plan.namespace && *name == plan.name;
            let id = Workflow::id(tenant, namespace, name);
            let (workflow, _) = load::<Workflow>(log, tenant, id).await?;
            let there = itself || workflow.is_live();
            (!there).then(|| format!("there is no workflow `{namespace}/{name}`"))
        }
    })
}
