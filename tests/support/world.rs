//! The real binary, its database, and its command line.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use domain::Id;
use domain::api_key::{Access, ApiKey, Command as Change, Token};
use domain::{Actor, Tenant};
use eventstore::{Clock, EventStore, Metadata, PgEventStore, Request, Role};
use serde_json::Value;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;
use testkit::api::Client;
use testkit::everstep::{Server, Setup};
use uuid::Uuid;

use super::{Api, Database};

/// An instance. When it is dropped, everything of it goes.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) server: Server,
    database: Option<Database>,
    _dir: TempDir,
}

impl World {
    /// An instance that may call loopback and sends its mail to the captured mailbox.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same with more variables in its environment.
    pub(crate) async fn with(env: &[(&str, &str)]) -> Self {
        let with =
            |setup: Setup| env.iter().fold(setup, |setup, (name, value)| setup.env(name, value));
        Self::start_as(with).await
    }

    /// The same, set up in a way of its own.
    pub(crate) async fn start_as(change: impl FnOnce(Setup) -> Setup) -> Self {
        Self::on(Database::create().await, change).await
    }

    /// An instance with a Postgres of its own, as `everstep dev` has by default.
    pub(crate) async fn on_its_own_postgres() -> Self {
        Self::on_its_own_postgres_as(|setup| setup).await
    }

    /// The same, set up in a way of its own; so is its Postgres.
    pub(crate) async fn on_its_own_postgres_as(change: impl FnOnce(Setup) -> Setup) -> Self {
        Self::on(None, change).await
    }

    async fn on(database: Option<Database>, change: impl FnOnce(Setup) -> Setup) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        // Its Postgres may run as another user, who must be able to get there.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(), open).expect("permissions");
        let mut setup = Setup::new(dir.path().join("data")).expect("a binary");
        setup = setup.env("EVERSTEP_EGRESS_ALLOW", "127.0.0.0/8");
        setup = change(setup);
        if let Some(database) = &database {
            setup = setup.database(database.url());
        }
        let server = setup.start().await.expect("it starts");
        Self { server, database, _dir: dir }
    }

    /// Its database, on the server of all tests.
    pub(crate) fn database(&self) -> &Database {
        self.database.as_ref().expect("it has one of the test's own")
    }

    /// A client with the admin token.
    pub(crate) fn api(&self) -> Api {
        Api::new(self.server.client())
    }

    /// A client with another token, or none.
    pub(crate) fn api_with(&self, token: Option<String>) -> Api {
        Api::new(Client::new(self.server.dev().api_url.clone(), token))
    }

    /// The database, with all rights.
    pub(crate) async fn pool(&self) -> PgPool {
        let pool = PgPoolOptions::new().max_connections(2);
        pool.connect(&self.server.dev().database_url).await.expect("the database")
    }

    /// The database, with the rights of one part of the platform.
    pub(crate) async fn pool_as(&self, role: Role) -> PgPool {
        let url = &self.server.dev().database_url;
        eventstore::connect(url, role, 2).await.expect("the database")
    }

    /// The log.
    pub(crate) async fn log(&self) -> PgEventStore {
        PgEventStore::new(self.pool_as(Role::Command).await)
    }

    /// A key of another tenant, made where no API call could: in the log itself.
    pub(crate) async fn key_of_somebody_else(&self, access: Access) -> Api {
        let pool = self.pool_as(Role::Command).await;
        let clock = Clock::of(&pool).await.expect("the time");
        let log = PgEventStore::new(pool);
        let tenant: Id<Tenant> = Id::from_uuid(Uuid::new_v4());
        let token = Token { tenant, key: clock.id(), secret: [7; 32] };
        let create = Change::Create { name: "theirs".to_owned(), access, digest: token.digest() };
        let meta = Metadata {
            tenant,
            actor: Actor::System,
            correlation: clock.id(),
            causation: clock.id(),
            traceparent: None,
            at: clock.now(),
        };
        let key: Id<ApiKey> = Id::from_uuid(token.key);
        let done = eventstore::execute(&log, key, &create, &Request::new(meta)).await;
        done.expect("the key is made");
        self.api_with(Some(token.encode()))
    }

    /// How far the log goes.
    pub(crate) async fn head(&self) -> i64 {
        self.log().await.head().await.expect("the log")
    }

    /// Runs a command of the binary on this instance, to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Ended {
        let command = self.server.setup().command(args);
        let ended = tokio::task::spawn_blocking(move || Ended::of(command)).await;
        ended.expect("the command runs")
    }

    /// The whole log as `audit export` writes it.
    pub(crate) async fn exported(&self) -> Vec<Value> {
        let ended = self.run(&["audit", "export"]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        let lines = ended.out.lines();
        lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

/// What became of a command that ends by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    fn of(mut command: Command) -> Self {
        let Output { status, stdout, stderr } = command.output().expect("the binary runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
    }
}
