//! How rows of any table are fetched and saved: a batch of keys in, a batch of rows out.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::values::without_nul;

/// A set of tables: the ones that serve, or the ones that a replay fills beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// What serves.
    Live,
    /// What a replay fills.
    Replay,
}

impl Schema {
    /// Its name in Postgres.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "rm",
            Self::Replay => "rm_replay",
        }
    }
}

/// A table of a read model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The columns of its primary key, the tenant first.
    pub key: &'static [&'static str],
}

impl Table {
    /// `"a", "b"`: the key columns.
    pub(crate) fn key_list(&self) -> String {
        list(self.key.iter().copied())
    }

    /// `t."a" = k."a" AND …`: the same key on both sides.
    fn same_key(&self) -> String {
        let same = |column: &&str| format!(r#"t."{column}" = k."{column}""#);
        self.key.iter().map(same).collect::<Vec<_>>().join(" AND ")
    }

    /// A key as an object of its columns.
    fn named<K: Serialize>(&self, key: &K) -> sqlx::Result<Map<String, Value>> {
        let parts = serde_json::to_value(key).map_err(broken)?;
        let Value::Array(parts) = parts else { return Err(broken("a key is a tuple")) };
        debug_assert_eq!(parts.len(), self.key.len(), "a key of {} has other columns", self.name);
        Ok(self.key.iter().map(|column| (*column).to_owned()).zip(parts).collect())
    }
}

/// The tables into which a fold goes. Folds read and write rows through it and in no other way, so
/// that the same fold serves the live tables and those of a replay.
#[derive(Debug)]
pub struct Tables<'a> {
    db: &'a mut PgConnection,
    schema: Schema,
}

impl<'a> Tables<'a> {
    /// The tables of a schema, in the transaction of a connection.
    pub(crate) fn of(db: &'a mut PgConnection, schema: Schema) -> Self {
        Self { db, schema }
    }

    /// The rows of these keys that exist.
    pub(crate) async fn fetch<'k, K, R>(
        &mut self,
        table: &Table,
        keys: impl Iterator<Item = &'k K>,
    ) -> sqlx::Result<BTreeMap<K, R>>
    where
        K: Ord + Serialize + DeserializeOwned + 'k,
        R: DeserializeOwned,
    {
        fetch(self.db, self.schema, table, keys).await
    }

    /// Writes every row, removing those that are `None`.
    pub(crate) async fn save<K: Serialize, R: Serialize>(
        &mut self,
        table: &Table,
        rows: BTreeMap<K, Option<R>>,
    ) -> sqlx::Result<()> {
        save(self.db, self.schema, table, rows).await
    }
}

async fn fetch<'a, K, R>(
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
    let (schema, name, same_key) = (schema.name(), table.name, table.same_key());
    let sql = format!(
        "SELECT to_jsonb(t)::text
         FROM {schema}.{name} t
         JOIN jsonb_populate_recordset(NULL::{schema}.{name}, $1) k ON {same_key}"
    );
    let rows: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(Json(keys)).fetch_all(db).await?;
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

async fn save<K: Serialize, R: Serialize>(
    db: &mut PgConnection,
    schema: Schema,
    table: &Table,
    rows: BTreeMap<K, Option<R>>,
) -> sqlx::Result<()> {
    let (mut kept, mut gone) = (vec![], vec![]);
    for (key, row) in rows {
        let mut columns = table.named(&key)?;
        let Some(row) = row else {
            gone.push(columns);
            continue;
        };
        let Value::Object(others) = serde_json::to_value(row).map_err(broken)? else {
            return Err(broken("a row is a struct"));
        };
        columns.extend(others);
        let mut columns = Value::Object(columns);
        without_nul(&mut columns);
        kept.push(columns);
    }
    if !gone.is_empty() {
        delete(db, schema, table, gone).await?;
    }
    if !kept.is_empty() {
        upsert(db, schema, table, kept).await?;
    }
    Ok(())
}

async fn upsert(
    db: &mut PgConnection,
    schema: Schema,
    table: &Table,
    rows: Vec<Value>,
) -> sqlx::Result<()> {
    let columns: Vec<&str> = rows
        .first()
        .and_then(Value::as_object)
        .map(|row| row.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let set = |column: &&&str| !table.key.contains(*column);
    let set =
        columns.iter().filter(set).map(|column| format!(r#""{column}" = excluded."{column}""#));
    let set = set.collect::<Vec<_>>().join(", ");
    let (schema, name, key) = (schema.name(), table.name, table.key_list());
    let columns = list(columns.iter().copied());
    let sql = format!(
        "INSERT INTO {schema}.{name} ({columns})
         SELECT {columns} FROM jsonb_populate_recordset(NULL::{schema}.{name}, $1)
         ON CONFLICT ({key}) DO UPDATE SET {set}"
    );
    sqlx::query(AssertSqlSafe(sql)).bind(Json(rows)).execute(db).await.map(drop)
}

async fn delete(
    db: &mut PgConnection,
    schema: Schema,
    table: &Table,
    keys: Vec<Map<String, Value>>,
) -> sqlx::Result<()> {
    let (schema, name, same_key) = (schema.name(), table.name, table.same_key());
    let sql = format!(
        "DELETE FROM {schema}.{name} t
         USING jsonb_populate_recordset(NULL::{schema}.{name}, $1) k
         WHERE {same_key}"
    );
    sqlx::query(AssertSqlSafe(sql)).bind(Json(keys)).execute(db).await.map(drop)
}

fn list<'a>(columns: impl Iterator<Item = &'a str>) -> String {
    columns.map(|column| format!(r#""{column}""#)).collect::<Vec<_>>().join(", ")
}

/// A row that does not fit its struct: somebody changed it, or another release wrote it.
fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
