//! `dev`, `serve` and `work`: starts the parts of a process and stops them again.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use domain::api_key::{Access, ApiKey, Command, Token};
use domain::{Actor, Id, Tenant};
use eventstore::{Metadata, Request};
use futures::future::join_all;
use serde_json::json;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::commands::Context;
use crate::data_dir::{self, DataDir, Dev};
use crate::failure::Failure;
use crate::output::note;
use crate::platform::Platform;
use crate::postgres::{self, Server};
use crate::random_uuid;

/// How long requests of a development instance, and effects under way, may take to end once we are told
/// to stop. What has not ended by then is not lost: it is in the log, and goes on after the next start.
const GRACE: Duration = Duration::from_millis(1_500);

/// How long a server of many still takes requests once it is told to stop, so that whoever divides the
/// requests among them has time to notice that it is not ready any more.
const DRAIN: Duration = Duration::from_secs(1);

/// How long requests under way may take to end in a server of many. With [`DRAIN`] it is less than the
/// ten seconds after which those who run containers kill what they have told to stop.
const LAST_ANSWERS: Duration = Duration::from_secs(7);

/// How long connections to the database may take to close.
const FAREWELL: Duration = Duration::from_millis(200);

/// Everything in one process, on a private Postgres unless another is configured.
pub(crate) async fn dev(context: &Context, stop: CancellationToken) -> Result<(), Failure> {
    let begun = Instant::now();
    let listener = listen(context).await?;
    let data = DataDir::take(&context.settings.data_dir, random_uuid);
    let data = data.map_err(|error| Failure::Usage(error.to_string()))?;
    if let Some(url) = &context.settings.database.url {
        return everything(context, &data, listener, (url.expose(), None), (begun, stop)).await;
    }
    let id = data.tenant().as_uuid();
    let server = match Server::start(data.path(), id, &stop).await {
        Ok(server) => server,
        Err(postgres::Error::Interrupted) => return Ok(()),
        Err(error) => return Err(anyhow::Error::new(error).into()),
    };
    if let Some(text) = server.note() {
        note(text);
    }
    let urls = (server.url(), Some(server.login_url()));
    let ended = everything(context, &data, listener, urls, (begun, stop)).await;
    tracing::debug!("stopping the database server");
    server.stop().await;
    tracing::debug!("all is stopped");
    ended
}

/// The HTTP API alone.
pub(crate) async fn serve(context: &Context, stop: CancellationToken) -> Result<(), Failure> {
    let listener = listen(context).await?;
    let platform = Platform::assemble(context, &context.database_url()?).await?;
    note(format!("serving on {}", url_of(&listener)?));
    let mut parts = JoinSet::new();
    add_api(&mut parts, listener, (platform.app, platform.leaving), (DRAIN, &stop));
    until_stopped(parts, platform.pools, (DRAIN + LAST_ANSWERS, stop)).await
}

/// The workers alone, beside others of their kind.
pub(crate) async fn work(context: &Context, stop: CancellationToken) -> Result<(), Failure> {
    let platform = Platform::assemble(context, &context.database_url()?).await?;
    note("working");
    let mut parts = JoinSet::new();
    add_workers(&mut parts, &platform, None, &stop);
    until_stopped(parts, platform.pools, (GRACE, stop)).await
}

/// Runs API and workers of a development instance on the database at a URL, or as a login that is to
/// be made there.
async fn everything(
    context: &Context,
    data: &DataDir,
    listener: TcpListener,
    (url, login): (&str, Option<&str>),
    (begun, stop): (Instant, CancellationToken),
) -> Result<(), Failure> {
    let prepared = async {
        eventstore::migrate(url).await.context("migrating the database")?;
        tracing::debug!("the database is migrated");
        if login.is_some() {
            eventstore::make_login(url).await.context("making a login")?;
        }
        let platform = Platform::assemble(context, login.unwrap_or(url)).await?;
        tracing::debug!("the platform is put together");
        let token = admin_token(data, &platform).await?;
        Ok::<_, Failure>((platform, token))
    };
    let (platform, token) = tokio::select! {
        prepared = prepared => prepared?,
        () = stop.cancelled() => return Ok(()),
    };
    let dev = Dev { api_url: url_of(&listener)?, token, database_url: url.to_owned() };
    data.announce(&dev).context("writing dev.json")?;
    let mut parts = JoinSet::new();
    // Only one process has the directory, so whoever was this worker before is dead.
    add_workers(&mut parts, &platform, Some(data.tenant().as_uuid()), &stop);
    add_api(&mut parts, listener, (platform.app, platform.leaving), (Duration::ZERO, &stop));
    greet(context, data, &dev, begun.elapsed())?;
    until_stopped(parts, platform.pools, (GRACE, stop)).await
}

/// Binds the configured address, so that a busy one is refused before anything is started.
async fn listen(context: &Context) -> Result<TcpListener, Failure> {
    let address = SocketAddr::new(context.settings.http.address, context.settings.http.port);
    TcpListener::bind(address).await.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            let hint = "choose another port with --port (0 for any that is free)";
            return anyhow!("{address} is in use by another program; {hint}").into();
        }
        anyhow::Error::new(error).context(format!("listening on {address}")).into()
    })
}

fn url_of(listener: &TcpListener) -> Result<String, Failure> {
    let mut address = listener.local_addr()?;
    if address.ip().is_unspecified() {
        address.set_ip([127, 0, 0, 1].into());
    }
    Ok(format!("http://{address}"))
}

fn add_api(
    parts: &mut JoinSet<Result<(), Failure>>,
    listener: TcpListener,
    (app, leaving): (api::App, watch::Sender<bool>),
    (drain, stop): (Duration, &CancellationToken),
) {
    let stop = stop.clone();
    let stopped = async move {
        stop.cancelled().await;
        leaving.send_replace(true);
        tokio::time::sleep(drain).await;
    };
    parts.spawn(async move {
        api::serve(listener, app, stopped).await;
        Ok(())
    });
}

fn add_workers(
    parts: &mut JoinSet<Result<(), Failure>>,
    platform: &Platform,
    worker: Option<Uuid>,
    stop: &CancellationToken,
) {
    let (deps, stop) = (platform.work.clone(), stop.clone());
    parts.spawn(async move {
        workers::run(deps, workers::Options { worker }, stop).await;
        Ok(())
    });
}

/// Waits for the end: of all parts once we are told to stop, within a time; or of one of them, if
/// it ends by itself, which none should.
async fn until_stopped(
    mut parts: JoinSet<Result<(), Failure>>,
    pools: [PgPool; 3],
    (grace, stop): (Duration, CancellationToken),
) -> Result<(), Failure> {
    let first = tokio::select! {
        ended = parts.join_next() => ended,
        () = stop.cancelled() => None,
    };
    let told = stop.is_cancelled();
    stop.cancel();
    tracing::debug!("stopping");
    if timeout(grace, async { while parts.join_next().await.is_some() {} }).await.is_err() {
        tracing::debug!("what is still under way goes on after the next start");
    }
    // The server would complain about every connection that just breaks off.
    let _ = timeout(FAREWELL, join_all(pools.iter().map(PgPool::close))).await;
    match first {
        _ if told => Ok(()),
        Some(Ok(Ok(()))) | None => Err(anyhow!("a part of the process ended by itself").into()),
        Some(Ok(Err(failure))) => Err(failure),
        Some(Err(error)) => Err(anyhow::Error::new(error).context("a part of the process").into()),
    }
}

/// The instance's admin token: the one that was announced before, as long as it opens the API;
/// else a new one.
async fn admin_token(data: &DataDir, platform: &Platform) -> Result<String, Failure> {
    let announced = data_dir::announced(data.path()).context("reading dev.json")?;
    if let Some(dev) = announced
        && let Ok(token) = Token::parse(&dev.token)
        && token.tenant == data.tenant()
    {
        let (key, _) =
            eventstore::load::<ApiKey>(&*platform.log, token.tenant, Id::from_uuid(token.key))
                .await
                .context("reading the log")?;
        if key.opens(&token) == Some(Access::Admin) {
            return Ok(dev.token);
        }
    }
    new_token(data.tenant(), platform).await
}

async fn new_token(tenant: Id<Tenant>, platform: &Platform) -> Result<String, Failure> {
    let clock = &platform.clock;
    let token = Token { tenant, key: clock.id(), secret: rand::random() };
    let request = clock.id();
    let meta = Metadata {
        tenant,
        actor: Actor::System,
        correlation: request,
        causation: request,
        traceparent: None,
        at: clock.now(),
    };
    let command = Command::Create {
        name: "everstep dev".to_owned(),
        access: Access::Admin,
        digest: token.digest(),
    };
    let id = Id::<ApiKey>::from_uuid(token.key);
    eventstore::execute(&*platform.log, id, &command, &Request::new(meta))
        .await
        .map_err(|error| anyhow!("making the admin token: {error}"))?;
    Ok(token.encode())
}

/// Says that all is ready, where it is, and what to try.
fn greet(context: &Context, data: &DataDir, dev: &Dev, took: Duration) -> Result<(), Failure> {
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let value = json!({
        "api_url": dev.api_url,
        "token": dev.token,
        "database_url": dev.database_url,
        "started_in_ms": milliseconds,
    });
    let provider = context.settings.default_provider.as_deref().unwrap_or_default();
    let file = data.path().join("dev.json");
    context.output.show(&value, || {
        format!(
            "Everstep is ready ({:.1} s)\n  API       {url}/api/v1, documented at {url}/docs\n  \
             token     {}\n  database  {}\n  model     {provider}\n  all this  {}\n\
             Try: everstep workflow list --data-dir {}",
            took.as_secs_f64(),
            dev.token,
            dev.database_url,
            file.display(),
            data.path().display(),
            url = dev.api_url,
        )
    })
}
