//! People in the log: their data are sealed, and gone from everywhere once they are erased.

use std::fs;
use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use testkit::github::Delivery;

use crate::documents::{ASKING, ECHO, HOOKED, SLEEPER, TELLING};
use crate::support::{Api, World, ok};

const SECRET: &str = "It's a Secret to Everybody";
/// What nobody but Ada is called.
const CANARY: &str = "ada.lovelace@example.com";

/// How a personal value is marked before it is sealed: nobody ever sees that.
const MARKED: &str = r#""$personal":["#;

/// Starts an execution on somebody's data; where it is found.
async fn start(api: &Api, workflow: &str, input: &Value, subject: &str) -> String {
    let body = json!({"input": input, "subject": subject});
    let started = ok(&api.post(&format!("/workflows/{workflow}/execute"), &body).await, 202);
    format!("/workflows/{workflow}/executions/{}", started["id"].as_str().expect("an id"))
}

async fn completed(api: &Api, execution: &str) {
    api.until(execution, |execution| execution["status"] == "completed").await;
}

/// Something of everything that can be about a person; the execution that still sleeps.
async fn all_about(api: &Api, echo: &str, person: &str) -> String {
    let echoed = start(api, echo, &json!({"to": person, "n": 1}), person).await;
    completed(api, &echoed).await;
    let asking = api.publish(ASKING).await;
    let asked = start(api, &asking, &json!({"post": person}), person).await;
    completed(api, &asked).await;
    let telling = api.publish(TELLING).await;
    let told = start(api, &telling, &json!({"to": person, "name": person}), person).await;
    completed(api, &told).await;
    api.until("/notifications", |page| page["items"][0]["status"] == "sent").await;

    let hooked = api.publish(HOOKED).await;
    let webhook = json!({
        "scheme": "github_sha256", "secret": SECRET, "subject": "/sender/email",
        "starts": {"namespace": "tests", "name": "hooked"},
    });
    let hook = json!({"name": "hook", "base_url": "https://example.com", "webhook": webhook});
    let hook = api.create("/integrations", &hook).await;
    let body = json!({"action": "opened", "sender": {"email": person}}).to_string();
    let post = api.at_root(Method::POST, &format!("/api/v1/webhooks/{hook}"));
    ok(&api.send(Delivery::new("issues", "one", &body).sign(post, SECRET)).await, 202);
    let list = format!("/workflows/{hooked}/executions");
    api.until(&list, |page| page["items"][0]["status"] == "completed").await;

    let sleeper = api.publish(SLEEPER).await;
    let asleep = start(api, &sleeper, &json!({"who": person}), person).await;
    api.until(&asleep, |execution| execution["status"] == "waiting").await;
    asleep
}

async fn needed(api: &Api) {
    api.create("/prompts", &json!({"name": "sorter", "user": "{{ post }}"})).await;
    let agent = json!({"name": "sorter", "provider": "sandbox", "prompt": {"name": "sorter"}});
    api.create("/agents", &agent).await;
    let template = json!({"name": "greeting", "subject": "Hello", "text": "Hello {{ name }}"});
    api.create("/notifications/templates", &template).await;
}

/// The tables of some schemas in which a text is found, as such or as bytes.
async fn found_in(pool: &PgPool, schemas: &[&str], text: &str) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
         WHERE table_schema = ANY ($1) AND table_type = 'BASE TABLE' ORDER BY 1",
    )
    .bind(schemas)
    .fetch_all(pool)
    .await
    .expect("the tables");
    let mut found = vec![];
    for table in tables {
        // Postgres shows bytes in hex.
        let sql = format!(
            "SELECT EXISTS (SELECT FROM {table} t WHERE strpos(t::text, $1) > 0
                 OR strpos(t::text, encode(convert_to($1, 'UTF8'), 'hex')) > 0)"
        );
        let there: bool =
            sqlx::query_scalar(AssertSqlSafe(sql)).bind(text).fetch_one(pool).await.expect("looks");
        if there {
            found.push(table);
        }
    }
    found
}

/// What the API says of everything that can be about a person.
async fn all_answers(api: &Api) -> String {
    let mut all = String::new();
    for list in ["/executions", "/notifications", "/integrations", "/agents"] {
        all.push_str(&api.get(&format!("{list}?limit=200")).await.text);
    }
    for agent in api.items("/agents").await {
        let id = agent["id"].as_str().expect("an id");
        all.push_str(&api.get(&format!("/agents/{id}/invocations")).await.text);
    }
    for integration in api.items("/integrations").await {
        let id = integration["id"].as_str().expect("an id");
        all.push_str(&api.get(&format!("/integrations/{id}/logs")).await.text);
    }
    for execution in api.items("/executions?limit=200").await {
        let (workflow, id) = (&execution["workflow_id"], &execution["id"]);
        let (workflow, id) = (workflow.as_str().expect("an id"), id.as_str().expect("an id"));
        let path = format!("/workflows/{workflow}/executions/{id}");
        all.push_str(&api.get(&path).await.text);
        all.push_str(&api.get(&format!("{path}/events")).await.text);
    }
    all.push_str(&api.get("/audit/events?limit=1000").await.text);
    all
}

#[tokio::test]
async fn a_person_is_erased_from_everywhere_and_the_log_still_proves_itself() {
    let world = World::start().await;
    let (api, pool) = (world.api(), world.pool().await);
    needed(&api).await;
    let echo = api.publish(ECHO).await;
    let asleep = all_about(&api, &echo, CANARY).await;
    let other = start(&api, &echo, &json!({"to": "bob"}), "bob").await;
    completed(&api, &other).await;

    let before = all_answers(&api).await;
    assert!(before.contains(CANARY) && !before.contains(MARKED), "{before}");
    assert_eq!(found_in(&pool, &["es", "ops"], CANARY).await, [""; 0], "the log is sealed");
    assert!(!found_in(&pool, &["rm"], CANARY).await.is_empty());
    let sealed = |all: &Value| all["position"].as_i64() >= Some(1);
    api.until("/audit/checkpoints/latest", sealed).await;
    let dir = tempfile::tempdir().expect("a directory");
    let bundle = dir.path().join("bundle").display().to_string();
    let trail = world.exported().await;
    let tenant = trail[0]["source"].as_str().and_then(|source| source.split('/').nth(2));
    let tenant = tenant.expect("a tenant").to_owned();
    let exported = world.run(&["audit", "export", "--tenant", &tenant, "--bundle", &bundle]).await;
    assert_eq!(exported.code, 0, "{exported:?}");

    let erased = world.run(&["subject", "erase", CANARY, "-o", "json"]).await;
    assert_eq!(erased.code, 0, "{erased:?}");
    let erased: Value = serde_json::from_str(&erased.out).expect("JSON");
    assert_eq!(erased["status"], "erased", "{erased}");

    let stopped = api.until(&asleep, |execution| execution["status"] == "cancelled").await;
    assert_eq!((&stopped["erased"], &stopped["input"]), (&json!(true), &Value::Null));
    assert_eq!(found_in(&pool, &["es", "ops", "rm"], CANARY).await, [""; 0]);
    let after = all_answers(&api).await;
    assert!(!after.contains(CANARY) && !after.contains(MARKED), "{after}");
    assert_eq!(api.body(&other).await["input"], json!({"to": "bob"}), "nobody else is erased");

    // What was proved holds, and a replay gives what is shown.
    for check in [
        &["audit", "verify", "--live"][..],
        &["audit", "verify", &bundle],
        &["replay", "--verify"],
        &["replay"],
        &["replay", "--verify"],
    ] {
        let checked = world.run(check).await;
        assert_eq!(checked.code, 0, "{check:?}: {checked:?}");
    }
    assert_eq!(found_in(&pool, &["es", "ops", "rm"], CANARY).await, [""; 0]);
    let again = world.run(&["subject", "erase", CANARY]).await;
    assert_eq!(again.code, 3, "nobody is known by that name: {again:?}");
}

/// The files of the instance's database in which some bytes are found, once all of it is on the disk.
async fn files_with(pool: &PgPool, bytes: &[u8]) -> Vec<String> {
    sqlx::raw_sql("CHECKPOINT").execute(pool).await.expect("all is on the disk");
    let dir = "SELECT format('%s/base/%s', current_setting('data_directory'), oid)
               FROM pg_database WHERE datname = current_database()";
    let dir: String = sqlx::query_scalar(dir).fetch_one(pool).await.expect("its directory");
    let files = fs::read_dir(dir).expect("its files").map(|file| file.expect("a file").path());
    let has = |file: &PathBuf| {
        let there = fs::read(file).unwrap_or_default();
        there.windows(bytes.len()).any(|some| some == bytes)
    };
    files.filter(has).map(|file| file.display().to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_purge_neither_the_erased_nor_their_key_is_in_any_file_of_the_database() {
    let world = World::on_its_own_postgres().await;
    let (api, pool) = (world.api(), world.pool().await);
    needed(&api).await;
    let echo = api.publish(ECHO).await;
    all_about(&api, &echo, CANARY).await;
    let other = start(&api, &echo, &json!({"to": "bob"}), "bob").await;
    completed(&api, &other).await;
    // Old tables are kept, and Postgres notes samples of what is in the columns.
    let rebuilt = world.run(&["replay"]).await;
    assert_eq!(rebuilt.code, 0, "{rebuilt:?}");
    sqlx::raw_sql("ANALYZE").execute(&pool).await.expect("samples");
    let key = "SELECT k.sealed FROM ops.subject_key k JOIN rm.executions e ON e.subject = k.id
               WHERE strpos(e.input, $1) > 0 LIMIT 1";
    let key: Vec<u8> =
        sqlx::query_scalar(key).bind(CANARY).fetch_one(&pool).await.expect("her key");
    assert_ne!(files_with(&pool, CANARY.as_bytes()).await, [""; 0]);
    assert_ne!(files_with(&pool, &key).await, [""; 0]);

    let erased = world.run(&["subject", "erase", CANARY]).await;
    assert_eq!(erased.code, 0, "{erased:?}");
    assert_ne!(files_with(&pool, CANARY.as_bytes()).await, [""; 0], "no need to purge");
    let purged = world.run(&["subject", "purge", "-o", "json"]).await;
    assert_eq!(purged.code, 0, "{purged:?}");
    let purged: Value = serde_json::from_str(&purged.out).expect("JSON");
    assert_eq!(purged["wal"], "switched", "{purged}");
    assert_eq!(files_with(&pool, CANARY.as_bytes()).await, [""; 0]);
    assert_eq!(files_with(&pool, &key).await, [""; 0]);

    assert_eq!(api.body(&other).await["input"], json!({"to": "bob"}), "all else is there");
    for check in [&["audit", "verify", "--live"][..], &["replay", "--verify"]] {
        let checked = world.run(check).await;
        assert_eq!(checked.code, 0, "{check:?}: {checked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_purges_and_need_not_be_a_superuser() {
    let world = World::on_its_own_postgres().await;
    let owner = &world.server.dev().database_url;
    let purge = async |url: &str| {
        world.run(&["subject", "purge", "--database-url", url, "-o", "json"]).await
    };
    let login = owner.replacen("everstep@", &format!("{}@", eventstore::LOGIN), 1);
    let refused = purge(&login).await;
    assert_ne!(refused.code, 0, "{refused:?}");

    let pool = world.pool().await;
    for sql in ["CREATE ROLE plain LOGIN CREATEROLE", "CREATE DATABASE plain OWNER plain"] {
        sqlx::raw_sql(sql).execute(&pool).await.expect(sql);
    }
    let plain = owner.replacen("everstep@", "plain@", 1).replacen("/postgres?", "/plain?", 1);
    let migrated = world.run(&["migrate", "--database-url", &plain]).await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    // As if projectors had come to the end of its empty log.
    let views = world.api().items("/projections").await;
    let views: Vec<&str> = views.iter().filter_map(|view| view["name"].as_str()).collect();
    let its = PgPool::connect(&plain).await.expect("connects");
    let begin = "INSERT INTO rm.projection (name) SELECT unnest($1::text[])";
    sqlx::query(begin).bind(&views).execute(&its).await.expect("inserts");
    let purged = purge(&plain).await;
    assert_eq!(purged.code, 0, "{purged:?}");
    assert!(purged.out.contains("not permitted"), "what only a superuser may is told: {purged:?}");
}

#[tokio::test]
async fn whoever_repeats_an_erasure_gets_the_answer_to_the_first() {
    let world = World::start().await;
    let api = world.api();
    let echo = api.publish(ECHO).await;
    let execution = start(&api, &echo, &json!(1), "ada").await;
    completed(&api, &execution).await;
    let body = json!({"subject": "ada"});
    let first = ok(&api.post_once("/subjects/erase?wait=30s", "one", &body).await, 200);
    assert_eq!(first["status"], "erased");
    let second = ok(&api.post_once("/subjects/erase?wait=30s", "one", &body).await, 202);
    assert_eq!(second["id"], first["id"]);
    let unknown = api.post_once("/subjects/erase", "two", &body).await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.body["code"], "subject_not_found", "{unknown:?}");
    let wrong = api.post("/subjects/erase", &json!({"subject": ""})).await;
    assert_eq!(wrong.status, 422, "{wrong:?}");
}
