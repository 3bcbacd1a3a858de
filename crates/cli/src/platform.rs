//! Puts the platform together from its settings: the one place where all its parts meet.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use connectors::channels::email::{Email, Mailbox, Smtp};
use connectors::egress::{Egress, Mapping, Policy};
use connectors::models::{Models, ProviderConfig};
use connectors::vault::Vault;
use domain::Id;
use eventstore::audit::Trees;
use eventstore::personal::{Keyring, Sealed};
use eventstore::{Clock, EventStore, Known, Moves, NameError, PgEventStore, Plans, Role, Weights};
use secrecy::SecretString;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::watch;

use crate::commands::Context;
use crate::config::Settings;
use crate::data_dir;
use crate::failure::Failure;

/// How many connections each role may have in one process.
const CONNECTIONS: u32 = 16;
/// How many API keys are kept as they are.
const API_KEYS: usize = 10_000;

/// The parts of a process, ready to run.
pub(crate) struct Platform {
    /// The log.
    pub(crate) log: Arc<dyn EventStore>,
    /// What time it is, and new ids.
    pub(crate) clock: Clock,
    /// What the HTTP API needs.
    pub(crate) app: api::App,
    /// Tells the API that this process is about to stop.
    pub(crate) leaving: watch::Sender<bool>,
    /// What the workers need.
    pub(crate) work: Arc<workers::Deps>,
    /// All connections.
    pub(crate) pools: [PgPool; 3],
}

impl Platform {
    /// Connects everything to the database at `url`, which must be migrated and safe.
    pub(crate) async fn assemble(context: &Context, url: &str) -> Result<Self, Failure> {
        let settings = &context.settings;
        require_safe(url).await?;
        let read_url = settings.database.read_url.as_ref().map_or(url, |url| url.expose());
        let (commands, views, pool) = tokio::try_join!(
            eventstore::connect(url, Role::Command, CONNECTIONS),
            eventstore::connect(read_url, Role::Query, CONNECTIONS),
            eventstore::connect(url, Role::Worker, CONNECTIONS),
        )
        .context("connecting to the database")?;
        name(&pool, settings.deployment.as_deref()).await?;
        let clock = Clock::of(&pool).await.context("asking the database for the time")?;
        let partitions = PgEventStore::new(pool.clone()).make_partitions().await;
        partitions.context("making room in the log")?;
        let pools = [commands.clone(), views.clone(), pool.clone()];
        let (vault, master) = vault(context, &commands).await?;
        let policy = policy(settings)?;
        let trees = Trees::new(commands.clone());
        let weights = weights(settings);
        let store = PgEventStore::new(commands).weighing(weights.clone()).for_followers();
        // Keys are destroyed by workers, whose role may do that.
        let keys = Arc::new(Keyring::new(pool.clone(), &master));
        let log: Arc<dyn EventStore> = Arc::new(Sealed::new(store, keys.clone()));
        let (plans, vault) = (Arc::new(Plans::default()), Arc::new(vault));
        let egress = Arc::new(Egress::new(policy.clone()).context("egress")?);
        let models = Arc::new(models(context, &policy)?);
        let leaving = watch::Sender::new(false);
        let pulse = eventstore::pulse(&pool);
        let work = workers::Deps {
            log: log.clone(),
            plans: plans.clone(),
            at_hand: workers::AtHand::default(),
            pool,
            clock: clock.clone(),
            weights,
            gates: workers::Gates::new(calls(settings)),
            egress: egress.clone(),
            models: models.clone(),
            keys: keys.clone(),
            vault: vault.clone(),
            email: email(settings)?,
            mail_from: settings.mail.from.clone(),
        };
        let app = api::App::from(api::Services {
            log: log.clone(),
            trees,
            moves: Arc::new(Moves::new(log.clone())),
            api_keys: Arc::new(Known::new(API_KEYS)),
            plans,
            views,
            clock: clock.clone(),
            keys,
            vault,
            egress,
            models,
            leaving: leaving.subscribe(),
            pulse,
        });
        Ok(Self { log, clock, app, leaving, work: Arc::new(work), pools })
    }
}

/// The configured shares of tenants.
fn weights(settings: &Settings) -> Weights {
    let weights = settings.limits.weights.iter();
    weights.map(|(tenant, weight)| (Id::from_uuid(*tenant), *weight)).collect()
}

/// How many calls may be under way at each other side.
fn calls(settings: &Settings) -> workers::Limits {
    workers::Limits {
        integration: settings.limits.calls_per_integration.get(),
        provider: settings.limits.calls_per_provider.get(),
    }
}

/// Gives the installation its configured name, which must be the one it has once it has events.
async fn name(pool: &PgPool, name: Option<&str>) -> Result<(), Failure> {
    let Some(name) = name else { return Ok(()) };
    eventstore::name_deployment(pool, name).await.map_err(|error| match error {
        NameError::Form | NameError::Taken(_) => {
            Failure::Usage(format!("deployment '{name}': {error}"))
        }
        NameError::Database(error) => {
            anyhow::Error::new(error).context("naming the installation").into()
        }
    })
}

/// Refuses a server that would lose events, and a database that this release does not fit.
async fn require_safe(url: &str) -> Result<(), Failure> {
    let pool = PgPoolOptions::new().max_connections(1).connect(url).await;
    let pool = pool.context("connecting to the database")?;
    eventstore::check_settings(&pool).await.map_err(|error| match error {
        off @ eventstore::SettingsError::Off { .. } => Failure::Verification(off.to_string()),
        eventstore::SettingsError::Database(error) => {
            anyhow::Error::new(error).context("asking the database for its settings").into()
        }
    })?;
    let missing = missing_migrations(&pool).await?;
    if eventstore::owns_log(&pool).await.context("asking the database for its owner")? {
        tracing::warn!(
            "this login owns the log, and whoever has it can change the past; let a login that owns \
             nothing run Everstep: docs/how-to/run-on-your-own-postgres.md"
        );
    }
    pool.close().await;
    if missing == 0 {
        return Ok(());
    }
    Err(anyhow!(
        "the database lacks {missing} of this release's migrations; run `everstep migrate`"
    )
    .into())
}

/// How many of this release's migrations a database lacks.
pub(crate) async fn missing_migrations(pool: &PgPool) -> Result<usize, Failure> {
    let there: Option<String> = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations')::text")
        .fetch_one(pool)
        .await
        .context("asking the database for its schema")?;
    let mut done: Vec<i64> = Vec::new();
    if there.is_some() {
        done = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(pool)
            .await
            .context("asking the database for its schema")?;
    }
    Ok(eventstore::MIGRATOR.iter().filter(|step| !done.contains(&step.version)).count())
}

/// The vault, and the key that opens it.
async fn vault(context: &Context, pool: &PgPool) -> Result<(Vault, [u8; 32]), Failure> {
    let master = master_key(context)?;
    let vault = Vault::new(pool.clone(), master);
    vault.verify().await.context("opening the vault")?;
    Ok((vault, master))
}

/// The log as it can be read by whoever has the key of the vault.
pub(crate) async fn opened(
    context: &Context,
    pool: &PgPool,
) -> Result<Arc<dyn EventStore>, Failure> {
    let (_, master) = vault(context, pool).await?;
    let keys = Arc::new(Keyring::new(pool.clone(), &master));
    Ok(Arc::new(Sealed::new(PgEventStore::new(pool.clone()), keys)))
}

/// The key of the vault: from the environment, else from the data directory, made if need be.
pub(crate) fn master_key(context: &Context) -> Result<[u8; 32], Failure> {
    if let Some(text) = context.environment.get("EVERSTEP_MASTER_KEY") {
        return data_dir::parse_master_key(text).ok_or_else(|| {
            Failure::Usage("EVERSTEP_MASTER_KEY must be 32 bytes in hex (64 digits)".to_owned())
        });
    }
    Ok(data_dir::master_key(&context.settings.data_dir, rand::random).context("the vault's key")?)
}

fn policy(settings: &Settings) -> Result<Policy, Failure> {
    let map = settings.egress.map.iter().map(|text| text.parse::<Mapping>());
    let map = map.collect::<Result<_, _>>();
    let map = map.map_err(|error| Failure::Usage(format!("egress.map: {error}")))?;
    Ok(Policy { allow: settings.egress.allow.clone(), map, ..Policy::default() })
}

fn models(context: &Context, policy: &Policy) -> Result<Models, Failure> {
    let settings = &context.settings;
    let providers = settings.providers.iter().map(|(name, provider)| ProviderConfig {
        name: name.clone(),
        kind: provider.kind,
        base_url: provider.base_url.clone(),
        api_key: provider.api_key(&context.environment),
        default_model: Some(provider.default_model.clone()),
        models: provider.models.clone(),
        dialect: None,
    });
    Models::new(providers.collect(), settings.default_provider.as_deref(), policy)
        .map_err(|error| Failure::Usage(format!("providers: {error}")))
}

fn email(settings: &Settings) -> Result<Arc<dyn Email>, Failure> {
    if let Some(url) = &settings.mail.smtp_url {
        let smtp = Smtp::new(&SecretString::from(url.expose()));
        let smtp = smtp.map_err(|error| Failure::Usage(format!("mail.smtp_url: {error}")))?;
        return Ok(Arc::new(smtp));
    }
    let mailbox = Mailbox::new(settings.data_dir.join("mailbox"));
    Ok(Arc::new(mailbox.context("making the captured mailbox")?))
}
