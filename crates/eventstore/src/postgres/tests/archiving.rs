//! Partitions that become files: nothing that reads the log sees a difference.

use std::path::Path;

use domain::Id;
use parquet::file::reader::{FileReader, SerializedFileReader};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool};
use tempfile::TempDir;
use uuid::Uuid;

use super::{append, one, part, stream};
use crate::{
    ArchiveError, Error, EventStore, Expected, Filter, PgEventStore, Position, Recorded, StreamId,
    Version, archive, partitions,
};

/// How many positions a partition has here.
const WIDTH: Position = 20;

/// A log of 50 events in narrow partitions, in five streams of two categories and two tenants, one
/// of which has events everywhere; sealed up to its end.
async fn log(pool: &PgPool) -> PgEventStore {
    narrow(pool).await;
    let store = PgEventStore::new(pool.clone());
    let mut next = 1;
    for round in 0..10 {
        let mut parts = vec![part(stream(1), Expected::Any, next..next + 2)];
        let other = StreamId { category: "other", ..stream(2 + round % 3) };
        parts.push(part(other, Expected::Any, next + 2..next + 4));
        store.append(append(parts)).await.expect("appends");
        let mut theirs = one(9, Expected::Any, [next + 4]);
        theirs.meta.tenant = Id::from_uuid(Uuid::from_u128(2));
        theirs.streams[0].stream.tenant = theirs.meta.tenant;
        theirs.meta.traceparent = (round % 2 == 0).then(|| format!("00-{round}"));
        store.append(theirs).await.expect("appends");
        next += 5;
    }
    sqlx::query("UPDATE es.notary SET position = 50").execute(pool).await.unwrap();
    store
}

/// Makes the first partitions narrow: 1 to 20, 21 to 40, and one for all the rest.
async fn narrow(pool: &PgPool) {
    let old = (0..4).map(|nth| {
        format!(
            "ALTER TABLE es.event DETACH PARTITION es.event_{nth:04};
             DROP TABLE es.event_{nth:04};"
        )
    });
    let new = [(1, 21), (21, 41), (41, 1_000)].into_iter().enumerate();
    let new = new.map(|(nth, (first, end))| {
        format!(
            "CREATE TABLE es.event_{nth:04} (LIKE es.event INCLUDING DEFAULTS);
             CREATE UNIQUE INDEX ON es.event_{nth:04} (log_id, stream, version, category, tenant);
             ALTER TABLE es.event ATTACH PARTITION es.event_{nth:04}
                 FOR VALUES FROM ({first}) TO ({end});"
        )
    });
    let sql: String = old.chain(new).collect();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap();
}

async fn owner(options: &PgConnectOptions) -> PgConnection {
    options.connect().await.expect("connects")
}

fn told(events: &[Recorded]) -> Vec<String> {
    events.iter().map(|event| format!("{event:?}")).collect()
}

/// Everything that the store can be asked about the log.
async fn all(store: &PgEventStore) -> Vec<Vec<String>> {
    let mut answers = vec![];
    for after in 0..=50 {
        for limit in [1, 7, 20, 1_000] {
            answers.push(told(&store.read(after, limit).await.expect("reads")));
        }
    }
    let other = Some(vec!["other"]);
    let theirs = Some(Id::from_uuid(Uuid::from_u128(2)));
    for (tenant, categories) in [(None, other.clone()), (theirs, None), (theirs, other)] {
        let filter = Filter { tenant, categories };
        for limit in [1, 3, 1_000] {
            answers.push(told(&followed(store, &filter, limit).await));
        }
    }
    for id in 1..=9 {
        for category in ["thing", "other"] {
            let stream = StreamId { category, ..stream(id) };
            for (after, limit) in [(0, 1), (0, usize::MAX), (3, 2), (5, 1_000), (99, 5)] {
                answers.push(told(&store.load(stream, after, limit).await.expect("loads")));
            }
        }
    }
    answers
}

/// All events that pass a filter, as a subscription comes to see them.
async fn followed(store: &PgEventStore, filter: &Filter, limit: usize) -> Vec<Recorded> {
    let (mut found, mut after) = (vec![], 0);
    loop {
        let stretch = store.select(filter, after, limit).await.expect("selects");
        if stretch.upto == after {
            return found;
        }
        (after, found) = (stretch.upto, [found, stretch.events].concat());
    }
}

async fn archived(options: &PgConnectOptions, before: Position, dir: &Path) -> usize {
    let mut db = owner(options).await;
    let done = archive(&mut db, before, dir).await.expect("archives").len();
    db.close().await.unwrap();
    done
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nobody_sees_whether_events_are_in_the_table_or_in_files(pool: PgPool) {
    let (store, dir, options) =
        (log(&pool).await, TempDir::new().unwrap(), (*pool.connect_options()).clone());
    let before = all(&store).await;
    assert_eq!(archived(&options, 21, dir.path()).await, 1);
    assert_eq!(all(&store).await, before, "one is a file");
    assert_eq!(archived(&options, 999, dir.path()).await, 1);
    assert_eq!(all(&PgEventStore::new(pool.clone())).await, before, "two are files");

    let left: Position =
        sqlx::query_scalar("SELECT min(position) FROM es.event").fetch_one(&pool).await.unwrap();
    assert_eq!(left, 2 * WIDTH + 1, "they are not in the table");
    let mut db = owner(&options).await;
    let known = partitions(&mut db).await.expect("lists");
    let ends: Vec<_> = known.iter().map(|one| (one.path.is_some(), one.first, one.last)).collect();
    assert_eq!(ends, [(true, 1, 20), (true, 21, 40), (false, 41, 999)]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_stream_goes_on_where_its_archived_events_end(pool: PgPool) {
    let (store, dir) = (log(&pool).await, TempDir::new().unwrap());
    archived(&pool.connect_options(), 999, dir.path()).await;
    let old = StreamId { category: "other", ..stream(2) };
    let versions = |rows: Vec<Recorded>| rows.iter().map(|row| row.version).collect::<Vec<_>>();
    let events = versions(store.load(old, 0, 1_000).await.expect("loads"));
    let last = Version::try_from(events.len()).unwrap();
    assert_eq!(events, (1..=last).collect::<Vec<_>>());

    let wrong = store.append(append([part(old, Expected::None, [900])])).await;
    assert!(matches!(wrong, Err(Error::Conflict { actual, .. }) if actual == last), "{wrong:?}");
    store.append(append([part(old, Expected::At(last), [901])])).await.expect("goes on");
    let events = versions(store.load(old, last - 1, 1_000).await.expect("loads"));
    assert_eq!(events, [last, last + 1]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_is_written_to_or_not_sealed_stays_in_the_table(pool: PgPool) {
    let (_store, dir) = (log(&pool).await, TempDir::new().unwrap());
    let mut db = owner(&pool.connect_options()).await;
    let done = archive(&mut db, 2_000, dir.path()).await;
    assert!(matches!(done, Err(ArchiveError::InUse { last: 999, head: 50, .. })), "{done:?}");
    sqlx::query("UPDATE es.log SET position = 1000").execute(&pool).await.unwrap();
    let done = archive(&mut db, 2_000, dir.path()).await;
    assert!(matches!(done, Err(ArchiveError::Unsealed { sealed: 50, .. })), "{done:?}");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_log_that_nobody_seals_keeps_its_events_in_the_table(pool: PgPool) {
    let (_store, dir) = (log(&pool).await, TempDir::new().unwrap());
    let other = "INSERT INTO es.log (log_id, position) VALUES (2, 1);
        INSERT INTO es.event SELECT position, version, at, schema, 2, tenant, stream, id,
            correlation, causation, category, name, actor, traceparent, body, salt
        FROM es.event WHERE position = 1;
        UPDATE es.log SET position = 50 WHERE log_id = 2";
    sqlx::raw_sql(other).execute(&pool).await.unwrap();
    let done = archive(&mut owner(&pool.connect_options()).await, 21, dir.path()).await;
    assert!(matches!(done, Err(ArchiveError::Unsealed { sealed: 0, .. })), "{done:?}");
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM es.event WHERE position = 1")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(there, 2, "of both logs");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_filter_that_was_damaged_hides_no_event(pool: PgPool) {
    let (store, dir) = (log(&pool).await, TempDir::new().unwrap());
    archived(&pool.connect_options(), 41, dir.path()).await;
    for name in
        ["log-1-000000000001-000000000020.parquet", "log-1-000000000021-000000000040.parquet"]
    {
        let path = dir.path().join(name);
        let file = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
        let column = file.metadata().row_group(0).column(5).clone();
        let at = usize::try_from(column.bloom_filter_offset().expect("has a filter")).unwrap();
        let length = usize::try_from(column.bloom_filter_length().expect("is so long")).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        // Its header is short.
        bytes[at + 32..at + length].fill(0);
        std::fs::write(&path, bytes).unwrap();
    }
    let old = StreamId { category: "other", ..stream(2) };
    let found = store.load(old, 0, 4).await;
    assert!(matches!(found, Err(Error::Damaged(_))), "{found:?}");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_archiving_that_died_is_ended_by_the_next(pool: PgPool) {
    let (store, dir, options) =
        (log(&pool).await, TempDir::new().unwrap(), (*pool.connect_options()).clone());
    let before = all(&store).await;
    // Somebody who reads all the time keeps the table from being taken away; and half a file is there.
    let mut reader = pool.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM es.event").execute(&mut *reader).await.unwrap();
    std::fs::write(dir.path().join("log-1-000000000001-000000000020.half"), "half").unwrap();
    for _ in 0..2 {
        let mut db = owner(&options).await;
        sqlx::query("SET lock_timeout = '100ms'").execute(&mut db).await.unwrap();
        let done = archive(&mut db, 21, dir.path()).await;
        assert!(matches!(done, Err(ArchiveError::Database(_))), "{done:?}");
        assert_eq!(all(&store).await, before, "while it is half done");
    }
    reader.rollback().await.unwrap();
    archived(&options, 41, dir.path()).await;
    assert_eq!(all(&store).await, before, "when it is done");
    let left: Position =
        sqlx::query_scalar("SELECT min(position) FROM es.event").fetch_one(&pool).await.unwrap();
    assert_eq!(left, 2 * WIDTH + 1);
}

/// Takes the first partition back into the table, as it was before it was archived.
const BACK: &str = "BEGIN;
    CREATE TABLE es.event_0000 (LIKE es.event INCLUDING DEFAULTS);
    CREATE UNIQUE INDEX ON es.event_0000 (log_id, stream, version, category, tenant);
    INSERT INTO es.event_0000 SELECT * FROM public.kept;
    ALTER TABLE es.event ATTACH PARTITION es.event_0000 FOR VALUES FROM (1) TO (21);
    CREATE TABLE public.told AS TABLE es.archive;
    DELETE FROM es.archive;
    UPDATE es.log SET floor = 0;
    COMMIT";
/// Archives it again, all at once.
const AWAY: &str = "INSERT INTO es.archive TABLE public.told;
    UPDATE es.log SET floor = 20;
    ALTER TABLE es.event DETACH PARTITION es.event_0000";

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn who_looks_for_some_events_while_they_leave_finds_them_in_the_file(pool: PgPool) {
    let (store, dir, options) =
        (log(&pool).await, TempDir::new().unwrap(), (*pool.connect_options()).clone());
    let filter = Filter { categories: Some(vec!["other"]), ..Filter::default() };
    let before = told(&followed(&store, &filter, 1_000).await);
    let mut db = owner(&options).await;
    let keep = "CREATE TABLE public.kept AS SELECT * FROM es.event WHERE position <= 20";
    sqlx::raw_sql(keep).execute(&mut db).await.unwrap();
    archived(&options, 21, dir.path()).await;
    sqlx::raw_sql(BACK).execute(&mut db).await.unwrap();

    let mut tx = db.begin().await.unwrap();
    sqlx::query("LOCK TABLE es.event IN ACCESS EXCLUSIVE MODE").execute(&mut *tx).await.unwrap();
    let asked = tokio::spawn(async move { told(&followed(&store, &filter, 1_000).await) });
    // It knows where the table begins, and waits for the table.
    let waits = "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                 WHERE NOT granted AND datname = current_database()
                     AND relation = 'es.event'::regclass)";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&pool).await.unwrap() {
        tokio::task::yield_now().await;
    }
    sqlx::raw_sql(AWAY).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(asked.await.unwrap(), before);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_file_of_somebody_else_is_never_written_over(pool: PgPool) {
    let (store, dir, options) =
        (log(&pool).await, TempDir::new().unwrap(), (*pool.connect_options()).clone());
    let before = all(&store).await;
    let path = dir.path().join("log-1-000000000001-000000000020.parquet");
    std::fs::write(&path, "theirs").unwrap();
    let done = archive(&mut owner(&options).await, 21, dir.path()).await;
    assert!(matches!(done, Err(ArchiveError::File { .. })), "{done:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "theirs");
    assert_eq!(all(&store).await, before);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_file_that_is_gone_is_named_and_the_rest_goes_on(pool: PgPool) {
    let (store, dir) = (log(&pool).await, TempDir::new().unwrap());
    archived(&pool.connect_options(), 41, dir.path()).await;
    let gone = dir.path().join("log-1-000000000001-000000000020.parquet");
    std::fs::remove_file(&gone).expect("is there");
    let refused = store.read(0, 5).await.expect_err("is gone");
    assert!(matches!(&refused, Error::Unreadable { path, .. } if *path == gone), "{refused:?}");
    assert!(refused.to_string().contains(gone.to_str().unwrap()), "{refused}");
    assert_eq!(store.read(WIDTH, 1_000).await.expect("reads the others").len(), 30);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn readers_miss_nothing_while_a_partition_becomes_a_file(pool: PgPool) {
    let (store, dir, options) =
        (log(&pool).await, TempDir::new().unwrap(), (*pool.connect_options()).clone());
    let before = all(&store).await;
    let dir = dir.path().to_owned();
    let archiving = tokio::spawn(async move { archived(&options, 41, &dir).await });
    let mut rounds = 0;
    loop {
        let is_done = archiving.is_finished();
        assert_eq!(all(&store).await, before, "in round {rounds}");
        rounds += 1;
        if is_done {
            break;
        }
    }
    assert_eq!(archiving.await.unwrap(), 2);
    assert!(rounds > 1, "nobody read while it went on");
}
