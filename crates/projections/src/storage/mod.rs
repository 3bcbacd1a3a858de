//! How rows of any table are fetched and saved: a batch of keys in, a batch of rows out.

mod copy;
mod filter;
mod memory;
mod rows;

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

pub(crate) use self::memory::Memory;
use crate::values::without_nul;

/// A set of tables of the same form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// What serves.
    Live,
    /// What a rebuild fills, to take the place of what serves.
    Replay,
    /// What served before the last rebuild.
    Old,
    /// What is filled to be compared with what serves.
    Verify,
    /// Read models as they were at some position.
    AsOf,
}

impl Schema {
    /// Its name in Postgres.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "rm",
            Self::Replay => "rm_replay",
            Self::Old => "rm_old",
            Self::Verify => "rm_verify",
            Self::AsOf => "as_of",
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

    /// A row as an object of all its columns, such that Postgres can keep it.
    fn columns<K: Serialize, R: Serialize>(
        &self,
        key: &K,
        row: &R,
    ) -> sqlx::Result<Map<String, Value>> {
        let mut columns = self.named(key)?;
        let Value::Object(others) = serde_json::to_value(row).map_err(broken)? else {
            return Err(broken("a row is a struct"));
        };
        columns.extend(others);
        columns.values_mut().for_each(without_nul);
        Ok(columns)
    }
}

/// The tables into which a fold goes. Folds read and write rows through it and in no other way, so
/// that the same fold serves the live tables and those of a replay, which holds rows in memory for
/// a while.
#[derive(Debug)]
pub struct Tables<'a> {
    db: &'a mut PgConnection,
    schema: Schema,
    memory: Option<&'a mut Memory>,
}

impl<'a> Tables<'a> {
    /// The tables of a schema, in the transaction of a connection.
    pub(crate) fn of(db: &'a mut PgConnection, schema: Schema) -> Self {
        Self { db, schema, memory: None }
    }

    /// The same, with rows in memory that are written when that is [flushed](Memory::flush).
    pub(crate) fn held(db: &'a mut PgConnection, schema: Schema, memory: &'a mut Memory) -> Self {
        Self { db, schema, memory: Some(memory) }
    }

    /// Whether rows are in memory for a while.
    pub(crate) fn is_held(&self) -> bool {
        self.memory.is_some()
    }

    /// The rows of these keys that exist. What is fetched is to be saved again.
    pub(crate) async fn fetch<'k, K, R>(
        &mut self,
        table: &Table,
        keys: impl Iterator<Item = &'k K>,
    ) -> sqlx::Result<BTreeMap<K, R>>
    where
        K: Ord + Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        match &mut self.memory {
            Some(memory) => memory.fetch(self.db, self.schema, table, keys).await,
            None => rows::fetch(self.db, self.schema, table, keys).await,
        }
    }

    /// The next rows of a subject after a key, in the order of their keys, at most a thousand. What
    /// is fetched is to be saved again.
    pub(crate) async fn of_subject<K, R>(
        &mut self,
        table: &Table,
        whose: (Uuid, Uuid),
        after: Option<&K>,
    ) -> sqlx::Result<Vec<(K, R)>>
    where
        K: Ord + Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        if let Some(memory) = &mut self.memory {
            memory.put_down::<K, R>(self.db, self.schema, table).await?;
        }
        let rows = rows::of_subject(self.db, self.schema, table, whose, after).await?;
        if let Some(memory) = &mut self.memory {
            memory.hand_out::<K, R>(table, rows.iter().map(|(key, _)| key.clone()))?;
        }
        Ok(rows)
    }

    /// Writes every row, removing those that are `None`.
    pub(crate) async fn save<K, R>(
        &mut self,
        table: &Table,
        rows: BTreeMap<K, Option<R>>,
    ) -> sqlx::Result<()>
    where
        K: Ord + Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        if let Some(memory) = &mut self.memory {
            return memory.save(table, rows);
        }
        let (mut kept, mut gone) = (vec![], vec![]);
        for (key, row) in rows {
            match row {
                Some(row) => kept.push(table.columns(&key, &row)?),
                None => gone.push(table.named(&key)?),
            }
        }
        rows::delete(self.db, self.schema, table, gone).await?;
        rows::upsert(self.db, self.schema, table, kept).await
    }
}

/// A row as it is fetched after it was saved: what Postgres cannot keep is not in it.
pub(crate) fn refetched<K, R>(table: &Table, key: &K, row: &R) -> sqlx::Result<R>
where
    K: Serialize,
    R: Serialize + DeserializeOwned,
{
    serde_json::from_value(Value::Object(table.columns(key, row)?)).map_err(broken)
}

fn list<'a>(columns: impl Iterator<Item = &'a str>) -> String {
    columns.map(|column| format!(r#""{column}""#)).collect::<Vec<_>>().join(", ")
}

/// A row that does not fit its struct: somebody changed it, or another release wrote it.
fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
