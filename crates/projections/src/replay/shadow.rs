//! Tables beside the live ones, and folding the log into them.

use std::sync::Arc;

use eventstore::{EventStore, Position, ReadAhead, Span};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Postgres};

use super::{Course, Positions, Progress, position_in, twin};
use crate::batch::{self, Batch};
use crate::storage::{Memory, Schema, Table, Tables};
use crate::{Error, Projection, runner};

/// How many events are read at once. Tests have short histories.
const BATCH: usize = if cfg!(test) { 3 } else { batch::BATCH };
/// After how many events rows are written. Tests have short histories.
const FLUSH_EVENTS: usize = if cfg!(test) { 5 } else { 20_000 };
/// After how many bytes of bodies rows are written: what is in memory is several times as much.
const FLUSH_BYTES: usize = 24 << 20;

/// Tables of some views in a schema of their own, being filled.
pub(super) struct Shadow {
    /// A connection of its own. Closing it lets go of the lock, however this ends.
    pub(super) db: PoolConnection<Postgres>,
    pub(super) filling: Filling,
}

/// How far the tables are filled, and what of that is not in them yet.
pub(super) struct Filling {
    pub(super) schema: Schema,
    log: Arc<dyn EventStore>,
    views: Vec<Standing>,
    memory: Memory,
    /// How many events, and bytes of bodies, are in memory only.
    held: (usize, usize),
}

/// A view and the last position that was folded for it.
struct Standing {
    view: &'static dyn Projection,
    at: Position,
}

impl Shadow {
    /// Opens the tables of some views in a schema. What is there is gone on with if it was begun
    /// with the same plan; else it is removed, and the tables are made.
    pub(super) async fn begin(
        pool: &PgPool,
        log: Arc<dyn EventStore>,
        schema: Schema,
        views: &[&'static dyn Projection],
        plan: Option<&str>,
    ) -> Result<Self, Error> {
        let mut db = alone(pool).await?;
        // Losing what can be replayed costs nothing.
        twin::run(&mut db, "SET synchronous_commit = off".to_owned()).await?;
        let filling = Filling::new(schema, log, views);
        let mut shadow = Self { db, filling };
        match plan {
            Some(plan) if shadow.is_of(plan).await? => {
                shadow.filling.recall(&mut shadow.db).await?;
            }
            plan => shadow.make(plan).await?,
        }
        Ok(shadow)
    }

    /// Opens tables that were filled before.
    pub(super) async fn reopen(
        pool: &PgPool,
        log: Arc<dyn EventStore>,
        schema: Schema,
        views: &[&'static dyn Projection],
    ) -> Result<Self, Error> {
        let mut db = alone(pool).await?;
        let mut filling = Filling::new(schema, log, views);
        filling.recall(&mut db).await?;
        Ok(Self { db, filling })
    }

    async fn is_of(&mut self, plan: &str) -> sqlx::Result<bool> {
        let schema = self.filling.schema.name();
        let sql = "SELECT to_regclass(format('%I.plan', $1::text)) IS NOT NULL";
        if !sqlx::query_scalar(sql).bind(schema).fetch_one(&mut *self.db).await? {
            return Ok(false);
        }
        let found = format!("SELECT plan FROM {schema}.plan");
        let found: Option<String> =
            sqlx::query_scalar(AssertSqlSafe(found)).fetch_one(&mut *self.db).await?;
        Ok(found.as_deref() == Some(plan))
    }

    async fn make(&mut self, plan: Option<&str>) -> sqlx::Result<()> {
        let schema = self.filling.schema;
        let name = schema.name();
        let mut tx = self.db.begin().await?;
        twin::run(&mut tx, format!("DROP SCHEMA IF EXISTS {name} CASCADE")).await?;
        twin::run(&mut tx, format!("CREATE SCHEMA {name}")).await?;
        // What nobody goes on with after a crash need not survive one.
        let is_logged = plan.is_some();
        for table in self.filling.tables() {
            twin::make(&mut tx, schema, &table, is_logged).await?;
        }
        make_standing(&mut tx, schema).await?;
        twin::run(&mut tx, format!("CREATE TABLE {name}.plan (plan text)")).await?;
        sqlx::query(AssertSqlSafe(format!("INSERT INTO {name}.plan VALUES ($1)")))
            .bind(plan)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Removes the tables and lets others go.
    pub(super) async fn remove(mut self) -> Result<(), Error> {
        twin::run(&mut self.db, format!("DROP SCHEMA {} CASCADE", self.filling.schema.name()))
            .await?;
        self.close().await
    }

    /// Lets others go; the tables stay.
    pub(super) async fn close(mut self) -> Result<(), Error> {
        sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut *self.db).await?;
        Ok(self.db.close().await?)
    }
}

/// A connection on which nobody else replays at the same time.
pub(super) async fn alone(pool: &PgPool) -> Result<PoolConnection<Postgres>, Error> {
    let mut db = pool.acquire().await?;
    db.close_on_drop();
    let locked = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('everstep replay'))");
    if locked.fetch_one(&mut *db).await? { Ok(db) } else { Err(Error::Busy) }
}

/// Makes the table that says how far the others are filled.
pub(super) async fn make_standing(db: &mut PgConnection, schema: Schema) -> sqlx::Result<()> {
    twin::run(
        db,
        format!(
            "CREATE TABLE IF NOT EXISTS {}.standing (view text PRIMARY KEY, position bigint)",
            schema.name()
        ),
    )
    .await
}

/// Notes how far tables are filled.
pub(super) async fn note_standing(
    db: &mut PgConnection,
    schema: Schema,
    views: &[(&str, Position)],
) -> sqlx::Result<()> {
    let (names, positions): (Vec<&str>, Vec<Position>) = views.iter().copied().unzip();
    let sql = format!(
        "INSERT INTO {}.standing SELECT * FROM unnest($1::text[], $2::bigint[])
         ON CONFLICT (view) DO UPDATE SET position = excluded.position",
        schema.name()
    );
    sqlx::query(AssertSqlSafe(sql)).bind(names).bind(positions).execute(db).await.map(drop)
}

/// How far tables are filled.
pub(super) async fn standing(db: &mut PgConnection, schema: Schema) -> sqlx::Result<Positions> {
    let sql = format!("SELECT view, position FROM {}.standing", schema.name());
    let rows: Vec<(String, Position)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(db).await?;
    Ok(rows.into_iter().collect())
}

impl Filling {
    fn new(schema: Schema, log: Arc<dyn EventStore>, views: &[&'static dyn Projection]) -> Self {
        let views = views.iter().map(|view| Standing { view: *view, at: 0 }).collect();
        Self { schema, log, views, memory: Memory::of_empty_tables(), held: (0, 0) }
    }

    /// Goes on from what the tables have, as the database knows it.
    pub(super) async fn recall(&mut self, db: &mut PgConnection) -> sqlx::Result<()> {
        let standing = standing(db, self.schema).await?;
        for one in &mut self.views {
            one.at = position_in(&standing, one.view);
        }
        if self.views.iter().any(|one| one.at > 0) {
            self.memory = Memory::of_filled_tables();
        }
        self.held = (0, 0);
        Ok(())
    }

    /// The position that every view has reached.
    pub(super) fn first(&self) -> Position {
        self.views.iter().map(|one| one.at).min().unwrap_or(0)
    }

    pub(super) fn log(&self) -> &dyn EventStore {
        &*self.log
    }

    pub(super) fn views(&self) -> Vec<&'static dyn Projection> {
        self.views.iter().map(|one| one.view).collect()
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        self.views.iter().map(|one| one.view.name()).collect()
    }

    pub(super) fn tables(&self) -> Vec<Table> {
        self.views.iter().flat_map(|one| one.view.tables()).copied().collect()
    }

    /// Folds the log into the tables, up to a position for each view.
    pub(super) async fn fold(
        &mut self,
        db: &mut PgConnection,
        target: &Positions,
        course: &Course<'_>,
    ) -> Result<(), Error> {
        let total = target.values().copied().max().unwrap_or(0);
        let behind = self.views.iter().filter(|one| one.at < position_in(target, one.view));
        let Some(after) = behind.map(|one| one.at).min() else { return Ok(()) };
        let span = Span { after, upto: total, page: BATCH, rate: course.rate };
        let mut ahead = ReadAhead::start(self.log.clone(), span, Batch::of);
        while let Some(Some(batch)) = ahead.next().await? {
            for one in &mut self.views {
                let upto = position_in(target, one.view).min(batch.last);
                if upto <= one.at {
                    continue;
                }
                let share = batch.share(one.view, one.at, upto);
                let mut tables = Tables::held(db, self.schema, &mut self.memory);
                runner::apply(one.view, &mut tables, &share.events).await?;
                one.at = share.upto;
                if let Some(reason) = share.stop {
                    return Err(Error::Stuck { view: one.view.name(), after: one.at, reason });
                }
            }
            self.held.0 += batch.len();
            self.held.1 += batch.bytes;
            if self.held.0 >= FLUSH_EVENTS || self.held.1 >= FLUSH_BYTES {
                self.flush(db).await?;
            }
            (course.progress)(Progress { done: batch.last.min(total), total });
        }
        self.flush(db).await?;
        Ok(())
    }

    /// Writes what is in memory only, and how far that goes, in one transaction.
    async fn flush(&mut self, db: &mut PgConnection) -> sqlx::Result<()> {
        let mut tx = db.begin().await?;
        self.memory.flush(&mut tx, self.schema).await?;
        let standing: Vec<_> = self.views.iter().map(|one| (one.view.name(), one.at)).collect();
        note_standing(&mut tx, self.schema, &standing).await?;
        tx.commit().await?;
        self.held = (0, 0);
        Ok(())
    }
}
