//! How rows of any table are fetched and saved: a batch of keys in, a batch of rows out.

mod copy;
mod filter;
mod kept;
mod memory;
mod rows;

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

pub(crate) use self::kept::{Kept, Shelf};
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

    /// A key as an object of its columns, in JSON that Postgres can read.
    fn named<K: Serialize>(&self, key: &K) -> sqlx::Result<String> {
        let parts = serde_json::to_string(key).map_err(broken)?;
        let parts: Vec<&RawValue> =
            serde_json::from_str(&parts).map_err(|_| broken("a key is a tuple"))?;
        debug_assert_eq!(parts.len(), self.key.len(), "a key of {} has other columns", self.name);
        let mut named = String::new();
        for (column, part) in self.key.iter().zip(parts) {
            named.push(if named.is_empty() { '{' } else { ',' });
            named.extend(["\"", column, "\":", part.get()]);
        }
        named.push('}');
        readable(named)
    }

    /// A row as an object of all its columns, in JSON that Postgres can read and keep; and whether it is
    /// fetched as it is. No tree is made of it: this is most of what a fold costs.
    fn written<K: Serialize, R: Serialize>(
        &self,
        key: &K,
        row: &R,
    ) -> sqlx::Result<(String, bool)> {
        let mut written = self.named(key)?;
        let others = serde_json::to_string(row).map_err(broken)?;
        let is_as_it_is = !may_have_nul(&others);
        let others = readable(others)?;
        let others = others.strip_prefix('{').ok_or_else(|| broken("a row is a struct"))?;
        written.pop();
        written.extend([",", others]);
        Ok((written, is_as_it_is))
    }

    /// A row as an object of all its columns, such that Postgres can keep it.
    fn columns<K: Serialize, R: Serialize>(
        &self,
        key: &K,
        row: &R,
    ) -> sqlx::Result<Map<String, Value>> {
        let parts = serde_json::to_value(key).map_err(broken)?;
        let Value::Array(parts) = parts else { return Err(broken("a key is a tuple")) };
        let Value::Object(mut columns) = serde_json::to_value(row).map_err(broken)? else {
            return Err(broken("a row is a struct"));
        };
        columns.extend(self.key.iter().map(|column| (*column).to_owned()).zip(parts));
        columns.values_mut().for_each(without_nul);
        Ok(columns)
    }
}

/// JSON without what Postgres cannot keep; mostly there is nothing of that.
fn readable(json: String) -> sqlx::Result<String> {
    if !may_have_nul(&json) {
        return Ok(json);
    }
    let mut value = serde_json::from_str(&json).map_err(broken)?;
    without_nul(&mut value);
    Ok(value.to_string())
}

fn may_have_nul(json: &str) -> bool {
    json.contains(r"\u0000")
}

/// The tables into which a fold goes. Folds read and write rows through it and in no other way, so
/// that the same fold serves the live tables and those of a replay, which holds rows in memory for
/// a while.
#[derive(Debug)]
pub struct Tables<'a> {
    db: &'a mut PgConnection,
    schema: Schema,
    rows: Where<'a>,
}

/// Where rows are sought before they are in the database.
#[derive(Debug)]
enum Where<'a> {
    /// Here are those that were written a moment ago.
    Kept(&'a mut Kept),
    /// Here they stay for a while before they are written.
    Held(&'a mut Memory),
}

impl<'a> Tables<'a> {
    /// The live tables, in the transaction of a connection, with what is known of their rows. If that is
    /// not committed, nothing is known of them any more.
    pub(crate) fn live(db: &'a mut PgConnection, kept: &'a mut Kept) -> Self {
        Self { db, schema: Schema::Live, rows: Where::Kept(kept) }
    }

    /// The tables of a schema, with rows in memory that are written when that is
    /// [flushed](Memory::flush).
    pub(crate) fn held(db: &'a mut PgConnection, schema: Schema, memory: &'a mut Memory) -> Self {
        Self { db, schema, rows: Where::Held(memory) }
    }

    /// Whether rows are in memory for a while.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.rows, Where::Held(_))
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
        match &mut self.rows {
            Where::Held(memory) => memory.fetch(self.db, self.schema, table, keys).await,
            Where::Kept(kept) => {
                let (mut found, missing) = kept.hand_out(table, keys)?;
                found.append(
                    &mut rows::fetch(self.db, self.schema, table, missing.into_iter()).await?,
                );
                Ok(found)
            }
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
        if let Where::Held(memory) = &mut self.rows {
            memory.put_down::<K, R>(self.db, self.schema, table).await?;
        }
        let rows = rows::of_subject(self.db, self.schema, table, whose, after).await?;
        if let Where::Held(memory) = &mut self.rows {
            memory.hand_out::<K, R>(table, rows.iter().map(|(key, _)| key.clone()))?;
        }
        Ok(rows)
    }

    /// Writes every row, removing those that are `None`; `goes_on` says which are likely to be wanted
    /// again soon.
    pub(crate) async fn save<K, R>(
        &mut self,
        table: &Table,
        rows: BTreeMap<K, Option<R>>,
        goes_on: fn(&R) -> bool,
    ) -> sqlx::Result<()>
    where
        K: Ord + Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let known = match &mut self.rows {
            Where::Held(memory) => return memory.save(table, rows),
            Where::Kept(known) => known,
        };
        let (mut kept, mut gone) = (vec![], vec![]);
        for (key, row) in rows {
            if let Some(row) = row {
                let (written, is_as_it_is) = table.written(&key, &row)?;
                let stays = is_as_it_is && goes_on(&row);
                known.keep(table, key, stays.then_some((row, written.len())))?;
                kept.push(written);
            } else {
                gone.push(table.named(&key)?);
                known.keep::<K, R>(table, key, None)?;
            }
        }
        rows::delete(self.db, self.schema, table, &gone).await?;
        rows::upsert(self.db, self.schema, table, &kept).await
    }
}

/// A row as it is fetched after it was saved: what Postgres cannot keep is not in it.
pub(crate) fn refetched<R: Serialize + DeserializeOwned>(row: R) -> sqlx::Result<R> {
    let json = serde_json::to_string(&row).map_err(broken)?;
    if !may_have_nul(&json) {
        return Ok(row);
    }
    serde_json::from_str(&readable(json)?).map_err(broken)
}

fn list<'a>(columns: impl Iterator<Item = &'a str>) -> String {
    columns.map(|column| format!(r#""{column}""#)).collect::<Vec<_>>().join(", ")
}

/// A row that does not fit its struct: somebody changed it, or another release wrote it.
fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
