//! What time it is, and new ids: the one place where either is made.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use domain::Timestamp;
use sqlx::PgPool;
use uuid::{NoContext, Uuid};

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
    /// A clock that was just set by the database.
    pub async fn of(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let clock = Self { reading: Arc::new(Mutex::new(read(pool).await?)) };
        Ok(clock)
    }

    /// A clock that stands still, for tests and simulations.
    #[must_use]
    pub fn fixed(time: Timestamp) -> Self {
        Self { reading: Arc::new(Mutex::new(Reading { time, taken: None })) }
    }

    /// Sets it by the database again; to be done every second or so, because no two clocks run
    /// at the same speed.
    pub async fn set(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let reading = read(pool).await?;
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = reading;
        Ok(())
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

async fn read(pool: &PgPool) -> Result<Reading, sqlx::Error> {
    let taken = Instant::now();
    let time = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await?;
    Ok(Reading { time, taken: Some(taken) })
}
