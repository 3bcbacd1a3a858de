//! Data about people.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// The one member of the object that stands for a personal value in the JSON of an event.
///
/// It holds a list of the value itself where the value is at hand, and null where it was erased.
/// The log seals the values and leaves numbers in their places.
pub const MARK: &str = "$personal";

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
        let of = |value| T::deserialize::<Value>(value).map(Self::from).map_err(D::Error::custom);
        let mut value = Value::deserialize(deserializer)?;
        let marked = value.as_object_mut().filter(|members| members.len() == 1);
        match marked.and_then(|members| members.get_mut(MARK)) {
            None => of(value),
            Some(Value::Null) => Ok(Self::erased()),
            Some(Value::Array(values)) if values.len() == 1 => of(values.swap_remove(0)),
            Some(_) => Err(D::Error::custom("a personal value is sealed")),
        }
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
    fn nothing_personal_is_shown_for_debugging() {
        assert_eq!(format!("{:?}", Personal::from("Ada")), "Personal(…)");
    }
}
