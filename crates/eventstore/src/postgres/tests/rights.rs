//! Who may do what to the log: nobody changes it, and roles add to it in one way only.

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgConnection, PgPool};

use super::{PgEventStore, one, stream};
use crate::{
    EventStore, Expected, Role, SettingsError, StreamId, check_settings, connect, migrate,
};

/// Ways to change what was written. `event_0000` is the partition that holds it.
const CHANGES: [&str; 6] = [
    "UPDATE es.event SET body = '{}'",
    "DELETE FROM es.event",
    "TRUNCATE es.event",
    "UPDATE es.event_0000 SET body = '{}'",
    "DELETE FROM es.event_0000",
    "TRUNCATE es.event_0000",
];

/// Ways to lie about the log without changing an event.
const FORGERIES: [&str; 8] = [
    "INSERT INTO es.event SELECT * FROM es.event",
    "UPDATE es.log SET position = 0",
    "DELETE FROM es.log",
    "UPDATE es.stream SET version = 1",
    "DELETE FROM es.stream",
    "UPDATE es.command_key SET status = 500",
    "DROP TABLE es.event",
    "ALTER TABLE es.event DISABLE TRIGGER ALL",
];

async fn attempt(
    connection: &mut PgConnection,
    statement: &'static str,
) -> Result<u64, (String, String)> {
    let done = sqlx::query(statement).execute(connection).await;
    done.map(|done| done.rows_affected()).map_err(|error| {
        let error = error.into_database_error().expect("the database refuses");
        (error.code().expect("a code").into_owned(), error.message().to_owned())
    })
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn not_even_the_owner_can_change_an_event(pool: PgPool) {
    let store = PgEventStore::new(pool.clone());
    store.append(one(1, Expected::None, [1, 2])).await.expect("appends");
    let mut connection = pool.acquire().await.expect("connects");
    for change in CHANGES {
        let (code, message) = attempt(&mut connection, change).await.expect_err(change);
        assert_eq!(code, "42501", "{change}");
        assert!(message.ends_with("is append-only"), "{change}: {message}");
    }
    assert_eq!(store.read(0, 10).await.expect("reads").len(), 2);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn no_role_can_change_or_forge_anything(_: PgPoolOptions, options: PgConnectOptions) {
    let url = options.to_url_lossy();
    for role in [Role::Command, Role::Worker, Role::Query] {
        let pool = connect(url.as_str(), role, 1).await.expect("connects");
        let mut connection = pool.acquire().await.expect("connects");
        sqlx::query("SET default_transaction_read_only = off")
            .execute(&mut *connection)
            .await
            .expect("anybody may, but it helps nobody");
        for statement in CHANGES.iter().chain(&FORGERIES) {
            let (code, _) = attempt(&mut connection, statement).await.expect_err(statement);
            assert_eq!(code, "42501", "{role:?}: {statement}");
        }
        drop(connection);
        pool.close().await;
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn queries_see_nothing_of_the_log(_: PgPoolOptions, options: PgConnectOptions) {
    let pool = connect(options.to_url_lossy().as_str(), Role::Query, 1).await.expect("connects");
    let store = PgEventStore::new(pool.clone());
    assert!(store.head().await.is_err());
    assert!(store.load(super::stream(1), 0, 1_000).await.is_err());
    assert!(store.append(one(1, Expected::None, [1])).await.is_err());
    let mut connection = pool.acquire().await.expect("connects");
    for statement in ["SELECT * FROM es.event", "SELECT * FROM es.event_json"] {
        let (code, _) = attempt(&mut connection, statement).await.expect_err(statement);
        assert_eq!(code, "42501", "{statement}");
    }
    drop(connection);
    pool.close().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn read_models_and_operations_belong_to_their_roles(pool: PgPool) {
    let rights = "SELECT has_table_privilege($1, $2, $3)";
    sqlx::query("CREATE TABLE rm.later (n int)").execute(&pool).await.expect("creates");
    sqlx::query("CREATE TABLE ops.later (n int)").execute(&pool).await.expect("creates");
    for (role, table, right, expected) in [
        ("everstep_query", "rm.later", "SELECT", true),
        ("everstep_query", "rm.later", "INSERT", false),
        ("everstep_query", "ops.later", "SELECT", false),
        ("everstep_worker", "rm.later", "INSERT", true),
        ("everstep_worker", "rm.later", "TRUNCATE", true),
        ("everstep_worker", "ops.later", "DELETE", true),
        ("everstep_command", "rm.later", "SELECT", false),
        ("everstep_command", "ops.later", "UPDATE", true),
    ] {
        let has: bool = sqlx::query_scalar(rights)
            .bind(role)
            .bind(table)
            .bind(right)
            .fetch_one(&pool)
            .await
            .expect("asks");
        assert_eq!(has, expected, "{role} {right} {table}");
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_server_that_forgets_is_refused(pool_options: PgPoolOptions, options: PgConnectOptions) {
    let careful = pool_options.clone().connect_with(options.clone()).await.expect("connects");
    check_settings(&careful).await.expect("the test server is safe");
    careful.close().await;
    let careless = options.options([("synchronous_commit", "off")]);
    let careless = pool_options.connect_with(careless).await.expect("connects");
    let refused = check_settings(&careless).await;
    assert!(
        matches!(&refused, Err(SettingsError::Off { setting }) if setting == "synchronous_commit"),
        "{refused:?}"
    );
    careless.close().await;
}

#[sqlx::test(migrations = false)]
async fn a_fresh_database_is_migrated_by_whoever_comes_first(
    pool_options: PgPoolOptions,
    options: PgConnectOptions,
) {
    let url = options.to_url_lossy();
    let done = futures::future::join_all((0..4).map(|_| migrate(url.as_str()))).await;
    for done in done {
        done.expect("migrates");
    }
    let pool = pool_options.connect_with(options.clone()).await.expect("connects");
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (9999, 'newer', now(), true, '', 0)")
        .execute(&pool)
        .await
        .expect("a newer release was here");
    migrate(url.as_str()).await.expect("an older release does not mind");
    pool.close().await;
}

/// A plan is kept, and the partition it was made for grows.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn no_stream_is_sought_by_looking_through_a_partition(
    pool: PgPoolOptions,
    options: PgConnectOptions,
) {
    let writer = pool.connect_with(options.clone()).await.expect("connects");
    let log = PgEventStore::new(writer);
    for role in [Role::Command, Role::Worker] {
        let pool = connect(options.to_url_lossy().as_str(), role, 1).await.expect("connects");
        let mut connection = pool.begin().await.expect("connects");
        let before = pieces_of(&mut connection).await;
        for stream in 100..300 {
            log.append(one(stream, Expected::Any, [stream])).await.expect("appends");
        }
        let after = pieces_of(&mut connection).await;
        let looked_at = after.looked_at - before.looked_at;
        assert!(
            looked_at <= after.found,
            "{looked_at} events were looked at to find {}",
            after.found
        );
    }
}

struct Looked {
    found: i64,
    /// Since the transaction began.
    looked_at: i64,
}

/// Seeks as many of a test's streams as are sought at once at most.
async fn pieces_of(db: &mut PgConnection) -> Looked {
    let streams: Vec<StreamId> = (100..164).map(stream).collect();
    let found = "SELECT count(*) FROM es.pieces(1::smallint, $1, $2, $3, $4, $5)";
    let found: i64 = sqlx::query_scalar(found)
        .bind(streams.iter().map(|stream| stream.id).collect::<Vec<_>>())
        .bind(streams.iter().map(|stream| stream.category).collect::<Vec<_>>())
        .bind(streams.iter().map(|stream| stream.tenant.as_uuid()).collect::<Vec<_>>())
        .bind(vec![0_i64; streams.len()])
        .bind(vec![9_i64; streams.len()])
        .fetch_one(&mut *db)
        .await
        .expect("seeks");
    let looked_at = "SELECT sum(coalesce(idx_tup_fetch, 0) + seq_tup_read)::bigint
                     FROM pg_stat_xact_user_tables
                     WHERE schemaname = 'es' AND relname LIKE 'event%'";
    let looked_at = sqlx::query_scalar(looked_at).fetch_one(&mut *db).await.expect("tells");
    Looked { found, looked_at }
}
