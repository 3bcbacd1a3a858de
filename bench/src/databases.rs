//! A database for each run, all on one server.

use anyhow::Result;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// Makes databases on a server.
#[derive(Debug)]
pub struct Databases {
    admin: String,
    made: u32,
}

impl Databases {
    /// On the server of this URL, which names the database `postgres`.
    #[must_use]
    pub fn new(admin: String) -> Self {
        Self { admin, made: 0 }
    }

    /// The URL of an empty one; nothing of the runs before is left to be written.
    pub async fn fresh(&mut self) -> Result<String> {
        self.made += 1;
        let name = format!("bench_{}", self.made);
        let mut connection = PgConnection::connect(&self.admin).await?;
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        connection.execute("CHECKPOINT").await?;
        Ok(self.admin.replace("/postgres?", &format!("/{name}?")))
    }

    /// The same, with the one before it gone: what is vacuumed there would count in the run to come.
    pub async fn instead(&mut self) -> Result<String> {
        let mut connection = PgConnection::connect(&self.admin).await?;
        let drop = format!("DROP DATABASE IF EXISTS bench_{} WITH (FORCE)", self.made);
        connection.execute(AssertSqlSafe(drop)).await?;
        connection.close().await?;
        self.fresh().await
    }
}
