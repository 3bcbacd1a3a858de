//! Making read models anew from the log: to prove them right, to put the new ones in place, or to
//! see them as they were.
//!
//! All fold the log into tables of the same form beside the live ones, with the same code. They
//! need the rights to make tables: a pool of the database's owner.

mod compare;
mod shadow;
mod switch;
mod twin;

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use eventstore::{EventStore, Position};
use sqlx::{Connection, PgConnection, PgPool};

pub use self::compare::{ColumnDifference, Difference};
use self::shadow::Shadow;
use crate::checkpoint::{self, named};
use crate::storage::Schema;
use crate::{Error, Projection};

/// How a replay goes.
#[derive(Clone, Copy)]
pub struct Course<'a> {
    /// What tells this build of the folds from every other: only the same one goes on with what it
    /// began.
    pub build: &'a str,
    /// At most so many events a second.
    pub rate: Option<NonZeroU32>,
    /// Is told how far it has come.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

impl fmt::Debug for Course<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Course").field("rate", &self.rate).finish_non_exhaustive()
    }
}

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
    log: Arc<dyn EventStore>,
    names: &[S],
    course: &Course<'_>,
) -> Result<Report, Error> {
    let views = named(names)?;
    let mut shadow = Shadow::begin(pool, log, Schema::Verify, &views, None).await?;
    let report = shadow.compare(course).await;
    // Why it failed says more than how the tidying up did.
    let ended = shadow.remove().await;
    report.and_then(|report| ended.map(|()| report))
}

/// Makes live views (all, if none is named) anew from the log, up to its end, while reads and
/// writes go on. The old tables serve until the new ones take their place, and are kept for
/// [`roll_back`]; a view that was parked runs again. Returns the position it came to.
///
/// If it is interrupted, the next call goes on where it was. An event that a view cannot take in is
/// an error, and nothing changes.
pub async fn rebuild<S: AsRef<str> + Sync>(
    pool: &PgPool,
    log: Arc<dyn EventStore>,
    names: &[S],
    course: &Course<'_>,
) -> Result<Position, Error> {
    let views = named(names)?;
    let plan = plan(&views, course, None);
    let mut shadow = Shadow::begin(pool, log, Schema::Replay, &views, Some(&plan)).await?;
    match shadow.switch(course).await {
        Ok(position) => shadow.close().await.map(|()| position),
        // Another attempt would come to the same end.
        Err(error @ Error::Stuck { .. }) => shadow.remove().await.and(Err(error)),
        Err(error) => Err(error),
    }
}

/// Puts the tables that served before the last [`rebuild`] (of all views it made, if none is named)
/// in place again, after folding what has happened since; those that serve now take their place.
/// Returns the position it came to.
pub async fn roll_back<S: AsRef<str> + Sync>(
    pool: &PgPool,
    log: Arc<dyn EventStore>,
    names: &[S],
    course: &Course<'_>,
) -> Result<Position, Error> {
    let mut views = named(names)?;
    let mut db = pool.acquire().await?;
    let there = "SELECT to_regclass($1) IS NOT NULL";
    let standing = format!("{}.standing", Schema::Old.name());
    if !sqlx::query_scalar(there).bind(standing).fetch_one(&mut *db).await? {
        return Err(Error::NothingKept);
    }
    let kept = shadow::standing(&mut db, Schema::Old).await?;
    drop(db);
    if names.is_empty() {
        views.retain(|view| kept.contains_key(view.name()));
    }
    if views.is_empty() || !views.iter().all(|view| kept.contains_key(view.name())) {
        return Err(Error::NothingKept);
    }
    let mut shadow = Shadow::reopen(pool, log, Schema::Old, &views).await?;
    let position = shadow.switch(course).await?;
    shadow.close().await.map(|()| position)
}

/// Folds the log up to a position into tables of their own, in the schema `as_of`: views (all, if
/// none is named) as they were. They stay until the next call, or [`discard`].
pub async fn as_of<S: AsRef<str> + Sync>(
    pool: &PgPool,
    log: Arc<dyn EventStore>,
    names: &[S],
    until: Position,
    course: &Course<'_>,
) -> Result<(), Error> {
    let views = named(names)?;
    let plan = plan(&views, course, Some(until));
    let mut shadow = Shadow::begin(pool, log, Schema::AsOf, &views, Some(&plan)).await?;
    let target = views.iter().map(|view| (view.name().to_owned(), until)).collect();
    let Shadow { db, filling } = &mut shadow;
    filling.fold(db, &target, course).await?;
    for table in filling.tables() {
        twin::finish(db, Schema::AsOf, &table).await?;
    }
    shadow.close().await
}

/// Removes what replays have left: old tables, those as of some position, and those of a rebuild
/// that was not brought to its end.
pub async fn discard(pool: &PgPool) -> Result<(), Error> {
    let mut db = shadow::alone(pool).await?;
    for schema in [Schema::Old, Schema::AsOf, Schema::Replay, Schema::Verify] {
        twin::run(&mut db, format!("DROP SCHEMA IF EXISTS {} CASCADE", schema.name())).await?;
    }
    Ok(db.close().await?)
}

/// What must be the same for a replay to be gone on with.
fn plan(views: &[&'static dyn Projection], course: &Course<'_>, until: Option<Position>) -> String {
    let names: Vec<&str> = views.iter().map(|view| view.name()).collect();
    let until = until.map_or_else(|| "head".to_owned(), |until| until.to_string());
    format!("{} of {} until {until}", course.build, names.join(", "))
}

impl Shadow {
    /// Rows and checkpoint of a view are committed together, so one snapshot has both.
    async fn compare(&mut self, course: &Course<'_>) -> Result<Report, Error> {
        let Self { db, filling } = self;
        let views = filling.views();
        // Most of the work, without a long transaction.
        let standing = positions(db, &views).await?;
        filling.fold(db, &standing, course).await?;
        let mut tx = db.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        let standing = positions(&mut tx, &views).await?;
        filling.fold(&mut tx, &standing, course).await?;
        let mut report = Report { views: vec![] };
        for view in views {
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
