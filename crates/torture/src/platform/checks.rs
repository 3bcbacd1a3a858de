//! What must hold of the platform: on its way, and once everything is healed.

use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;
use uuid::Uuid;

use super::ledger::Ledger;
use super::{Platform, said};
use crate::check::Invariant;

/// The size of Postgres's pages, in bytes.
const PAGE: u64 = 8_192;
/// How long everything that was accepted may take until it is done.
const DONE: Duration = Duration::from_mins(1);

impl Platform {
    /// I9: no read model claims to have come further than the log.
    pub(super) async fn check_checkpoints(&mut self) -> Result<()> {
        let mut db = self.cluster.connect().await?;
        let ahead: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT p.name, p.position, l.position FROM rm.projection p
             JOIN es.log l ON l.log_id = 1 WHERE p.position > l.position",
        )
        .fetch_all(&mut db)
        .await?;
        db.close().await?;
        for (name, at, head) in ahead {
            self.found(Invariant::I9, format!("{name} stands at {at} of {head}"));
        }
        Ok(())
    }

    /// What must hold once everything is healed.
    pub(super) async fn check(&mut self, ledger: &mut Ledger) -> Result<()> {
        self.wait_until_ready().await?;
        ledger.ask_again(&self.tenants).await?;
        let mut db = self.cluster.connect().await?;
        self.wait_until_done(&mut db).await?;
        let there: Vec<Uuid> =
            sqlx::query_scalar("SELECT DISTINCT stream FROM es.event WHERE name = $1")
                .bind("execution.started")
                .fetch_all(&mut db)
                .await?;
        db.close().await?;
        ledger.compare(&there);
        self.check_checkpoints().await?;
        for (args, invariant) in [
            (&["replay", "--verify"][..], Invariant::I8),
            (&["audit", "verify", "--live"], Invariant::I20),
        ] {
            let done = self.run(args).await?;
            if !done.status.success() {
                self.found(invariant, said(&done));
            }
        }
        if ledger.violations.is_empty() && self.found.is_empty() {
            self.check_bit_rot().await?;
            self.check_tampering().await?;
        }
        Ok(())
    }

    /// F22: a bit of a page that turned on the disk is an error, and never passes for the log.
    async fn check_bit_rot(&mut self) -> Result<()> {
        let mut db = self.cluster.connect().await?;
        let (file, page): (String, i64) = sqlx::query_as(
            "SELECT pg_relation_filepath(tableoid::regclass), (ctid::text::point)[0]::bigint
             FROM es.event WHERE log_id = 1 AND position = 1",
        )
        .fetch_one(&mut db)
        .await?;
        db.close().await?;
        self.turn_bit(&file, page).await?;
        let done = self.run(&["audit", "verify", "--live"]).await?;
        if done.status.success() {
            self.found(Invariant::I20, format!("page {page} of {file} has rotted unseen"));
        }
        self.turn_bit(&file, page).await?;
        self.wait_until_ready().await
    }

    /// Turns the last bit of a page, while the server is down.
    async fn turn_bit(&mut self, file: &str, page: i64) -> Result<()> {
        self.cluster.stop(Signal::SIGINT).await?;
        let path = self.cluster.data().join(file);
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
        let (mut byte, at) = ([0], u64::try_from(page)? * PAGE + PAGE - 1);
        file.read_exact_at(&mut byte, at)?;
        file.write_all_at(&[byte[0] ^ 1], at)?;
        self.cluster.restart().await
    }

    /// I20, the other way round: a byte of an event that is changed in the tables is found.
    async fn check_tampering(&mut self) -> Result<()> {
        let mut db = self.cluster.connect().await?;
        sqlx::raw_sql("SET session_replication_role = replica").execute(&mut db).await?;
        let position: i64 = sqlx::query_scalar(
            "UPDATE es.event SET body = set_byte(body, 0, get_byte(body, 0) # 1)
             WHERE log_id = 1 AND position = (SELECT position / 2 FROM es.log WHERE log_id = 1)
             RETURNING position",
        )
        .fetch_one(&mut db)
        .await?;
        db.close().await?;
        let done = self.run(&["audit", "verify", "--live"]).await?;
        let named = said(&done).contains(&position.to_string());
        if done.status.code() != Some(8) || !named {
            let told = said(&done);
            self.found(Invariant::I20, format!("a changed byte at {position} is found: {told}"));
        }
        Ok(())
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + DONE;
        let client = &self.tenants[0].client;
        while !client.get("/workflows").await.is_ok_and(|answer| answer.status == 200) {
            ensure!(Instant::now() < deadline, "the platform does not heal");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Until every execution has ended and every read model has seen it.
    async fn wait_until_done(&mut self, db: &mut PgConnection) -> Result<()> {
        let deadline = Instant::now() + DONE;
        loop {
            let open: i64 = sqlx::query_scalar(
                "SELECT (SELECT count(*) FROM rm.executions WHERE status <> 'completed')
                     + (SELECT count(*) FROM rm.projection p JOIN es.log l ON l.log_id = 1
                        WHERE p.position < l.position)",
            )
            .fetch_one(&mut *db)
            .await?;
            if open == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                self.found(Invariant::I8, format!("{open} of them are never done"));
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}
