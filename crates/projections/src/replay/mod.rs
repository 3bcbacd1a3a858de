//! Making read models anew from the log: to prove them right, or to put the new ones in place.
//!
//! Both fold the whole log into tables of the same form beside the live ones, with the same code.
//! They need the rights to make tables: a pool of the database's owner.

mod compare;
mod shadow;

use std::collections::HashMap;

use eventstore::{EventStore, Position};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

pub use self::compare::{ColumnDifference, Difference};
use self::shadow::Shadow;
use crate::checkpoint::{self, named};
use crate::storage::Schema;
use crate::{Error, Projection};

/// How far a replay has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The last position that was folded.
    pub done: Position,
    /// The last one there is to fold.
    pub total: Position,
}

/// What comparing came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Each view that was compared.
    pub views: Vec<Checked>,
}

impl Report {
    /// Whether every view is exactly what the log says.
    #[must_use]
    pub fn is_identical(&self) -> bool {
        self.views.iter().all(|view| view.difference.is_none())
    }
}

/// A view that was compared with what the log says.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The view.
    pub name: &'static str,
    /// The position at which it stands, and up to which the log was replayed.
    pub position: Position,
    /// How many rows it has.
    pub rows: i64,
    /// The first row, by key, that is not what the log says.
    pub difference: Option<Difference>,
}

/// Compares live views (all, if none is named) with what the log says, byte for byte. They go on
/// serving and moving meanwhile: each is compared as it was at one position.
pub async fn verify<S: AsRef<str> + Sync>(
    pool: &PgPool,
    log: &dyn EventStore,
    names: &[S],
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, Error> {
    let views = named(names)?;
    let mut shadow = Shadow::begin(pool, &views).await?;
    let report = shadow.compare(log, progress).await;
    // Why it failed says more than how the tidying up did.
    let ended = shadow.end().await;
    report.and_then(|report| ended.map(|()| report))
}

impl Shadow {
    /// Rows and checkpoint of a view are committed together, so one snapshot has both.
    async fn compare(
        &mut self,
        log: &dyn EventStore,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Report, Error> {
        let (db, views) = self.parts();
        // Most of the work, without a long transaction.
        let standing = positions(db, &shadow::views(views)).await?;
        shadow::fold(db, views, log, &standing, progress).await?;
        let mut tx = db.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        let standing = positions(&mut tx, &shadow::views(views)).await?;
        shadow::fold(&mut tx, views, log, &standing, progress).await?;
        let mut report = Report { views: vec![] };
        for view in shadow::views(views) {
            let (mut rows, mut difference) = (0, None);
            for table in view.tables() {
                rows += compare::count(&mut tx, table).await?;
                if difference.is_none() {
                    difference = compare::first_difference(&mut tx, table).await?;
                }
            }
            let position = position_in(&standing, view);
            report.views.push(Checked { name: view.name(), position, rows, difference });
        }
        tx.rollback().await?;
        Ok(report)
    }

    /// Puts the new rows in the place of the live ones, all at once: until the commit, readers see
    /// the old ones.
    async fn switch(
        &mut self,
        log: &dyn EventStore,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<(), Error> {
        let (db, views) = self.parts();
        let projections = shadow::views(views);
        let names: Vec<&str> = projections.iter().map(|view| view.name()).collect();
        let upto = |head| names.iter().map(|name| ((*name).to_owned(), head)).collect();
        // Most of the work, while the projectors go on.
        shadow::fold(db, views, log, &upto(log.head().await?), progress).await?;
        let mut tx = db.begin().await?;
        checkpoint::begin(&mut *tx, &names).await?;
        // From here on no projector moves them.
        checkpoint::hold(&mut tx, &names).await?;
        let head = log.head().await?;
        shadow::fold(&mut tx, views, log, &upto(head), progress).await?;
        for view in projections {
            for table in view.tables() {
                let (live, new) = (Schema::Live.name(), Schema::Replay.name());
                let name = table.name;
                for sql in [
                    format!("DELETE FROM {live}.{name}"),
                    format!("INSERT INTO {live}.{name} SELECT * FROM {new}.{name}"),
                ] {
                    sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await?;
                }
            }
            checkpoint::advance(&mut tx, view.name(), head, None).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// Makes live views (all, if none is named) anew from the log, up to its end. The old rows serve
/// until the new ones take their place; a view that was parked runs again.
///
/// An event that a view cannot take in is an error, and nothing changes.
pub async fn rebuild<S: AsRef<str> + Sync>(
    pool: &PgPool,
    log: &dyn EventStore,
    names: &[S],
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(), Error> {
    let views = named(names)?;
    let mut shadow = Shadow::begin(pool, &views).await?;
    let switched = shadow.switch(log, progress).await;
    let ended = shadow.end().await;
    switched.and(ended)
}

/// Where each view stands.
type Positions = HashMap<String, Position>;

async fn positions(
    db: &mut PgConnection,
    views: &[&'static dyn Projection],
) -> Result<Positions, Error> {
    let names: Vec<&str> = views.iter().map(|view| view.name()).collect();
    let known = checkpoint::known(db, &names).await?;
    Ok(known.into_iter().map(|(name, (position, _))| (name, position)).collect())
}

fn position_in(positions: &Positions, view: &dyn Projection) -> Position {
    positions.get(view.name()).copied().unwrap_or(0)
}
