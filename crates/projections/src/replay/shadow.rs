//! Tables beside the live ones, and folding the log into them.

use eventstore::{EventStore, Position};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use super::{Positions, Progress, position_in};
use crate::batch::{BATCH, Batch};
use crate::storage::{Schema, Tables};
use crate::{Error, Projection, runner};

/// Empty copies of some views' tables, being filled.
pub(super) struct Shadow {
    /// A connection of its own. Closing it lets go of the lock, however this ends.
    db: PgConnection,
    views: Vec<Standing>,
}

/// A view and the last position that was folded for it.
pub(super) struct Standing {
    view: &'static dyn Projection,
    at: Position,
}

impl Shadow {
    /// Makes the tables, if nobody else is at it. What an earlier replay left is removed.
    pub(super) async fn begin(
        pool: &PgPool,
        views: &[&'static dyn Projection],
    ) -> Result<Self, Error> {
        let mut db = pool.acquire().await?.detach();
        let locked = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('everstep replay'))");
        if !locked.fetch_one(&mut db).await? {
            return Err(Error::Busy);
        }
        let (live, new) = (Schema::Live.name(), Schema::Replay.name());
        let mut steps = vec![
            // Losing what can be replayed costs nothing.
            "SET synchronous_commit = off".to_owned(),
            format!("DROP SCHEMA IF EXISTS {new} CASCADE"),
            format!("CREATE SCHEMA {new}"),
        ];
        let tables = views.iter().flat_map(|view| view.tables());
        steps.extend(tables.map(|table| {
            let name = table.name;
            format!("CREATE UNLOGGED TABLE {new}.{name} (LIKE {live}.{name} INCLUDING ALL)")
        }));
        for step in steps {
            sqlx::query(AssertSqlSafe(step)).execute(&mut db).await?;
        }
        let views = views.iter().map(|view| Standing { view: *view, at: 0 }).collect();
        Ok(Self { db, views })
    }

    pub(super) fn parts(&mut self) -> (&mut PgConnection, &mut [Standing]) {
        (&mut self.db, &mut self.views)
    }

    /// Removes the tables and lets others go.
    pub(super) async fn end(mut self) -> Result<(), Error> {
        let sql = format!("DROP SCHEMA {} CASCADE", Schema::Replay.name());
        sqlx::query(AssertSqlSafe(sql)).execute(&mut self.db).await?;
        sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut self.db).await?;
        Ok(self.db.close().await?)
    }
}

/// The views that are being replayed.
pub(super) fn views(standing: &[Standing]) -> Vec<&'static dyn Projection> {
    standing.iter().map(|standing| standing.view).collect()
}

/// Folds the log into the new tables, up to a position for each view.
pub(super) async fn fold(
    db: &mut PgConnection,
    views: &mut [Standing],
    log: &dyn EventStore,
    target: &Positions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(), Error> {
    let total = target.values().copied().max().unwrap_or(0);
    loop {
        let behind = views.iter().filter(|one| one.at < position_in(target, one.view));
        let Some(after) = behind.map(|one| one.at).min() else { return Ok(()) };
        let Some(batch) = Batch::read(log, after, BATCH).await? else { return Ok(()) };
        for one in &mut *views {
            let upto = position_in(target, one.view).min(batch.last);
            if upto <= one.at {
                continue;
            }
            let share = batch.share(one.view, one.at, upto);
            let mut tables = Tables::of(db, Schema::Replay);
            runner::apply(one.view, &mut tables, &share.events).await?;
            one.at = share.upto;
            if let Some(reason) = share.stop {
                return Err(Error::Stuck { view: one.view.name(), after: one.at, reason });
            }
        }
        progress(Progress { done: batch.last.min(total), total });
    }
}
