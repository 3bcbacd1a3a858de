//! Read models are folds of the log and nothing else: proved, broken, wiped and made anew.

use std::collections::BTreeMap;
use std::process::Stdio;

use eventstore::Role;
use serde_json::{Value, json};
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, PgPool};
use testkit::github::Delivery;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::documents::{ASKING, ECHO, FAULTY, HOOKED, MIXED, SLEEPER, TELLING};
use crate::support::{Api, PATIENCE, World, ok};

const SECRET: &str = "It's a Secret to Everybody";

/// Some of everything, until only what sleeps is left.
async fn mixed_run(api: &Api) {
    let (echo, mixed) = (api.publish(ECHO).await, api.publish(MIXED).await);
    let (faulty, sleeper) = (api.publish(FAULTY).await, api.publish(SLEEPER).await);
    for number in 0..4 {
        api.run(&echo, &json!({"text": "é\"\\ \u{1F600}", "number": 1.50})).await;
        api.run(&mixed, &json!({"number": number})).await;
    }
    api.run(&faulty, &Value::Null).await;
    let cancelled = api.start(&sleeper, &Value::Null).await;
    ok(&api.post(&format!("{cancelled}/cancel"), &json!({"reason": "enough"})).await, 202);
    let asleep = api.start(&sleeper, &Value::Null).await;
    api.until(&asleep, |execution| execution["status"] == "waiting").await;

    api.create("/prompts", &json!({"name": "sorter", "user": "{{ post }}"})).await;
    let agent = json!({"name": "sorter", "provider": "sandbox", "prompt": {"name": "sorter"}});
    api.create("/agents", &agent).await;
    let asking = api.publish(ASKING).await;
    api.run(&asking, &json!({"post": "a question"})).await;
    let template = json!({"name": "greeting", "subject": "Hello", "text": "Hello {{ name }}"});
    api.create("/notifications/templates", &template).await;
    let telling = api.publish(TELLING).await;
    api.run(&telling, &json!({"to": "me@example.com", "name": "Me"})).await;
    api.until("/notifications", |page| page["items"][0]["status"] == "sent").await;

    let hooked = api.publish(HOOKED).await;
    let webhook = json!({
        "scheme": "github_sha256", "secret": SECRET,
        "starts": {"namespace": "tests", "name": "hooked"},
    });
    let hook = json!({"name": "hook", "base_url": "https://example.com", "webhook": webhook});
    let hook = api.create("/integrations", &hook).await;
    let delivery = Delivery::new("issues", "one", r#"{"action": "opened"}"#);
    let post = api.at_root(reqwest::Method::POST, &format!("/api/v1/webhooks/{hook}"));
    ok(&api.send(delivery.sign(post, SECRET)).await, 202);
    let list = format!("/workflows/{hooked}/executions");
    api.until(&list, |page| page["items"][0]["status"] == "completed").await;
    let key = api.create("/auth/api-keys", &json!({"name": "spare", "access": "read"})).await;
    let revoked = api.request(reqwest::Method::DELETE, &format!("/auth/api-keys/{key}"));
    assert_eq!(api.send(revoked).await.status, 204);
    let workflow = format!("/workflows/{faulty}");
    assert_eq!(api.delete(&workflow, 1).await.status, 204);
    // The last answer counts for all views: whoever sees it has seen everything before it.
    assert_eq!(api.get(&workflow).await.status, 404);
}

/// The tables of the read models.
async fn tables(pool: &PgPool) -> Vec<String> {
    let sql = "SELECT table_name::text FROM information_schema.tables
               WHERE table_schema = 'rm' AND table_name <> 'projection' ORDER BY 1";
    sqlx::query_scalar(sql).fetch_all(pool).await.expect("the tables")
}

/// All rows of all read models, as Postgres writes them.
async fn rows(pool: &PgPool) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for table in tables(pool).await {
        let sql = format!("SELECT t::text FROM rm.{table} t ORDER BY 1");
        let rows = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await;
        all.insert(table, rows.expect("the rows"));
    }
    all
}

#[tokio::test]
async fn replay_proves_the_read_models_and_names_the_row_that_is_off() {
    let world = World::start().await;
    mixed_run(&world.api()).await;
    let verified = world.run(&["replay", "--verify"]).await;
    assert_eq!(verified.code, 0, "{verified:?}");

    let pool = world.pool().await;
    let sql = "UPDATE rm.executions SET output = replace(output, 'é', 'è')
               WHERE id = (SELECT id FROM rm.executions WHERE output LIKE '%é%' ORDER BY id LIMIT 1)
               RETURNING id::text";
    let changed: String = sqlx::query_scalar(sql).fetch_one(&pool).await.expect("a row to change");
    let verified = world.run(&["replay", "--verify"]).await;
    assert_eq!(verified.code, 8, "{verified:?}");
    let said = format!("{}{}", verified.out, verified.err);
    for word in ["executions", changed.as_str(), "output"] {
        assert!(said.contains(word), "it does not name {word}: {said}");
    }
    let elsewhere = world.run(&["replay", "--verify", "--projection", "workflows"]).await;
    assert_eq!(elsewhere.code, 0, "{elsewhere:?}");

    let mended = world.run(&["replay", "--projection", "executions"]).await;
    assert_eq!(mended.code, 0, "{mended:?}");
    let verified = world.run(&["replay", "--verify"]).await;
    assert_eq!(verified.code, 0, "{verified:?}");
    let unknown = world.run(&["replay", "--projection", "no-such-view"]).await;
    assert_ne!(unknown.code, 0, "{unknown:?}");
}

#[tokio::test]
async fn wiped_read_models_come_back_byte_for_byte() {
    let world = World::start().await;
    let api = world.api();
    mixed_run(&api).await;
    let pool = world.pool().await;
    let before = rows(&pool).await;
    let empty: Vec<&String> =
        before.iter().filter(|(_, rows)| rows.is_empty()).map(|(table, _)| table).collect();
    assert_eq!(empty, Vec::<&String>::new(), "the run left these empty, so they prove nothing");
    let listed = api.body("/executions").await;

    for table in tables(&pool).await {
        let sql = format!("TRUNCATE rm.{table}");
        sqlx::query(AssertSqlSafe(sql)).execute(&pool).await.expect("wiped");
    }
    assert_eq!(api.items("/executions").await, Vec::<Value>::new());
    let replayed = world.run(&["replay"]).await;
    assert_eq!(replayed.code, 0, "{replayed:?}");
    let after = rows(&pool).await;
    for (table, rows) in &before {
        assert_eq!(after.get(table), Some(rows), "{table}");
    }
    assert_eq!(api.body("/executions").await, listed);
    // And life goes on from there.
    let echo = api.items("/workflows?name=echo").await[0]["id"].as_str().expect("id").to_owned();
    assert_eq!(api.run(&echo, &json!(1)).await["status"], "completed");
    assert_eq!(world.run(&["replay", "--verify"]).await.code, 0);
}

#[tokio::test]
async fn read_models_say_how_far_behind_they_are_and_why() {
    let world = World::start().await;
    let api = world.api();
    mixed_run(&api).await;
    let items = api.items("/projections").await;
    assert!(items.iter().all(|item| item["events_behind"] == 0), "{items:?}");
    assert!(items.iter().all(|item| item["seconds_left"] == 0.0), "{items:?}");

    let pool = world.pool().await;
    let stop = "UPDATE rm.projection SET state = 'parked', error = 'event 9: a reason',
                    position = position - 2 WHERE name = 'executions'";
    sqlx::query(stop).execute(&pool).await.expect("parked");
    let items = api.items("/projections").await;
    let parked = items.iter().find(|item| item["name"] == "executions").expect("it is listed");
    assert_eq!((&parked["state"], &parked["events_behind"]), (&json!("parked"), &json!(2)));
    assert!(parked["seconds_behind"].as_f64() > Some(0.0), "{parked}");
    assert_eq!(parked["seconds_left"], Value::Null);
    assert_eq!(parked["error"], Value::Null, "which may be about another tenant's event");

    let listed = world.run(&["projection", "list"]).await;
    assert_eq!(listed.code, 0, "{listed:?}");
    assert!(listed.out.contains("executions is parked: event 9: a reason"), "{listed:?}");
    assert_eq!(world.run(&["projection", "retry", "executions"]).await.code, 0);
    assert_eq!(world.run(&["projection", "retry", "no-such-view"]).await.code, 3);
    api.until("/projections", |page| {
        page["items"].as_array().is_some_and(|items| {
            items.iter().all(|item| item["events_behind"] == 0 && item["state"] == "running")
        })
    })
    .await;
}

#[tokio::test]
async fn a_list_that_is_watched_shows_read_models_as_they_move() {
    let world = World::start().await;
    let api = world.api();
    let echo = api.publish(ECHO).await;
    let command = world.server.setup().command(&["projection", "list", "--watch", "-o", "json"]);
    let mut command = tokio::process::Command::from(command);
    let mut watching = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("starts");
    let mut lines = BufReader::new(watching.stdout.take().expect("its output")).lines();
    // Each line is the whole list; how far the least of the views is.
    let mut next = async || {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("reads");
        let list: Value = serde_json::from_str(&line.expect("it goes on")).expect("JSON");
        let items = list["items"].as_array().expect("a list");
        items.iter().map(|item| item["position"].as_i64().expect("a position")).min().expect("some")
    };
    let before = next().await;
    api.run(&echo, &json!(1)).await;
    let head = world.head().await;
    assert!(before < head, "something happened since");
    while next().await < head {}
    assert_eq!(
        watching.try_wait().expect("is known"),
        None,
        "it shows the list until it is stopped"
    );
}

#[tokio::test]
async fn a_rebuild_can_be_taken_back_and_the_past_looked_at() {
    let world = World::start().await;
    let api = world.api();
    mixed_run(&api).await;
    let pool = world.pool().await;
    assert_eq!(world.run(&["replay", "--rollback"]).await.code, 3, "there is nothing yet");
    let before = rows(&pool).await;
    let now =
        r#"SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#;
    let until: String = sqlx::query_scalar(now).fetch_one(&pool).await.expect("the time");
    assert_eq!(world.run(&["replay"]).await.code, 0);
    let rolled_back = world.run(&["replay", "--rollback"]).await;
    assert_eq!(rolled_back.code, 0, "{rolled_back:?}");
    assert_eq!(rows(&pool).await, before);

    let echo = api.items("/workflows?name=echo").await[0]["id"].as_str().expect("id").to_owned();
    api.run(&echo, &json!(1)).await;
    let as_of = world.run(&["replay", "--until", &until, "--projection", "executions"]).await;
    assert_eq!(as_of.code, 0, "{as_of:?}");
    let sql = "SELECT t::text FROM as_of.executions t ORDER BY 1";
    let shown: Vec<String> = sqlx::query_scalar(sql).fetch_all(&pool).await.expect("the rows");
    assert_eq!(shown, before["executions"]);
    let too_far = world.run(&["replay", "--until", "999999999"]).await;
    assert_eq!(too_far.code, 2, "{too_far:?}");
    assert!(too_far.err.contains("the log ends at"), "{too_far:?}");
    assert_eq!(world.run(&["replay", "--discard"]).await.code, 0);
    let left: Vec<String> = sqlx::query_scalar("SELECT nspname::text FROM pg_namespace")
        .fetch_all(&pool)
        .await
        .expect("the schemas");
    assert!(!left.iter().any(|name| name == "as_of" || name == "rm_old"), "{left:?}");
}

#[tokio::test]
async fn without_a_tenant_a_query_sees_nothing_and_with_one_only_its_own() {
    let world = World::start().await;
    mixed_run(&world.api()).await;
    let owner = world.pool().await;
    let tables = tables(&owner).await;
    let tenant: String = sqlx::query_scalar("SELECT DISTINCT tenant::text FROM rm.executions")
        .fetch_one(&owner)
        .await
        .expect("one tenant");
    let query = world.pool_as(Role::Query).await;
    let nobody = "00000000-0000-0000-0000-000000000000";
    for (tenant, sees) in [("", false), (nobody, false), (tenant.as_str(), true)] {
        for table in &tables {
            let mut tx = query.begin().await.expect("a transaction");
            sqlx::query("SELECT set_config('everstep.tenant', $1, true)")
                .bind(tenant)
                .execute(&mut *tx)
                .await
                .expect("set");
            let sql = format!("SELECT count(*) FROM rm.{table}");
            let count = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql)).fetch_one(&mut *tx).await;
            let count = match count {
                Ok(count) => count,
                // What queries may not even look at shows them nothing, too.
                Err(error) => {
                    let code = error.as_database_error().and_then(DatabaseError::code);
                    assert_eq!(code.as_deref(), Some("42501"), "{table}: {error}");
                    continue;
                }
            };
            assert_eq!(count > 0, sees, "{count} rows of {table} for tenant `{tenant}`");
        }
    }
    let log = sqlx::query("SELECT 1 FROM es.event").fetch_optional(&query).await;
    assert!(log.is_err(), "queries never see the log");
}
