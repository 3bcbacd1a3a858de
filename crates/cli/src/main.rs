//! The only binary: everything that Everstep does, by subcommand.

mod args;
mod client;
mod commands;
mod config;
mod data_dir;
mod failure;
mod output;
mod platform;
mod postgres;
mod run;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory, Parser};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use secrecy::ExposeSecret;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

use crate::args::{Cli, Command, Database, Listen};
use crate::commands::Context;
use crate::config::{Environment, Flags};
use crate::failure::Failure;
use crate::output::Output;

/// Requests, events and rows are many small things that live shortly, on all threads: the allocator of
/// the C library spent a quarter of the processor time on them (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long tasks that do not end by themselves are waited for at the end.
const LAST_WAIT: Duration = Duration::from_millis(100);

/// An id from chance alone (UUID version 4), for what there is no clock for.
fn random_uuid() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = cli.global.output;
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(format),
    }
}

fn start(cli: Cli) -> Result<(), Failure> {
    // Each of the crates that speak TLS asks for the process's one provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let context = surroundings(&cli)?;
    log_to_stderr(is_service(&cli.command));
    if is_service(&cli.command) {
        open_many();
    }
    let runtime = Runtime::new().context("starting the runtime")?;
    let done = runtime.block_on(dispatch(context, cli.command));
    runtime.shutdown_timeout(LAST_WAIT);
    done
}

/// Lets this process have as many connections open as the machine lets it: by default many machines give
/// a process a thousand, and a service has that many callers alone.
fn open_many() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

async fn dispatch(context: Context, command: Command) -> Result<(), Failure> {
    let stop = stop_on_signals()?;
    let service = is_service(&command);
    let done = carry_out(&context, command, stop.clone());
    if service {
        // Services stop by themselves, in order.
        return done.await;
    }
    tokio::select! {
        done = done => done,
        () = stop.cancelled() => Err(Failure::Interrupted),
    }
}

async fn carry_out(
    context: &Context,
    command: Command,
    stop: CancellationToken,
) -> Result<(), Failure> {
    match command {
        Command::Dev(_) => run::dev(context, stop).await,
        Command::Serve(_) => run::serve(context, stop).await,
        Command::Work(_) => run::work(context, stop).await,
        Command::Migrate(_) => commands::migrate(context).await,
        Command::Check(_) => commands::check(context).await,
        Command::Workflow(command) => commands::workflow(context, command).await,
        Command::Execution(command) => commands::execution(context, command).await,
        Command::Projection(command) => commands::projection(context, &command).await,
        Command::Replay(what) => commands::replay(context, &what).await,
        Command::Audit(command) => commands::audit(context, *command).await,
        Command::Log(command) => commands::log(context, command).await,
        Command::Quarantine(command) => commands::quarantine(context, command).await,
        Command::Subscription(command) => commands::subscription(context, command).await,
        Command::Subject(command) => commands::subject(context, command).await,
        Command::Openapi => commands::openapi(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "everstep", &mut script);
            Ok(io::Write::write_all(&mut io::stdout(), &script)?)
        }
    }
}

/// Whether a command goes on until it is told to stop.
fn is_service(command: &Command) -> bool {
    matches!(command, Command::Dev(_) | Command::Serve(_) | Command::Work(_))
}

fn surroundings(cli: &Cli) -> Result<Context, Failure> {
    let environment = Environment::of_process();
    let (port, database_url) = match &cli.command {
        Command::Dev(Listen { port, database }) | Command::Serve(Listen { port, database }) => {
            (*port, database.database_url.clone())
        }
        Command::Work(Database { database_url })
        | Command::Migrate(Database { database_url })
        | Command::Check(Database { database_url }) => (None, database_url.clone()),
        Command::Projection(projection) => (None, projection.database().database_url.clone()),
        Command::Replay(replay) => (None, replay.database.database_url.clone()),
        Command::Audit(audit) => (None, audit.database().database_url.clone()),
        Command::Log(command) => (None, command.database().database_url.clone()),
        Command::Quarantine(command) => (None, command.database().database_url.clone()),
        Command::Subscription(command) => (None, command.database().database_url.clone()),
        Command::Subject(command) => (None, command.database_url()),
        Command::Workflow(_)
        | Command::Execution(_)
        | Command::Openapi
        | Command::Completions { .. } => (None, None),
    };
    let flags = Flags {
        config: cli.global.config.clone(),
        data_dir: cli.global.data_dir.clone(),
        database_url,
        port,
    };
    let settings =
        config::load(&flags, &environment).map_err(|error| Failure::Usage(error.to_string()))?;
    let token = cli.global.token.as_ref().filter(|token| !token.expose_secret().is_empty());
    let global = args::Global { token: token.cloned(), ..cli.global.clone() };
    let output = Output::new(cli.global.output);
    Ok(Context { global, settings, environment, output })
}

/// What the program says about itself goes to standard error; `RUST_LOG` chooses how much.
fn log_to_stderr(service: bool) {
    let usual = if service { "info,sqlx=warn" } else { "error" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

/// A token that is cancelled by Ctrl-C, SIGTERM or a terminal that closes.
fn stop_on_signals() -> Result<CancellationToken, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals = signal(kind).context("listening for signals")?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    Ok(stop)
}
