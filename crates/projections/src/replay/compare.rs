//! Comparing live rows with replayed ones.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::storage::{Schema, Table};

/// A row that is not what the log says.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its table.
    pub table: &'static str,
    /// Its key: the value of each key column.
    pub key: Map<String, Value>,
    /// The columns that differ: all, if the row is missing on one side.
    pub columns: Vec<ColumnDifference>,
}

/// A column of a row that is not what the log says.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDifference {
    /// The column.
    pub name: String,
    /// What is there; none if the row is not.
    pub live: Option<Value>,
    /// What the log says; none if it knows no such row.
    pub replayed: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<String> =
            self.key.iter().map(|(name, value)| format!("{name}={value}")).collect();
        write!(f, "{} [{}]", self.table, key.join(" "))?;
        let missing = |side: fn(&ColumnDifference) -> &Option<Value>| {
            self.columns.iter().all(|column| side(column).is_none())
        };
        if missing(|column| &column.live) {
            return f.write_str(" is missing");
        }
        if missing(|column| &column.replayed) {
            return f.write_str(" should not be there");
        }
        for (place, ColumnDifference { name, live, replayed }) in self.columns.iter().enumerate() {
            let (live, replayed) =
                (live.clone().unwrap_or_default(), replayed.clone().unwrap_or_default());
            let before = if place == 0 { ":" } else { ";" };
            write!(f, "{before} {name} is {live}, the log says {replayed}")?;
        }
        Ok(())
    }
}

/// How many rows the live table has.
pub(super) async fn count(db: &mut PgConnection, table: &Table) -> sqlx::Result<i64> {
    let sql = format!("SELECT count(*) FROM {}.{}", Schema::Live.name(), table.name);
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(db).await
}

/// The first row, by key, whose columns are not the same bytes on both sides.
pub(super) async fn first_difference(
    db: &mut PgConnection,
    table: &Table,
) -> sqlx::Result<Option<Difference>> {
    let (live, new) = (Schema::Live.name(), Schema::Verify.name());
    let (name, key) = (table.name, table.key_list());
    let sql = format!(
        "SELECT to_jsonb(l)::text, to_jsonb(r)::text
         FROM {live}.{name} l FULL JOIN {new}.{name} r USING ({key})
         WHERE l::text IS DISTINCT FROM r::text
         ORDER BY {key} LIMIT 1"
    );
    let found: Option<(Option<String>, Option<String>)> =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_optional(db).await?;
    let Some((live, replayed)) = found else { return Ok(None) };
    let columns = |text: Option<String>| text.map(|text| serde_json::from_str(&text)).transpose();
    let broken = |error: serde_json::Error| sqlx::Error::Decode(error.into());
    let live: Option<Map<String, Value>> = columns(live).map_err(broken)?;
    let replayed: Option<Map<String, Value>> = columns(replayed).map_err(broken)?;
    Ok(Some(difference(table, live.as_ref(), replayed.as_ref())))
}

fn difference(
    table: &Table,
    live: Option<&Map<String, Value>>,
    replayed: Option<&Map<String, Value>>,
) -> Difference {
    let sides = || live.into_iter().chain(replayed);
    let names: BTreeSet<&String> = sides().flat_map(Map::keys).collect();
    let value = |side: Option<&Map<String, Value>>, name: &str| side?.get(name).cloned();
    let key = table.key.iter().map(|name| {
        let value = sides().next().and_then(|side| side.get(*name)).cloned();
        ((*name).to_owned(), value.unwrap_or_default())
    });
    let columns = names.into_iter().filter_map(|name| {
        let (live, replayed) = (value(live, name), value(replayed, name));
        (live != replayed).then(|| ColumnDifference { name: name.clone(), live, replayed })
    });
    Difference { table: table.name, key: key.collect(), columns: columns.collect() }
}
