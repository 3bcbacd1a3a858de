//! Putting tables that were filled in the place of the live ones.

use std::time::Duration;

use eventstore::Position;
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

use super::shadow::{Filling, Shadow, make_standing, note_standing};
use super::{Course, Positions, position_in, positions, twin};
use crate::storage::Schema;
use crate::{Error, checkpoint};

/// How often the locks are asked for, and how long each time: whoever reads waits that long at most.
const ATTEMPTS: u32 = 40;
const PATIENCE: &str = "SET LOCAL lock_timeout = '400ms'";
/// How long to wait before the next attempt.
const PAUSE: Duration = Duration::from_millis(250);
/// With how few events left to fold the live views are held: a moment's work.
const NEAR: Position = 2_000;

impl Shadow {
    /// Folds the rest of the log and exchanges the tables, while reads and writes go on. Returns
    /// the position of the new live ones.
    pub(super) async fn switch(&mut self, course: &Course<'_>) -> Result<Position, Error> {
        let Self { db, filling } = self;
        catch_up(db, filling, course).await?;
        for table in filling.tables() {
            twin::finish(db, filling.schema, &table).await?;
        }
        for _ in 0..ATTEMPTS {
            catch_up(db, filling, course).await?;
            match exchange(db, filling, course).await {
                Err(Error::Database(error)) if is_lock_timeout(&error) => {
                    filling.recall(db).await?;
                    sleep(PAUSE).await;
                }
                done => return done,
            }
        }
        Err(Error::Locked)
    }
}

/// Folds until little is left.
async fn catch_up(
    db: &mut PgConnection,
    filling: &mut Filling,
    course: &Course<'_>,
) -> Result<(), Error> {
    loop {
        let head = filling.log().head().await?;
        if head - filling.first() <= NEAR && filling.first() > 0 || head == 0 {
            return Ok(());
        }
        filling.fold(db, &all_at(filling, head), course).await?;
        if filling.first() == head {
            return Ok(());
        }
    }
}

async fn exchange(
    db: &mut PgConnection,
    filling: &mut Filling,
    course: &Course<'_>,
) -> Result<Position, Error> {
    let mut tx = db.begin().await?;
    let done = exchange_in(&mut tx, filling, course).await;
    // Not left to the drop, which would hold the checkpoints for a while.
    match done {
        Ok(head) => tx.commit().await.map(|()| head).map_err(Error::from),
        Err(error) => tx.rollback().await.map_err(Error::from).and(Err(error)),
    }
}

async fn exchange_in(
    tx: &mut PgConnection,
    filling: &mut Filling,
    course: &Course<'_>,
) -> Result<Position, Error> {
    let (views, names) = (filling.views(), filling.names());
    twin::run(tx, "SET LOCAL synchronous_commit = on".to_owned()).await?;
    twin::run(tx, PATIENCE.to_owned()).await?;
    checkpoint::begin(&mut *tx, &names).await?;
    // From here on no projector moves them.
    checkpoint::hold(tx, &names).await?;
    let before = positions(tx, &views).await?;
    let head = filling.log().head().await?;
    filling.fold(tx, &all_at(filling, head), course).await?;
    twin::exchange(tx, filling.schema, &filling.tables()).await?;
    make_standing(tx, Schema::Old).await?;
    let old: Vec<_> = views.iter().map(|view| (view.name(), position_in(&before, *view))).collect();
    note_standing(tx, Schema::Old, &old).await?;
    for name in names {
        checkpoint::advance(tx, name, head, None).await?;
    }
    if filling.schema == Schema::Replay {
        twin::run(tx, format!("DROP SCHEMA {} CASCADE", Schema::Replay.name())).await?;
    }
    Ok(head)
}

fn all_at(filling: &Filling, position: Position) -> Positions {
    filling.names().into_iter().map(|name| (name.to_owned(), position)).collect()
}

/// SQLSTATE 55P03, `lock_not_available`; a deadlock (40P01) is over when one of both gives way.
fn is_lock_timeout(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code == "55P03" || code == "40P01")
}
