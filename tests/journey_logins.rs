//! Who is logged in while Everstep runs, and what they may do.

use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::support::World;

const WORKFLOW: &str = "
document: {dsl: 1.0.3, namespace: logins, name: greet, version: 1.0.0}
do: [{greet: {set: {hello: '${ .name }'}}}]
";

/// Logs in as what runs does, and takes no role.
async fn login(world: &World) -> PgPool {
    let owner = &world.server.dev().database_url;
    let url = owner.replacen("everstep@", &format!("{}@", eventstore::LOGIN), 1);
    assert_ne!(&url, owner);
    PgPoolOptions::new().max_connections(1).connect(&url).await.expect("logs in")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_owns_nothing() {
    let world = World::on_its_own_postgres().await;
    let api = world.api();
    let workflow = api.publish(WORKFLOW).await;
    let ran = api.run(&workflow, &json!({"name": "Ada"})).await;
    assert_eq!(ran["output"], json!({"hello": "Ada"}));

    let who: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT usename::text FROM pg_stat_activity WHERE application_name LIKE 'everstep %'",
    )
    .fetch_all(&world.pool().await)
    .await
    .expect("looks");
    assert_eq!(who, [eventstore::LOGIN]);

    let login = login(&world).await;
    assert!(!eventstore::owns_log(&login).await.expect("looks"));
    assert!(eventstore::owns_log(&world.pool().await).await.expect("looks"), "somebody does");
    for statement in [
        "SELECT 1 FROM es.event",
        "ALTER TABLE es.event DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "SET ROLE everstep",
        "DROP SCHEMA es CASCADE",
    ] {
        let done = sqlx::raw_sql(statement).execute(&login).await;
        assert!(done.is_err(), "{statement}");
    }
    for role in ["everstep_command", "everstep_query", "everstep_worker"] {
        let taken = sqlx::AssertSqlSafe(format!("SET ROLE {role}"));
        sqlx::raw_sql(taken).execute(&login).await.expect(role);
    }
}
