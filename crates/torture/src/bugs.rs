//! Bugs on purpose. A checker that does not find them proves nothing by finding nothing else. They
//! are planted in the private database, in its settings or in the client; the product has none.

use anyhow::{Result, ensure};
use eventstore::{EventStore, PgEventStore};
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

use crate::check::Invariant;
use crate::cluster::Cluster;
use crate::nemesis::{Fault, OF_DISKS};

/// How a tail reader asks for what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Reading {
    /// As Everstep does.
    Store,
    /// A planted bug: whatever has a greater position.
    Position,
    /// A planted bug: the same, below the horizon of open transactions.
    PositionAndXmin,
}

impl Reading {
    /// The next page of at most `limit` events after `at`.
    pub(crate) async fn page(
        self,
        store: &PgEventStore,
        pool: &PgPool,
        at: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Uuid)>> {
        let sql = match self {
            Self::Store => {
                let events = store.read(at, limit).await?;
                return Ok(events.iter().map(|event| (event.position, event.id)).collect());
            }
            Self::Position => {
                "SELECT position, id FROM es.event WHERE log_id = 1 AND position > $1
                 ORDER BY position LIMIT $2"
            }
            Self::PositionAndXmin => {
                "SELECT position, id FROM es.event WHERE log_id = 1 AND position > $1
                     AND xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
                 ORDER BY position LIMIT $2"
            }
        };
        Ok(sqlx::query_as(sql).bind(at).bind(i64::try_from(limit)?).fetch_all(pool).await?)
    }
}

/// A bug, where it is planted, and what must notice it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bug {
    /// How it is called.
    pub(crate) name: &'static str,
    /// Settings of the server.
    pub(crate) settings: &'static [&'static str],
    /// What is done to the migrated database.
    pub(crate) spoil: Spoil,
    /// How readers read.
    pub(crate) reading: Reading,
    /// Whether clients say "stored" first.
    pub(crate) answers_first: bool,
    /// What happens while it runs.
    pub(crate) faults: &'static [Fault],
    /// What must be found broken, each of them.
    pub(crate) breaks: &'static [Invariant],
}

/// What is done to `es.append` and the tables below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoil {
    /// Nothing.
    Nothing,
    /// Positions come from a sequence and nobody holds the log.
    Sequence,
    /// Nobody holds the log, and no index keeps versions and positions apart.
    NoUnique,
}

/// No bug.
pub(crate) const NONE: Bug = Bug {
    name: "none",
    settings: &[],
    spoil: Spoil::Nothing,
    reading: Reading::Store,
    answers_first: false,
    faults: &[],
    breaks: &[],
};

/// All of them.
pub(crate) const ALL: [Bug; 6] = [
    Bug {
        name: "ack before commit",
        answers_first: true,
        faults: &[Fault::KillClient],
        breaks: &[Invariant::I1],
        ..NONE
    },
    Bug {
        name: "sequence-ordered reader",
        spoil: Spoil::Sequence,
        reading: Reading::Position,
        breaks: &[Invariant::I7],
        ..NONE
    },
    Bug {
        name: "position + xmin reader",
        spoil: Spoil::Sequence,
        reading: Reading::PositionAndXmin,
        breaks: &[Invariant::I7],
        ..NONE
    },
    Bug {
        name: "no unique (stream, version)",
        spoil: Spoil::NoUnique,
        breaks: &[Invariant::I3, Invariant::I4],
        ..NONE
    },
    Bug {
        name: "synchronous_commit off",
        settings: &["synchronous_commit=off", "wal_writer_delay=10s"],
        faults: &[Fault::KillPostgres],
        breaks: &[Invariant::I1],
        ..NONE
    },
    Bug {
        name: "fsync off",
        settings: &["fsync=off"],
        faults: &[Fault::CutPower],
        breaks: &[Invariant::I1],
        ..NONE
    },
];

const LOCK: &str = "SELECT l.position, l.recorded_at INTO STRICT head, recorded
        FROM es.log l WHERE l.log_id = p_log FOR UPDATE;";

impl Bug {
    /// Whether it is to be looked for on a disk of its own.
    pub(crate) fn needs_disk(&self) -> bool {
        self.faults.iter().any(|fault| OF_DISKS.contains(fault))
    }
}

impl Spoil {
    /// Plants it in a migrated database.
    pub(crate) async fn plant(self, cluster: &Cluster) -> Result<()> {
        if self == Self::Nothing {
            return Ok(());
        }
        let mut db = cluster.connect().await?;
        let append = function(&mut db, "append").await?;
        ensure!(append.contains(LOCK), "es.append has changed: {append}");
        // A slow transaction now and then; the product's own lock would hold up the others.
        let lock = match self {
            Self::Nothing | Self::NoUnique => LOCK.replace(" FOR UPDATE", ""),
            Self::Sequence => "head := nextval('es.torture');
                IF random() < 0.1 THEN PERFORM pg_sleep(0.03); END IF;"
                .to_owned(),
        };
        let append = append.replace(LOCK, &lock);
        sqlx::raw_sql("CREATE SEQUENCE es.torture INCREMENT BY 4000 START WITH 4000")
            .execute(&mut db)
            .await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(append)).execute(&mut db).await?;
        // The short way holds the log by its first statement: it is closed, and all go the long one.
        let one = function(&mut db, "append_one").await?;
        let closed = one.replacen("BEGIN", "BEGIN RETURN;", 1);
        sqlx::raw_sql(sqlx::AssertSqlSafe(closed)).execute(&mut db).await?;
        if self == Self::NoUnique {
            sqlx::raw_sql(UNIQUES).execute(&mut db).await?;
        }
        db.close().await?;
        Ok(())
    }
}

/// How a function of the log was made; the one that this release calls takes the most arguments.
pub(crate) async fn function(db: &mut PgConnection, name: &str) -> Result<String> {
    let made = sqlx::query_scalar(
        "SELECT pg_get_functiondef(oid) FROM pg_proc
         WHERE pronamespace = 'es'::regnamespace AND proname = $1
         ORDER BY pronargs DESC LIMIT 1",
    );
    Ok(made.bind(name).fetch_one(db).await?)
}

/// Drops every unique index on events, and keeps plain ones in their place.
const UNIQUES: &str = "
    ALTER TABLE es.event DROP CONSTRAINT event_pkey;
    DO $$
    DECLARE found regclass;
    BEGIN
        FOR found IN SELECT i.indexrelid FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
            WHERE i.indisunique AND c.relnamespace = 'es'::regnamespace
                AND c.relname LIKE 'event\\_%' LOOP
            EXECUTE format('DROP INDEX %s', found);
        END LOOP;
    END $$;
    CREATE INDEX ON es.event (log_id, position);
    CREATE INDEX ON es.event (log_id, stream, version);";
