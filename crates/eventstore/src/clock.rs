//! What time it is, and new ids: the one place where either is made.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use domain::Timestamp;
use sqlx::PgPool;
use uuid::{NoContext, Uuid};

/// How often a clock is set by the database.
const SET_EVERY: Duration = Duration::from_secs(1);

/// The database's time, kept between two readings by a clock that nobody sets.
///
/// All processes of an installation share the database, so they agree on the time however wrong
/// the clocks of their machines are, and stepping such a clock moves no timer.
#[derive(Debug, Clone)]
pub struct Clock {
    reading: Arc<Mutex<Reading>>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    time: Timestamp,
    taken: Option<Instant>,
}

impl Clock {
    /// A clock that is set by the database, now and every second for as long as anybody has it.
    pub async fn of(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let reading = Arc::new(Mutex::new(read(pool).await?));
        tokio::spawn(keep(Arc::downgrade(&reading), pool.clone()));
        Ok(Self { reading })
    }

    /// A clock that stands still until it is set, for tests and simulations.
    #[must_use]
    pub fn fixed(time: Timestamp) -> Self {
        Self { reading: Arc::new(Mutex::new(Reading { time, taken: None })) }
    }

    /// Sets a clock that stands still; one that the database sets is set right within a second.
    pub fn set(&self, time: Timestamp) {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) =
            Reading { time, taken: None };
    }

    /// What time it is, to the microsecond (as the database keeps it).
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let Reading { time, taken } = *self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = taken.map(|taken| taken.elapsed()).unwrap_or_default();
        let micros = i64::try_from(passed.as_micros()).unwrap_or(i64::MAX);
        time + chrono::TimeDelta::microseconds(micros)
    }

    /// A new id (UUID version 7, RFC 9562): new ones sort after old ones.
    #[must_use]
    pub fn id(&self) -> Uuid {
        let now = self.now();
        let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
        Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos()))
    }
}

/// Sets a clock again and again, because no two clocks run at the same speed, and because this
/// process may be put to sleep.
async fn keep(clock: Weak<Mutex<Reading>>, pool: PgPool) {
    loop {
        tokio::time::sleep(SET_EVERY).await;
        if clock.strong_count() == 0 || pool.is_closed() {
            return;
        }
        match (read(&pool).await, clock.upgrade()) {
            (Ok(reading), Some(clock)) => {
                *clock.lock().unwrap_or_else(PoisonError::into_inner) = reading;
            }
            (Err(error), Some(_)) => tracing::debug!(%error, "the clock runs on by itself"),
            (_, None) => return,
        }
    }
}

async fn read(pool: &PgPool) -> Result<Reading, sqlx::Error> {
    let time = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await?;
    // Taken after the answer: the clock may lag by its journey, but it never runs ahead, so no
    // timer fires early.
    Ok(Reading { time, taken: Some(Instant::now()) })
}
