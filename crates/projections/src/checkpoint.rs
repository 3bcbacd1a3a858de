//! How far views have come, and waiting for them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::Position;
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor, PgPool};
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use crate::{Error, Projection, all_views};

/// How often a waiting query looks again: at first, and at last.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// How far a view has come.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Projection)]
pub struct Lag {
    /// The view.
    pub name: String,
    /// `running`, or `parked` when an event stands in its way.
    pub state: String,
    /// The last position it took in.
    pub position: Position,
    /// How many events it is behind.
    pub events_behind: i64,
    /// How many seconds ago the first event was decided that it has not taken in; 0 if there is
    /// none.
    pub seconds_behind: f64,
    /// How many events a second it takes in, averaged over about ten seconds.
    pub events_per_second: f64,
    /// In how many seconds it will be at the end of the log at that rate; none while it stands
    /// still.
    pub seconds_left: Option<f64>,
    /// When it last moved.
    pub updated_at: DateTime<Utc>,
}

/// What the database knows of a view.
#[derive(sqlx::FromRow)]
struct Place {
    name: String,
    state: String,
    position: Position,
    head: Position,
    behind_since: Option<DateTime<Utc>>,
    rate: f64,
    updated_at: DateTime<Utc>,
    asked_at: DateTime<Utc>,
}

impl From<Place> for Lag {
    fn from(place: Place) -> Self {
        /// A rate below which a view counts as standing still, in events a second.
        const SLOWEST: f64 = 0.01;
        let events_behind = (place.head - place.position).max(0);
        let since = place.behind_since.filter(|_| events_behind > 0);
        let seconds = |since: DateTime<Utc>| (place.asked_at - since).as_seconds_f64().max(0.0);
        let rounded = |number: f64| (number * 1000.0).round() / 1000.0;
        let moves = place.state == "running" && place.rate >= SLOWEST;
        #[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^53 events")]
        let left = events_behind as f64 / place.rate;
        Self {
            events_behind,
            seconds_behind: rounded(since.map_or(0.0, seconds)),
            events_per_second: rounded(place.rate),
            seconds_left: if events_behind == 0 { Some(0.0) } else { moves.then(|| rounded(left)) },
            name: place.name,
            state: place.state,
            position: place.position,
            updated_at: place.updated_at,
        }
    }
}

/// How far all views have come, by name.
pub async fn lag(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Lag>> {
    let places: Vec<Place> =
        sqlx::query_as("SELECT *, now() AS asked_at FROM rm.lag()").fetch_all(db).await?;
    Ok(places.into_iter().map(Lag::from).collect())
}

/// Why views are parked: the event in the way of each, and what is wrong with it, by name.
///
/// It may say what is in events of any tenant: for whoever runs the installation.
pub async fn parked(db: impl PgExecutor<'_>) -> sqlx::Result<BTreeMap<String, String>> {
    let sql = "SELECT name, coalesce(error, '') FROM rm.projection WHERE state = 'parked'";
    let rows: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(db).await?;
    Ok(rows.into_iter().collect())
}

/// The last position that a view took in; 0 if it never ran.
pub async fn position_of(pool: &PgPool, view: &str) -> Result<Position, Error> {
    let position = sqlx::query_scalar("SELECT position FROM rm.projection WHERE name = $1")
        .bind(view)
        .fetch_optional(pool)
        .await?;
    Ok(position.unwrap_or(0))
}

/// Waits until all of these views (all there are, if none is named) have taken in `position`;
/// whether they have. A parked view is not waited for, because it will not move.
pub async fn wait_for(
    pool: &PgPool,
    views: &[&str],
    position: Position,
    timeout: Duration,
) -> Result<bool, Error> {
    let names: Vec<&str> = named(views)?.iter().map(|view| view.name()).collect();
    let until = Instant::now() + timeout;
    let (mut pause, longest) = LOOK_AGAIN;
    loop {
        let (there, parked): (i64, bool) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE position >= $2),
                 coalesce(bool_or(state = 'parked' AND position < $2), false)
             FROM rm.projection WHERE name = ANY ($1)",
        )
        .bind(&names)
        .bind(position)
        .fetch_one(pool)
        .await?;
        if usize::try_from(there) == Ok(names.len()) {
            return Ok(true);
        }
        if parked || Instant::now() + pause > until {
            return Ok(false);
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Lets a parked view try again.
pub async fn unpark(pool: &PgPool, view: &str) -> Result<(), Error> {
    let sql = "UPDATE rm.projection SET state = 'running', error = NULL, updated_at = now()
               WHERE name = $1";
    let done = sqlx::query(sql).bind(view).execute(pool).await?;
    if done.rows_affected() == 0 { Err(Error::UnknownView(view.to_owned())) } else { Ok(()) }
}

/// The views of these names; all if there are none.
pub(crate) fn named<S: AsRef<str>>(names: &[S]) -> Result<Vec<&'static dyn Projection>, Error> {
    if names.is_empty() {
        return Ok(all_views().to_vec());
    }
    let find = |name: &S| {
        let found = all_views().iter().find(|view| view.name() == name.as_ref());
        found.copied().ok_or_else(|| Error::UnknownView(name.as_ref().to_owned()))
    };
    names.iter().map(find).collect()
}

/// Makes checkpoints for views that have none.
pub(crate) async fn begin(db: impl PgExecutor<'_>, names: &[&str]) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO rm.projection (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING")
        .bind(names)
        .execute(db)
        .await
        .map(drop)
}

/// Where these views stand, and whether they run.
pub(crate) async fn known(
    db: impl PgExecutor<'_>,
    names: &[&str],
) -> sqlx::Result<HashMap<String, (Position, bool)>> {
    let sql = "SELECT name, position, state = 'running' FROM rm.projection WHERE name = ANY ($1)";
    let rows: Vec<(String, Position, bool)> = sqlx::query_as(sql).bind(names).fetch_all(db).await?;
    Ok(rows.into_iter().map(|(name, position, runs)| (name, (position, runs))).collect())
}

/// Tells whether a checkpoint was written since: the transaction that wrote it last, and when. Its number alone
/// does not, because a server that has lost its end gives numbers out again.
pub(crate) type Stamp = (i64, DateTime<Utc>);

/// Takes the checkpoint of a view that runs and stands at `at`, unless somebody else has it.
pub(crate) async fn take(
    db: &mut PgConnection,
    name: &str,
    at: Position,
) -> sqlx::Result<Option<Stamp>> {
    Ok(take_all(db, &[name], at).await?.remove(name))
}

/// Takes the checkpoints of these views that run and stand at `at`, but for those that somebody else
/// has; which of them.
pub(crate) async fn take_all(
    db: &mut PgConnection,
    names: &[&str],
    at: Position,
) -> sqlx::Result<BTreeMap<String, Stamp>> {
    let taken: Vec<(String, i64, DateTime<Utc>)> = sqlx::query_as(
        "SELECT name, xmin::text::bigint, updated_at FROM rm.projection
         WHERE name = ANY ($1) AND position = $2 AND state = 'running'
         FOR UPDATE SKIP LOCKED",
    )
    .bind(names)
    .bind(at)
    .fetch_all(db)
    .await?;
    Ok(taken.into_iter().map(|(name, by, at)| (name, (by, at))).collect())
}

/// Takes checkpoints, waiting for whoever has them.
pub(crate) async fn hold(db: &mut PgConnection, names: &[&str]) -> sqlx::Result<()> {
    sqlx::query("SELECT FROM rm.projection WHERE name = ANY ($1) ORDER BY name FOR UPDATE")
        .bind(names)
        .execute(db)
        .await
        .map(drop)
}

/// Moves a checkpoint that was taken; parks the view if there is a reason.
pub(crate) async fn advance(
    db: &mut PgConnection,
    name: &str,
    to: Position,
    parked: Option<&str>,
) -> sqlx::Result<Stamp> {
    let state = if parked.is_some() { "parked" } else { "running" };
    sqlx::query_as(
        "UPDATE rm.projection
         SET rate = rm.smoothed(rate, $2 - position, now() - updated_at),
             position = $2, state = $3, error = $4, updated_at = now()
         WHERE name = $1
         RETURNING xmin::text::bigint, updated_at",
    )
    .bind(name)
    .bind(to)
    .bind(state)
    .bind(parked)
    .fetch_one(db)
    .await
}

/// A checkpoint that was moved past events that do not concern its view.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) name: String,
    pub(crate) before: Stamp,
    pub(crate) after: Stamp,
}

/// Moves the checkpoints of views that nothing between the two positions concerns, but for those
/// that somebody else has taken.
pub(crate) async fn pass(
    db: impl PgExecutor<'_>,
    names: &[&str],
    from: Position,
    to: Position,
) -> sqlx::Result<Vec<Passed>> {
    type Row = (String, i64, DateTime<Utc>, i64, DateTime<Utc>);
    let passed: Vec<Row> = sqlx::query_as(
        "UPDATE rm.projection AS p
         SET rate = rm.smoothed(rate, $3 - position, now() - updated_at),
             position = $3, updated_at = now()
         FROM (
             SELECT name, xmin::text::bigint AS by, updated_at AS at FROM rm.projection
             WHERE name = ANY ($1) AND position = $2 AND state = 'running'
             FOR UPDATE SKIP LOCKED) AS mine
         WHERE p.name = mine.name
         RETURNING p.name, mine.by, mine.at, p.xmin::text::bigint, p.updated_at",
    )
    .bind(names)
    .bind(from)
    .bind(to)
    .fetch_all(db)
    .await?;
    let passed = passed.into_iter().map(|(name, by, at, now_by, now)| Passed {
        name,
        before: (by, at),
        after: (now_by, now),
    });
    Ok(passed.collect())
}
