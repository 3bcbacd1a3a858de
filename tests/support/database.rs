//! A database of one test on the server that `DATABASE_URL` names, gone when the test is over.

use std::env;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

/// The database.
#[derive(Debug)]
pub(crate) struct Database {
    name: String,
    server: String,
    url: String,
}

impl Database {
    /// A new, empty one; none if no server is named.
    pub(crate) async fn create() -> Option<Self> {
        let server = env::var("DATABASE_URL").ok().filter(|url| !url.is_empty())?;
        let name = format!("everstep_test_{}", Uuid::new_v4().simple());
        let url = with_name(&server, &name);
        let created = execute(&server, format!("CREATE DATABASE {name}")).await;
        created.unwrap_or_else(|error| panic!("no database for the test: {error}"));
        Some(Self { name, server, url })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Ends all connections to it and lets nobody connect.
    pub(crate) async fn shut(&self) {
        let name = &self.name;
        let shut = format!(
            "ALTER DATABASE {name} ALLOW_CONNECTIONS false;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        execute(&self.server, shut).await.expect("is shut");
    }

    /// Lets people connect again.
    pub(crate) async fn open(&self) {
        let open = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", self.name);
        execute(&self.server, open).await.expect("is opened");
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, sql) =
            (self.server.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        // A runtime of its own: this one may be the test's last breath.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(execute(&server, sql)))
        });
        if !matches!(dropped.join(), Ok(Ok(Ok(())))) {
            eprintln!("the database {} stays behind", self.name);
        }
    }
}

async fn execute(server: &str, sql: String) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(server).await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    connection.close().await
}

/// The URL with another database's name.
fn with_name(url: &str, name: &str) -> String {
    let (base, query) = url
        .split_once('?')
        .map_or((url, String::new()), |(base, query)| (base, format!("?{query}")));
    let (scheme, rest) = base.split_once("://").expect("a URL");
    let authority = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{authority}/{name}{query}")
}

#[test]
fn only_the_name_of_the_database_changes() {
    let url = "postgres://me@localhost/postgres?host=/tmp/x";
    assert_eq!(with_name(url, "mine"), "postgres://me@localhost/mine?host=/tmp/x");
    assert_eq!(with_name("postgres://h:1", "mine"), "postgres://h:1/mine");
}
