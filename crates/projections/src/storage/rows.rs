//! Statements on rows of any table.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::{Schema, Table, broken, list};

/// The rows of these keys that exist.
pub(super) async fn fetch<'a, K, R>(
    db: &mut PgConnection,
    schema: Schema,
    table: &Table,
    keys: impl Iterator<Item = &'a K>,
) -> sqlx::Result<BTreeMap<K, R>>
where
    K: Ord + Serialize + DeserializeOwned + 'a,
    R: DeserializeOwned,
{
    let keys = keys.map(|key| table.named(key)).collect::<sqlx::Result<Vec<_>>>()?;
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (schema, name, same_key) = (schema.name(), table.name, table.same_key());
    let sql = format!(
        "SELECT to_jsonb(t)::text
         FROM {schema}.{name} t
         JOIN json_populate_recordset(NULL::{schema}.{name}, $1::json) k ON {same_key}"
    );
    let rows: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(all(&keys)).fetch_all(db).await?;
    rows.iter().map(|text| row(table, text)).collect()
}

/// How many rows of a subject are fetched at once.
const OF_SUBJECT: i64 = 1_000;

/// The next rows of a subject after a key, in the order of their keys.
pub(super) async fn of_subject<K, R>(
    db: &mut PgConnection,
    schema: Schema,
    table: &Table,
    (tenant, subject): (Uuid, Uuid),
    after: Option<&K>,
) -> sqlx::Result<Vec<(K, R)>>
where
    K: Serialize + DeserializeOwned,
    R: DeserializeOwned,
{
    let after = after.map(|key| table.named(key)).transpose()?;
    let (schema, name, key) = (schema.name(), table.name, table.key_list());
    let sql = format!(
        "SELECT to_jsonb(t)::text FROM {schema}.{name} t
         WHERE tenant = $1 AND subject = $2 AND ($3::text IS NULL OR ({key}) >
             (SELECT {key} FROM jsonb_populate_record(NULL::{schema}.{name}, $3::text::jsonb)))
         ORDER BY {key} LIMIT $4"
    );
    let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(tenant)
        .bind(subject)
        .bind(after)
        .bind(OF_SUBJECT)
        .fetch_all(db)
        .await?;
    rows.iter().map(|text| row(table, text)).collect()
}

fn row<K: DeserializeOwned, R: DeserializeOwned>(
    table: &Table,
    text: &str,
) -> sqlx::Result<(K, R)> {
    let mut columns: Map<String, Value> = serde_json::from_str(text).map_err(broken)?;
    let parts = table.key.iter().map(|column| columns.remove(*column).unwrap_or_default());
    let key = serde_json::from_value(Value::Array(parts.collect())).map_err(broken)?;
    let row = serde_json::from_value(Value::Object(columns)).map_err(broken)?;
    Ok((key, row))
}

/// Writes rows, whether or not they are there; all of them have the same columns.
pub(super) async fn upsert(
    db: &mut PgConnection,
    schema: Schema,
    table: &Table,
    rows: &[String],
) -> sqlx::Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let columns: BTreeMap<&str, &RawValue> = serde_json::from_str(first).map_err(broken)?;
    let columns: Vec<&str> = columns.into_keys().collect();
    let set = columns.iter().filter(|column| !table.key.contains(*column));
    let set = set.map(|column| format!(r#""{column}" = excluded."{column}""#));
    let set = set.collect::<Vec<_>>().join(", ");
    let (schema, name, key) = (schema.name(), table.name, table.key_list());
    let columns = list(columns.iter().copied());
    let sql = format!(
        "INSERT INTO {schema}.{name} ({columns})
         SELECT {columns} FROM json_populate_recordset(NULL::{schema}.{name}, $1::json)
         ON CONFLICT ({key}) DO UPDATE SET {set}"
    );
    sqlx::query(AssertSqlSafe(sql)).bind(all(rows)).execute(db).await.map(drop)
}

/// Removes rows.
pub(super) async fn delete(
    db: &mut PgConnection,
    schema: Schema,
    table: &Table,
    keys: &[String],
) -> sqlx::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let (schema, name, same_key) = (schema.name(), table.name, table.same_key());
    let sql = format!(
        "DELETE FROM {schema}.{name} t
         USING json_populate_recordset(NULL::{schema}.{name}, $1::json) k
         WHERE {same_key}"
    );
    sqlx::query(AssertSqlSafe(sql)).bind(all(keys)).execute(db).await.map(drop)
}

/// Rows as one JSON text, which Postgres reads into rows without making a document of it first.
fn all(rows: &[String]) -> String {
    format!("[{}]", rows.join(","))
}
