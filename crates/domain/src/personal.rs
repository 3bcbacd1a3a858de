//! Data about people.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};

use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, DeserializeOwned, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

/// The one member of the object that stands for a personal value in the JSON of an event.
///
/// It holds a list of the value itself where the value is at hand, and null where it was erased.
/// The log seals the values and leaves numbers in their places; for those that it keeps apart, texts that
/// name them.
pub const MARK: &str = "$personal";

/// The most bytes of JSON with which a personal value stands in its event. The log keeps larger ones
/// apart, each once, however many events say it.
pub const INLINE_LIMIT: usize = 8 * 1024;

/// What stands before a personal value. It cannot stand within a JSON string, whose quotes are escaped.
pub const OPEN: &str = r#"{"$personal":"#;

/// What stands for a personal value in the JSON of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark<'a> {
    /// Itself, in a list: it is at hand.
    Value(&'a str),
    /// Its number among those that were taken out and sealed together.
    Number(usize),
    /// The name of what is kept apart.
    Name(Uuid),
    /// Nothing: it was erased.
    Null,
}

impl<'a> Mark<'a> {
    /// The mark that a text begins with, and how many bytes it has.
    fn first(text: &'a str) -> Option<(Self, usize)> {
        match text.as_bytes().first()? {
            b'[' => {
                let list = serde_json::Deserializer::from_str(text.strip_prefix('[')?);
                let value: &RawValue = list.into_iter().next()?.ok()?;
                Some((Self::Value(value.get()), value.get().len() + 2))
            }
            b'"' => Some((Self::Name(text.get(1..37)?.parse().ok()?), 38)),
            b'n' => Some((Self::Null, 4)),
            _ => {
                let digits = text.bytes().take_while(u8::is_ascii_digit).count();
                Some((Self::Number(text[..digits].parse().ok()?), digits))
            }
        }
    }
}

/// The marks in the JSON of an event, in order, and where they stand. What looks like one within a value
/// is part of the value.
pub fn marks(json: &str) -> impl Iterator<Item = (Range<usize>, Mark<'_>)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + json[from..].find(OPEN)? + OPEN.len();
            from = start;
            if let Some((mark, size)) = Mark::first(&json[start..]) {
                from = start + size;
                return Some((start..from, mark));
            }
        }
    })
}

/// How many bytes the JSON of an event has without the values that the log keeps apart.
pub(crate) fn inline_size(json: &str) -> usize {
    let saved = marks(json).map(|(place, mark)| match mark {
        Mark::Value(value) if value.len() > INLINE_LIMIT => place.len() - NAME,
        Mark::Value(_) | Mark::Number(_) | Mark::Name(_) | Mark::Null => 0,
    });
    json.len() - saved.sum::<usize>()
}

/// How many bytes a name has.
const NAME: usize = 38;

/// What an event says about a person.
///
/// The log keeps it sealed under a key of that person, the [`crate::subject::Subject`] of the
/// stream. When the key is destroyed the value is gone, here, in backups and in exports; what reads
/// it then finds the default of its type. Never shown by `Debug`, so that it does not get into logs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Personal<T> {
    value: T,
    is_erased: bool,
}

impl<T> Personal<T> {
    /// The value; none if it was erased.
    pub fn known(&self) -> Option<&T> {
        (!self.is_erased).then_some(&self.value)
    }

    /// Whether it was erased.
    pub fn is_erased(&self) -> bool {
        self.is_erased
    }

    /// The value, or the default of its type if it was erased.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// What stands where a value was erased.
    #[must_use]
    pub fn erased() -> Self
    where
        T: Default,
    {
        Self { value: T::default(), is_erased: true }
    }

    /// Whether nothing is there, and nothing ever was.
    pub(crate) fn is_default(&self) -> bool
    where
        T: Default + PartialEq,
    {
        !self.is_erased && self.value == T::default()
    }
}

impl<T> From<T> for Personal<T> {
    fn from(value: T) -> Self {
        Self { value, is_erased: false }
    }
}

impl<T> Deref for Personal<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Personal<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_erased { "Personal(erased)" } else { "Personal(…)" })
    }
}

impl<T: Serialize> Serialize for Personal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut marked = serializer.serialize_map(Some(1))?;
        match self.known() {
            Some(value) => marked.serialize_entry(MARK, &[value])?,
            None => marked.serialize_entry(MARK, &())?,
        }
        marked.end()
    }
}

/// What was stored before values were marked is read as it stands.
impl<'de, T: DeserializeOwned + Default> Deserialize<'de> for Personal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Marked(PhantomData))
    }
}

/// Reads a personal value, without a tree of JSON between.
struct Marked<T>(PhantomData<T>);

impl<T: DeserializeOwned> Marked<T> {
    fn bare<E: de::Error>(value: Value) -> Result<Personal<T>, E> {
        T::deserialize(value).map(Personal::from).map_err(E::custom)
    }
}

impl<'de, T: DeserializeOwned + Default> Visitor<'de> for Marked<T> {
    type Value = Personal<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a personal value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Personal<T>, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if name != MARK || !members.is_empty() {
                members.insert(name, map.next_value()?);
                continue;
            }
            let value = map.next_value::<Listed<T>>()?;
            if map.next_key::<String>()?.is_some() {
                return Err(A::Error::custom("a personal value is marked, and not by itself"));
            }
            return Ok(value.0);
        }
        Self::bare(Value::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Personal<T>, A::Error> {
        T::deserialize(SeqAccessDeserializer::new(seq)).map(Personal::from)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Personal<T>, E> {
        Self::bare(text.into())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Personal<T>, E> {
        Self::bare(value.into())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Personal<T>, E> {
        Self::bare(number.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Personal<T>, E> {
        Self::bare(number.into())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Personal<T>, E> {
        Self::bare(number.into())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Personal<T>, E> {
        Self::bare(Value::Null)
    }
}

/// What stands behind the mark: a list of the value, or null.
struct Listed<T>(Personal<T>);

impl<'de, T: DeserializeOwned + Default> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InList(PhantomData))
    }
}

struct InList<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned + Default> Visitor<'de> for InList<T> {
    type Value = Listed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of one value: a personal value is sealed")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Listed<T>, A::Error> {
        match (list.next_element::<T>()?, list.next_element::<IgnoredAny>()?) {
            (Some(value), None) => Ok(Listed(value.into())),
            (None | Some(_), _) => Err(A::Error::custom("a personal value is not one")),
        }
    }

    fn visit_unit<E: de::Error>(self) -> Result<Listed<T>, E> {
        Ok(Listed(Personal::erased()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_marked_where_it_is_written_down() {
        let known = Personal::from(json!({"$personal": null}));
        let written = serde_json::to_value(&known).unwrap();
        assert_eq!(written, json!({"$personal": [{"$personal": null}]}));
        assert_eq!(serde_json::from_value::<Personal<Value>>(written).unwrap(), known);
    }

    #[test]
    fn an_erased_value_reads_as_the_default_and_is_still_told_from_it() {
        let erased: Personal<Vec<String>> =
            serde_json::from_value(json!({"$personal": null})).unwrap();
        assert_eq!((erased.known(), erased.len()), (None, 0));
        assert_ne!(erased, Personal::default());
        assert_eq!(serde_json::to_value(&erased).unwrap(), json!({"$personal": null}));
    }

    #[test]
    fn a_sealed_value_is_not_taken_for_an_erased_one() {
        let sealed = serde_json::from_value::<Personal<Value>>(json!({"$personal": 0}));
        assert!(sealed.unwrap_err().to_string().contains("sealed"));
    }

    #[test]
    fn what_was_stored_without_a_mark_is_read() {
        let old: Personal<Value> = serde_json::from_value(json!({"a": 1})).unwrap();
        assert_eq!(old.known(), Some(&json!({"a": 1})));
    }

    #[test]
    fn marks_are_found_and_what_looks_like_one_within_a_value_is_none() {
        let id = Uuid::from_u128(7);
        let json = format!(
            r#"{{"a":{{"$personal":[{{"$personal":null}}]}},"b":[{{"$personal":12}},{{"$personal":"{id}"}}],"c":{{"$personal":null}},"d":"{{\"$personal\":1}}","e":{{"$personal":{{}}}}}}"#
        );
        let found: Vec<_> = marks(&json).collect();
        let marks: Vec<_> = found.iter().map(|(_, mark)| *mark).collect();
        let value = Mark::Value(r#"{"$personal":null}"#);
        assert_eq!(marks, [value, Mark::Number(12), Mark::Name(id), Mark::Null]);
        let texts: Vec<_> = found.into_iter().map(|(place, _)| &json[place]).collect();
        assert_eq!(texts[0], r#"[{"$personal":null}]"#);
        assert_eq!(texts[2], format!("\"{id}\""));
    }

    #[test]
    fn large_values_count_as_much_as_their_names() {
        let json = |size| {
            serde_json::to_string(&(Personal::from("x".repeat(size)), Personal::from("y"))).unwrap()
        };
        let small = json(INLINE_LIMIT - 2);
        assert_eq!(inline_size(&small), small.len());
        let named = r#"[{"$personal":"00000000-0000-0000-0000-000000000000"},{"$personal":["y"]}]"#;
        assert_eq!(inline_size(&json(INLINE_LIMIT - 1)), named.len());
        assert_eq!(inline_size(&json(10 * INLINE_LIMIT)), named.len());
    }

    #[test]
    fn nothing_personal_is_shown_for_debugging() {
        assert_eq!(format!("{:?}", Personal::from("Ada")), "Personal(…)");
    }
}
