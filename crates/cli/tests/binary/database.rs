//! Commands on a database that is configured.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use serde_json::Value;
use sqlx::PgPool;

use super::{Ended, everstep, run, text};

/// The URL of a test's own database.
pub(super) async fn url_of(pool: &PgPool) -> String {
    let options = pool.connect_options();
    let name: String =
        sqlx::query_scalar("SELECT current_database()::text").fetch_one(pool).await.unwrap();
    let mut url = url::Url::parse("postgres://localhost").unwrap();
    url.set_username(options.get_username()).unwrap();
    url.set_port(Some(options.get_port())).unwrap();
    url.set_path(&name);
    match options.get_socket() {
        Some(socket) => {
            url.query_pairs_mut().append_pair("host", text(socket));
        }
        None => url.set_host(Some(options.get_host())).unwrap(),
    }
    url.into()
}

/// Appends `count` events to the log, as an operator with SQL would see them done.
pub(super) async fn fill(pool: &PgPool, count: i64) {
    fill_after(pool, 0, count).await;
}

/// Appends `count` events more, after the first `before`.
pub(super) async fn fill_after(pool: &PgPool, before: i64, count: i64) {
    use domain::{Actor, Id};
    use eventstore::{Append, Draft, EventStore, Expected, Metadata, StreamAppend, StreamId};
    let store = eventstore::PgEventStore::new(pool.clone());
    let tenant = Id::from_uuid(uuid::Uuid::from_u128(1));
    let event = |number: i64| Draft {
        id: uuid::Uuid::from_u128(u128::try_from(1_000 + number).unwrap()),
        name: "api_key.created".to_owned(),
        schema: 1,
        body: format!(r#"{{"name":"{number}","access":"read","digest":""}}"#),
        opened: None,
        fact: None,
    };
    let meta = Metadata {
        tenant,
        actor: Actor::System,
        correlation: uuid::Uuid::from_u128(2),
        causation: uuid::Uuid::from_u128(3),
        traceparent: None,
        at: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
    };
    let stream = StreamId { tenant, category: "api_key", id: uuid::Uuid::from_u128(4) };
    let events = (before + 1..=before + count).map(event).collect();
    let streams = vec![StreamAppend { stream, expected: Expected::Any, subject: None, events }];
    store.append(Append { meta, streams, reply: None, fence: None }).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn migrations_are_applied_once(pool: PgPool) {
    let url = url_of(&pool).await;
    let first = run(&["migrate", "--database-url", &url, "-o", "json"]).expect(0).json();
    assert!(first["applied"].as_u64().unwrap() > 0);
    let second = run(&["migrate", "--database-url", &url, "-o", "json"]).expect(0).json();
    assert_eq!(second["applied"], 0);
}

#[sqlx::test(migrations = false)]
async fn a_database_without_the_schema_is_not_served(pool: PgPool) {
    let dir = tempfile::tempdir().unwrap();
    let url = url_of(&pool).await;
    let args = ["serve", "--port", "0", "--database-url", &url, "--data-dir", text(dir.path())];
    let ended = run(&args).expect(1);
    assert!(ended.err.contains("everstep migrate"), "{ended:?}");
}

#[sqlx::test(migrations = false)]
async fn a_server_that_would_lose_events_is_refused(pool: PgPool) {
    let name: String =
        sqlx::query_scalar("SELECT current_database()::text").fetch_one(&pool).await.unwrap();
    let unsafe_setting = format!("ALTER DATABASE \"{name}\" SET synchronous_commit = off");
    sqlx::raw_sql(sqlx::AssertSqlSafe(unsafe_setting)).execute(&pool).await.unwrap();
    let url = url_of(&pool).await;
    let ended = run(&["check", "--database-url", &url]).expect(8);
    assert!(ended.err.contains("synchronous_commit"), "{ended:?}");
    assert!(ended.out.contains("settings:"), "the settings are worth seeing all the same");
}

#[sqlx::test(migrations = false)]
async fn a_server_that_can_be_trusted_is_named(pool: PgPool) {
    let url = url_of(&pool).await;
    let shown = run(&["check", "--database-url", &url, "-o", "json"]).expect(0).json();
    assert_eq!(shown["server"]["durable"], true);
    assert_eq!(shown["server"]["login_owns_log"], false, "there is no log yet");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn the_log_is_exported_whole_in_order_and_as_cloudevents(pool: PgPool) {
    fill(&pool, 450).await;
    let url = url_of(&pool).await;
    let ended = run(&["audit", "export", "--database-url", &url]).expect(0);
    let events: Vec<Value> =
        ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 450);
    for (event, number) in events.iter().zip(1..) {
        assert_eq!(event["position"], number.to_string());
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["data"]["name"], number.to_string());
    }
    assert!(ended.err.contains("450 events exported"), "{}", ended.err);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_part_of_the_log_goes_into_a_file_whole_or_not_at_all(pool: PgPool) {
    fill(&pool, 10).await;
    let url = url_of(&pool).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.ndjson");
    let args = ["audit", "export", "--database-url", &url, "--from", "3", "--to", "5"];
    let args = [&args[..], &["--file", text(&file)]].concat();
    let ended = run(&args).expect(0);
    assert!(ended.out.is_empty());
    let written = fs::read_to_string(&file).unwrap();
    let positions: Vec<String> = written
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["position"].to_string())
        .collect();
    assert_eq!(positions, ["\"3\"", "\"4\"", "\"5\""]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a draft was left behind");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn an_empty_log_exports_nothing(pool: PgPool) {
    let ended = run(&["audit", "export", "--database-url", &url_of(&pool).await]).expect(0);
    assert!(ended.out.is_empty());
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_reader_that_has_seen_enough_is_no_failure(pool: PgPool) {
    fill(&pool, 900).await;
    let url = url_of(&pool).await;
    let mut export = everstep(&["audit", "export", "--database-url", &url]);
    let mut child = export.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(child.wait().unwrap().success(), "{err}");
    assert_eq!(err, "");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn read_models_are_rebuilt_from_the_log_and_proved_to_be_what_it_says(pool: PgPool) {
    fill(&pool, 1).await;
    let url = url_of(&pool).await;
    let verify = ["replay", "--verify", "--database-url", &url];
    run(&["replay", "--database-url", &url]).expect(0);
    let report = run(&[&verify[..], &["-o", "json"]].concat()).expect(0).json();
    let of = |name: &str| {
        let items = report["items"].as_array().unwrap();
        items.iter().find(|item| item["projection"] == name).unwrap().clone()
    };
    assert_eq!(
        (&of("api_keys")["rows"], &of("api_keys")["result"]),
        (&1.into(), &"identical".into())
    );

    let forged = "UPDATE rm.api_keys SET name = name || 'x'";
    assert_eq!(sqlx::query(forged).execute(&pool).await.unwrap().rows_affected(), 1);
    let ended = run(&verify).expect(8);
    assert!(ended.out.contains("different"), "{ended:?}");
    assert!(ended.err.contains(&uuid::Uuid::from_u128(4).to_string()), "no row named: {ended:?}");
    assert!(ended.err.contains("1x"), "{ended:?}");

    run(&["replay", "--projection", "api_keys", "--database-url", &url]).expect(0);
    run(&verify).expect(0);
    let unknown = run(&["replay", "--projection", "x", "--database-url", &url]).expect(2);
    assert!(unknown.err.contains('x'), "{unknown:?}");
}

#[test]
fn positions_that_make_no_sense_are_refused() {
    for range in [["--from", "0"], ["--to", "0"]] {
        Ended::of(&mut everstep(&[&["audit", "export"][..], &range].concat())).expect(2);
    }
}
