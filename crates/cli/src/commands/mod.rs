//! What each subcommand does.

mod apply;
mod audit;
mod check;
mod execution;
mod log;
mod migrate;
mod projection;
mod quarantine;
mod replay;
mod resource;
mod subject;
mod subscription;
mod validate;
mod watch;
mod workflow;

use anyhow::Context as _;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::args::{Audit, Execution, Format, Global, Subject, Workflow};
use crate::client::Client;
use crate::config::{Environment, Settings};
use crate::data_dir::{self, Dev};
use crate::failure::Failure;
use crate::output::Output;

pub(crate) use check::check;
pub(crate) use log::log;
pub(crate) use migrate::migrate;
pub(crate) use projection::projection;
pub(crate) use quarantine::quarantine;
pub(crate) use replay::replay;
pub(crate) use subscription::subscription;

/// What commands know of their surroundings.
#[derive(Clone)]
pub(crate) struct Context {
    /// Flags that every command understands.
    pub(crate) global: Global,
    /// The settings in force.
    pub(crate) settings: Settings,
    /// The variables of the process.
    pub(crate) environment: Environment,
    /// Where results go.
    pub(crate) output: Output,
}

impl Context {
    /// A client of the API that is named, or of the `everstep dev` of the data directory.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let dev = self.dev()?;
        let dev_url = dev.as_ref().and_then(|dev| Url::parse(&dev.api_url).ok());
        let url = self.global.api_url.clone().or_else(|| dev_url.clone()).ok_or_else(|| {
            let dir = self.settings.data_dir.display();
            Failure::Usage(format!(
                "there is no running instance in {dir}; start one with `everstep dev`, or name \
                 one with --api-url"
            ))
        })?;
        // The token of a development instance is for nobody else.
        let dev = dev.filter(|_| dev_url.as_ref() == Some(&url));
        let token = self.global.token.as_ref().map(ExposeSecret::expose_secret);
        let token = token.map(SecretString::from);
        Client::new(&url, token.or_else(|| dev.map(|dev| SecretString::from(dev.token))))
    }

    /// The database that is configured, or that of the `everstep dev` of the data directory.
    pub(crate) fn database_url(&self) -> Result<String, Failure> {
        if let Some(url) = &self.settings.database.url {
            return Ok(url.expose().to_owned());
        }
        self.dev()?.map(|dev| dev.database_url).ok_or_else(|| {
            Failure::Usage(
                "there is no database; name one with --database-url or DATABASE_URL, or start \
                 `everstep dev`"
                    .to_owned(),
            )
        })
    }

    fn dev(&self) -> Result<Option<Dev>, Failure> {
        let dev = data_dir::announced(&self.settings.data_dir);
        Ok(dev.context("looking for a running instance")?)
    }
}

/// Commands on workflows.
pub(crate) async fn workflow(context: &Context, command: Workflow) -> Result<(), Failure> {
    match command {
        Workflow::Apply { file } => apply::apply(context, &file).await,
        Workflow::Validate { file } => validate::validate(context, &file),
        Workflow::List { namespace, limit } => {
            workflow::list(context, namespace.as_deref(), limit).await
        }
        Workflow::Get { workflow, version } => {
            workflow::get(context, &workflow, version.as_deref()).await
        }
        Workflow::Run(run) => workflow::run(context, &run).await,
    }
}

/// Commands on people.
pub(crate) async fn subject(context: &Context, command: Subject) -> Result<(), Failure> {
    subject::subject(context, &command).await
}

/// Commands on executions.
pub(crate) async fn execution(context: &Context, command: Execution) -> Result<(), Failure> {
    match command {
        Execution::List { workflow, status, limit } => {
            execution::list(context, workflow.as_deref(), status.as_deref(), limit).await
        }
        Execution::Get { execution } => execution::get(context, &execution).await,
        Execution::Watch { execution } => execution::watch(context, &execution).await,
        Execution::Cancel { execution, reason } => {
            execution::cancel(context, &execution, &reason).await
        }
        Execution::Events { execution } => execution::events(context, &execution).await,
    }
}

/// Prints the description of the API, as the API itself serves it.
pub(crate) fn openapi() -> Result<(), Failure> {
    let description = serde_json::to_value(api::openapi()).map_err(anyhow::Error::from)?;
    Output::new(Format::Json).show(&description, String::new)
}

/// Commands on the audit trail.
pub(crate) async fn audit(context: &Context, command: Audit) -> Result<(), Failure> {
    match command {
        Audit::Export(what) => audit::export(context, &what).await,
        Audit::Verify(what) => audit::verify(context, &what).await,
        Audit::Proof(what) => audit::proof(context, &what).await,
        Audit::Checkpoint(what) => audit::checkpoint(context, &what).await,
        Audit::Witness(what) => audit::witness(context, &what).await,
        Audit::RotateKey { .. } => audit::rotate_key(context).await,
    }
}
