//! Rows of a replay that are not yet in its tables, or are likely to be wanted again.

use std::any::Any;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::PgConnection;

use super::filter::Filter;
use super::{Schema, Table, broken, copy, rows};

/// Rows of many tables. A row that comes and goes between two flushes never reaches its table, and
/// one that is new there is copied in, which is many times cheaper than asking for it and updating
/// it with every batch.
pub(crate) struct Memory {
    tables: BTreeMap<&'static str, Box<dyn Held>>,
    /// Keys of all rows that were written.
    written: Filter,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("tables", &self.tables.keys()).finish_non_exhaustive()
    }
}

/// Rows of one table.
struct Rows<K, R> {
    table: Table,
    slots: BTreeMap<K, Slot<R>>,
    /// Columns that hold JSON, once they are known.
    json: Option<HashSet<String>>,
}

struct Slot<R> {
    row: Content<R>,
    /// Whether the table has a row of this key.
    is_written: bool,
    /// Whether the row is not what the table has.
    is_changed: bool,
    /// Whether it was wanted since the last flush.
    is_wanted: bool,
}

impl<R> Slot<R> {
    /// A row of the table that a fold has.
    fn handed_out() -> Self {
        Self { row: Content::Out, is_written: true, is_changed: false, is_wanted: true }
    }
}

enum Content<R> {
    Row(R),
    /// There is none.
    Nothing,
    /// A fold has it at this moment.
    Out,
}

/// [`Rows`] of whatever types.
#[async_trait]
trait Held: Send + Sync {
    fn as_any(&mut self) -> &mut dyn Any;

    async fn flush(
        &mut self,
        db: &mut PgConnection,
        schema: Schema,
        written: &mut Filter,
    ) -> sqlx::Result<()>;
}

impl Memory {
    /// For tables that are empty.
    pub(crate) fn of_empty_tables() -> Self {
        Self { tables: BTreeMap::new(), written: Filter::empty() }
    }

    /// For tables that have rows already.
    pub(crate) fn of_filled_tables() -> Self {
        Self { tables: BTreeMap::new(), written: Filter::full() }
    }

    /// Brings the tables up to what folds have saved. Rows that were not wanted since the last time
    /// are forgotten.
    pub(crate) async fn flush(
        &mut self,
        db: &mut PgConnection,
        schema: Schema,
    ) -> sqlx::Result<()> {
        for held in self.tables.values_mut() {
            held.flush(db, schema, &mut self.written).await?;
        }
        Ok(())
    }

    pub(super) async fn fetch<'k, K, R>(
        &mut self,
        db: &mut PgConnection,
        schema: Schema,
        table: &Table,
        keys: impl Iterator<Item = &'k K>,
    ) -> sqlx::Result<BTreeMap<K, R>>
    where
        K: Ord + Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let held = rows_of::<K, R>(&mut self.tables, table)?;
        let (mut found, mut missing) = (BTreeMap::new(), vec![]);
        for key in keys {
            if let Some(slot) = held.slots.get_mut(key) {
                slot.is_wanted = true;
                match std::mem::replace(&mut slot.row, Content::Out) {
                    Content::Row(row) => {
                        found.insert(key.clone(), row);
                    }
                    none @ (Content::Nothing | Content::Out) => slot.row = none,
                }
            } else if self.written.may_have(&mark(table, key)?) {
                missing.push(key);
            }
        }
        let fetched: BTreeMap<K, R> = rows::fetch(db, schema, table, missing.into_iter()).await?;
        for (key, row) in fetched {
            held.slots.insert(key.clone(), Slot::handed_out());
            found.insert(key, row);
        }
        Ok(found)
    }

    /// Writes all rows of a table that are not written yet, and forgets the others.
    pub(super) async fn put_down<K, R>(
        &mut self,
        db: &mut PgConnection,
        schema: Schema,
        table: &Table,
    ) -> sqlx::Result<()>
    where
        K: Ord + Serialize + Send + Sync + 'static,
        R: Serialize + Send + Sync + 'static,
    {
        let held = rows_of::<K, R>(&mut self.tables, table)?;
        held.flush(db, schema, &mut self.written).await?;
        held.slots.clear();
        Ok(())
    }

    /// Takes note that a fold has rows that are in the table.
    pub(super) fn hand_out<K, R>(
        &mut self,
        table: &Table,
        keys: impl Iterator<Item = K>,
    ) -> sqlx::Result<()>
    where
        K: Ord + Serialize + Send + Sync + 'static,
        R: Serialize + Send + Sync + 'static,
    {
        let held = rows_of::<K, R>(&mut self.tables, table)?;
        held.slots.extend(keys.map(|key| (key, Slot::handed_out())));
        Ok(())
    }

    pub(super) fn save<K, R>(
        &mut self,
        table: &Table,
        rows: BTreeMap<K, Option<R>>,
    ) -> sqlx::Result<()>
    where
        K: Ord + Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let held = rows_of::<K, R>(&mut self.tables, table)?;
        for (key, row) in rows {
            let is_written = held.slots.get(&key).is_some_and(|slot| slot.is_written);
            let row = row.map_or(Content::Nothing, Content::Row);
            let slot = Slot { row, is_written, is_changed: true, is_wanted: true };
            held.slots.insert(key, slot);
        }
        Ok(())
    }
}

/// The rows of a table, whose types are always the same.
fn rows_of<'a, K, R>(
    tables: &'a mut BTreeMap<&'static str, Box<dyn Held>>,
    table: &Table,
) -> sqlx::Result<&'a mut Rows<K, R>>
where
    K: Ord + Serialize + Send + Sync + 'static,
    R: Serialize + Send + Sync + 'static,
{
    let held = tables.entry(table.name).or_insert_with(|| {
        Box::new(Rows::<K, R> { table: *table, slots: BTreeMap::new(), json: None })
    });
    let rows = held.as_any().downcast_mut();
    rows.ok_or_else(|| broken(format!("rows of {} are of two types", table.name)))
}

/// What stands for a row in the filter.
fn mark<K: Serialize>(table: &Table, key: &K) -> sqlx::Result<(&'static str, Vec<u8>)> {
    Ok((table.name, serde_json::to_vec(key).map_err(broken)?))
}

#[async_trait]
impl<K, R> Held for Rows<K, R>
where
    K: Ord + Serialize + Send + Sync + 'static,
    R: Serialize + Send + Sync + 'static,
{
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    async fn flush(
        &mut self,
        db: &mut PgConnection,
        schema: Schema,
        written: &mut Filter,
    ) -> sqlx::Result<()> {
        let table = self.table;
        if self.json.is_none() {
            self.json = Some(copy::json_columns(db, schema, &table).await?);
        }
        let (mut new, mut updated, mut gone) = (copy::Lines::default(), vec![], vec![]);
        for (key, slot) in &self.slots {
            match (&slot.row, &self.json) {
                (Content::Row(row), _) if slot.is_changed && slot.is_written => {
                    updated.push(table.written(key, row)?.0);
                }
                (Content::Row(row), Some(json)) if slot.is_changed => {
                    written.add(&mark(&table, key)?);
                    new.push(json, &table.columns(key, row)?)?;
                }
                (Content::Nothing, _) if slot.is_written => gone.push(table.named(key)?),
                (Content::Row(_) | Content::Nothing, _) => {}
                (Content::Out, _) => {
                    let text = format!("a row of {} was fetched and not saved", table.name);
                    return Err(broken(text));
                }
            }
        }
        rows::delete(db, schema, &table, &gone).await?;
        rows::upsert(db, schema, &table, &updated).await?;
        new.send(db, schema, &table).await?;
        self.slots.retain(|_, slot| slot.is_wanted && matches!(slot.row, Content::Row(_)));
        for slot in self.slots.values_mut() {
            (slot.is_written, slot.is_changed, slot.is_wanted) = (true, false, false);
        }
        Ok(())
    }
}
