//! Lists in pages, newest first.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::query::QueryAs;
use sqlx::{Database, FromRow, PgConnection, Postgres};
use utoipa::ToSchema;
use uuid::Uuid;

/// The most items of a page.
const LONGEST: u32 = 200;

/// The end of the year 9999: the last that RFC 3339 can name.
const END_OF_TIME: Timestamp =
    Timestamp::from_timestamp(253_402_300_799, 0).expect("a valid instant");

/// A place in a list that is sorted by time and id, newest first. Opaque to clients; it stays good
/// whatever is added or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Time of the last item before it.
    pub(crate) at: Timestamp,
    /// Id of that item.
    pub(crate) id: Uuid,
}

/// A text that no list ever gave out as a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a cursor that a list gave out")]
pub struct MalformedCursor;

impl Cursor {
    /// Before the first item.
    const START: Self = Self { at: END_OF_TIME, id: Uuid::max() };
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.at.timestamp_micros().to_be_bytes());
        bytes[8..].copy_from_slice(self.id.as_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = MalformedCursor;

    fn from_str(text: &str) -> Result<Self, MalformedCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| MalformedCursor)?;
        let (micros, id) = bytes.split_first_chunk::<8>().ok_or(MalformedCursor)?;
        let id = Uuid::from_slice(id).map_err(|_| MalformedCursor)?;
        let at = Timestamp::from_timestamp_micros(i64::from_be_bytes(*micros))
            .filter(|at| (Timestamp::UNIX_EPOCH..=END_OF_TIME).contains(at))
            .ok_or(MalformedCursor)?;
        Ok(Self { at, id })
    }
}

/// Which page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    limit: u32,
    after: Cursor,
}

impl Paging {
    /// The page after a cursor, or the first one; of 1 to 200 items.
    #[must_use]
    pub fn new(limit: u32, after: Option<Cursor>) -> Self {
        let after = after.unwrap_or(Cursor::START);
        Self { limit: limit.clamp(1, LONGEST), after }
    }

    /// The time to ask for items before.
    pub(crate) fn before(&self) -> Timestamp {
        self.after.at
    }

    /// The id to ask for items before, among those of that time.
    pub(crate) fn before_id(&self) -> Uuid {
        self.after.id
    }

    /// How many rows to ask for: one more than a page has, to see whether there is another page.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The page that `found` finds: a query that takes time and id of the cursor and the number of
    /// rows as its last three parameters.
    pub(crate) async fn fetch<'q, T>(
        &self,
        db: &mut PgConnection,
        found: QueryAs<'q, Postgres, T, <Postgres as Database>::Arguments>,
        place: fn(&T) -> Cursor,
    ) -> sqlx::Result<Page<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let found = found.bind(self.before()).bind(self.before_id()).bind(self.rows());
        Ok(self.page(found.fetch_all(db).await?, place))
    }

    /// The page of the rows that were found.
    pub(crate) fn page<T>(&self, mut rows: Vec<T>, place: impl Fn(&T) -> Cursor) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(|row| place(row).to_string());
        Page { items: rows, next_cursor }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Page<T> {
    /// What is on it, newest first.
    pub items: Vec<T>,
    /// Asks for the next page; none after the last one.
    pub next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use domain::scenario::NOON;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_as_it_was_written(micros in 0..1_000_000_000_000_000_i64, id: u128) {
            let at = Timestamp::from_timestamp_micros(micros).expect("a time");
            let cursor = Cursor { at, id: Uuid::from_u128(id) };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn no_text_breaks_the_reading_of_cursors(text: String) {
            let _ = text.parse::<Cursor>();
        }
    }

    #[test]
    fn times_that_the_database_does_not_know_are_no_cursors() {
        let cursor = Cursor { at: Timestamp::MAX_UTC, id: Uuid::nil() };
        assert_eq!(cursor.to_string().parse::<Cursor>(), Err(MalformedCursor));
        assert_eq!("".parse::<Cursor>(), Err(MalformedCursor));
    }

    #[test]
    fn a_page_names_the_next_only_if_there_is_one() {
        let paging = Paging::new(2, None);
        let cursor = |id: &u8| Cursor { at: NOON, id: Uuid::from_u128(u128::from(*id)) };
        let page = paging.page(vec![1, 2, 3], cursor);
        assert_eq!((page.items, page.next_cursor), (vec![1, 2], Some(cursor(&2).to_string())));
        let page = paging.page(vec![1, 2], cursor);
        assert_eq!((page.items, page.next_cursor), (vec![1, 2], None));
    }
}
