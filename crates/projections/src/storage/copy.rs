//! Rows into a table by `COPY`: the fastest way in.

use std::collections::HashSet;
use std::fmt::Write as _;

use serde_json::{Map, Value};
use sqlx::PgConnection;

use super::{Schema, Table, broken, list};

/// How many bytes are sent at once, or a row more.
const PIECE: usize = 1 << 20;

/// The columns of a table that hold JSON.
pub(super) async fn json_columns(
    db: &mut PgConnection,
    schema: Schema,
    table: &Table,
) -> sqlx::Result<HashSet<String>> {
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT attname::text FROM pg_catalog.pg_attribute
         WHERE attrelid = format('%I.%I', $1::text, $2::text)::regclass AND attnum > 0
             AND atttypid IN ('json'::regtype, 'jsonb'::regtype)",
    )
    .bind(schema.name())
    .bind(table.name)
    .fetch_all(db)
    .await?;
    Ok(columns.into_iter().collect())
}

/// Rows as `COPY` takes them.
#[derive(Debug, Default)]
pub(super) struct Lines {
    columns: Vec<String>,
    pieces: Vec<String>,
}

impl Lines {
    /// Adds a row; all have the same columns.
    pub(super) fn push(
        &mut self,
        json: &HashSet<String>,
        row: &Map<String, Value>,
    ) -> sqlx::Result<()> {
        if self.columns.is_empty() {
            self.columns = row.keys().cloned().collect();
        }
        if self.pieces.last().is_none_or(|piece| piece.len() >= PIECE) {
            self.pieces.push(String::new());
        }
        match self.pieces.last_mut() {
            Some(piece) => line(piece, &self.columns, json, row),
            None => Ok(()),
        }
    }

    /// Adds the rows to a table, which has none of them.
    pub(super) async fn send(
        self,
        db: &mut PgConnection,
        schema: Schema,
        table: &Table,
    ) -> sqlx::Result<()> {
        if self.pieces.is_empty() {
            return Ok(());
        }
        let columns = list(self.columns.iter().map(String::as_str));
        let sql = format!("COPY {}.{} ({columns}) FROM STDIN", schema.name(), table.name);
        let mut copy = db.copy_in_raw(&sql).await?;
        for piece in self.pieces {
            copy.send(piece.into_bytes()).await?;
        }
        copy.finish().await.map(drop)
    }
}

/// A row in the text format of `COPY`: cells apart by tabs, `\N` for null, a backslash before what
/// would otherwise mean something.
fn line(
    text: &mut String,
    columns: &[String],
    json: &HashSet<String>,
    row: &Map<String, Value>,
) -> sqlx::Result<()> {
    for (nth, column) in columns.iter().enumerate() {
        if nth > 0 {
            text.push('\t');
        }
        let value = row.get(column).unwrap_or(&Value::Null);
        match value {
            Value::Null => text.push_str("\\N"),
            Value::String(words) if !json.contains(column) => escape(text, words),
            Value::Bool(_) | Value::Number(_) => {
                write!(text, "{value}").map_err(broken)?;
            }
            Value::String(_) | Value::Array(_) | Value::Object(_) if json.contains(column) => {
                escape(text, &value.to_string());
            }
            Value::String(_) | Value::Array(_) | Value::Object(_) => {
                return Err(broken(format!("column {column} holds no JSON")));
            }
        }
    }
    text.push('\n');
    Ok(())
}

fn escape(text: &mut String, words: &str) {
    let mut rest = words;
    while let Some(at) = rest.find(['\\', '\t', '\n', '\r']) {
        text.push_str(&rest[..at]);
        text.push_str(match rest.as_bytes()[at] {
            b'\t' => "\\t",
            b'\n' => "\\n",
            b'\r' => "\\r",
            _ => "\\\\",
        });
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(json: &[&str], row: Value) -> sqlx::Result<String> {
        let Value::Object(row) = row else { panic!("a row is an object") };
        let json = json.iter().map(|name| (*name).to_owned()).collect();
        let mut lines = Lines::default();
        lines.push(&json, &row).map(|()| lines.pieces.concat())
    }

    #[test]
    fn what_means_something_to_copy_is_escaped() {
        let row = json!({"a": "x\ty\\N\r\nz", "b": null, "c": -1, "d": true});
        let text = written(&[], row).expect("is written");
        assert_eq!(text, "x\\ty\\\\N\\r\\nz\t\\N\t-1\ttrue\n");
    }

    #[test]
    fn json_is_written_as_json_and_only_where_it_may_stand() {
        let row = json!({"a": {"b": "\n"}});
        assert_eq!(written(&["a"], row.clone()).expect("is written"), "{\"b\":\"\\\\n\"}\n");
        assert_eq!(written(&["a"], json!({"a": "x"})).expect("is written"), "\"x\"\n");
        assert!(written(&[], row).is_err());
    }
}
