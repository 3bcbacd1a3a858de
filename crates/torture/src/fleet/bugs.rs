//! Bugs of engines on purpose, planted in the private database: the product has none of it.

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, PgConnection};

use super::Fault;
use crate::bugs::function;
use crate::check::Invariant;

/// A bug, and what must notice it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bug {
    /// How it is called.
    pub(crate) name: &'static str,
    plant: Plant,
    /// What happens while it runs.
    pub(crate) faults: &'static [Fault],
    /// For how long, in seconds.
    pub(crate) seconds: u64,
    /// What must be found broken.
    pub(crate) breaks: Invariant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    /// The log takes every epoch for the newest.
    AnyEpoch,
    /// What is stored of a call has its wait's number for a key, as if each attempt were the first.
    NewKeys,
    /// One engine reads the time from a clock of its own, which is an hour ahead.
    OwnClock,
}

/// All of them.
pub(crate) const BUGS: [Bug; 3] = [
    Bug {
        name: "lease without epoch check",
        plant: Plant::AnyEpoch,
        faults: &[Fault::FreezeEngine],
        seconds: 12,
        breaks: Invariant::I17,
    },
    Bug {
        name: "new key while the outcome is unknown",
        plant: Plant::NewKeys,
        faults: &[Fault::KillEngine],
        seconds: 6,
        breaks: Invariant::I11,
    },
    Bug {
        name: "timer on the worker's clock",
        plant: Plant::OwnClock,
        faults: &[Fault::KillEngine],
        seconds: 6,
        breaks: Invariant::I12,
    },
];

impl Bug {
    /// Plants it in a migrated database.
    pub(super) async fn plant(&self, db: &mut PgConnection) -> Result<()> {
        match self.plant {
            Plant::AnyEpoch => {
                replace(db, "append", OF_MANY).await?;
                replace(db, "append_one", OF_ONE).await
            }
            Plant::NewKeys => Ok(sqlx::raw_sql(NEW_KEYS).execute(db).await.map(drop)?),
            Plant::OwnClock => Ok(sqlx::raw_sql(OWN_CLOCK).execute(db).await.map(drop)?),
        }
    }

    /// Whether some of what was begun is never over.
    pub(super) fn leaves_open(&self) -> bool {
        // What the one whose clock is ahead puts down for later is an hour away for the others.
        self.plant == Plant::OwnClock
    }

    /// How one of the engines connects to the database at a URL.
    pub(super) fn url(&self, url: &str) -> String {
        match self.plant {
            // Whatever it asks for by a plain name it finds in the schema of the bug first.
            Plant::OwnClock => {
                format!("{url}&options=-c%20search_path%3Dtorture%2Cpg_catalog%2Cpublic")
            }
            Plant::AnyEpoch | Plant::NewKeys => url.to_owned(),
        }
    }
}

const OF_MANY: (&str, &str) =
    ("WHERE u.epoch IS NOT NULL AND u.epoch IS DISTINCT FROM f.epoch", "WHERE false");
const OF_ONE: (&str, &str) = ("IF s_epoch IS NOT NULL THEN", "IF false THEN");

/// Makes a function of the log anew, with something else in a place.
async fn replace(db: &mut PgConnection, name: &str, (is, becomes): (&str, &str)) -> Result<()> {
    let made = function(db, name).await?;
    ensure!(made.matches(is).count() == 1, "es.{name} has changed: {made}");
    let spoiled = made.replace(is, becomes);
    sqlx::raw_sql(AssertSqlSafe(spoiled)).execute(db).await?;
    Ok(())
}

/// Its own number is what the key of a first attempt is, so every attempt is a first one.
const NEW_KEYS: &str = r#"
    CREATE FUNCTION es.torture() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.body := convert_to(regexp_replace(convert_from(NEW.body, 'UTF8'),
            '("id":)(\d+)(,"run":\d+,"since":"[^"]*","task":"[^"]*","what":\{"call":\{"key":")\d+"',
            '\1\2\3\2"', 'g'), 'UTF8');
        RETURN NEW;
    END $$;
    CREATE TRIGGER torture BEFORE INSERT ON es.event
        FOR EACH ROW WHEN (NEW.name = 'execution.turn_taken') EXECUTE FUNCTION es.torture()"#;

/// Only what asks for nothing but the time is told another one: leases stay right.
const OWN_CLOCK: &str = "
    CREATE SCHEMA torture;
    GRANT USAGE ON SCHEMA torture TO PUBLIC;
    CREATE FUNCTION torture.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
        SELECT pg_catalog.clock_timestamp() + CASE pg_catalog.current_query()
            WHEN 'SELECT clock_timestamp()' THEN interval '1 hour' ELSE interval '0' END
    $$";
