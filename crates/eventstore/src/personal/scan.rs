//! What stands for personal values in the JSON of an event, exchanged without building a tree of it.

use std::fmt::Write as _;

use domain::personal::{Mark, OPEN, marks};
use serde_json::value::RawValue;
use uuid::Uuid;

/// Whether anything is marked.
pub(super) fn is_marked(body: &str) -> bool {
    body.contains(OPEN)
}

/// Whether a sealed body names values that are kept apart; if it may do so, that is.
pub(super) fn is_naming(body: &str) -> bool {
    body.contains(r#"{"$personal":""#)
}

/// A body with other text in the places of those marks for which some is written.
fn exchange<'a>(body: &'a str, mut write: impl FnMut(Mark<'a>, &mut String) -> bool) -> String {
    let (mut new, mut rest) = (String::with_capacity(body.len()), 0);
    for (place, mark) in marks(body) {
        new.push_str(&body[rest..place.start]);
        if !write(mark, &mut new) {
            new.push_str(&body[place.clone()]);
        }
        rest = place.end;
    }
    new.push_str(&body[rest..]);
    new
}

/// A body without its marked values, which have their numbers in their places, and the values as
/// one JSON array. What was erased already stays as it is, and so do names.
pub(super) fn take_out(body: &str) -> (String, String) {
    let (mut values, mut count) = (String::new(), 0);
    let skeleton = exchange(body, |mark, new| match mark {
        Mark::Value(value) => {
            values.push(if count == 0 { '[' } else { ',' });
            values.push_str(value);
            let _ = write!(new, "{count}");
            count += 1;
            true
        }
        Mark::Number(_) | Mark::Name(_) | Mark::Null => false,
    });
    values.push_str(if count == 0 { "[]" } else { "]" });
    (skeleton, values)
}

/// Puts values back in the places of their numbers; null in those of which there is none.
pub(super) fn put_back(skeleton: &str, values: &[&RawValue]) -> String {
    exchange(skeleton, |mark, new| match mark {
        Mark::Number(number) => {
            match values.get(number) {
                Some(value) => new.extend(["[", value.get(), "]"]),
                None => new.push_str("null"),
            }
            true
        }
        Mark::Name(_) | Mark::Null | Mark::Value(_) => false,
    })
}

/// A skeleton whose values nobody can open any more.
pub(super) fn erased(skeleton: &str) -> String {
    exchange(skeleton, |mark, new| match mark {
        Mark::Number(_) | Mark::Name(_) => {
            new.push_str("null");
            true
        }
        Mark::Null | Mark::Value(_) => false,
    })
}

/// A body with names in the places of those of its values that get one.
pub(super) fn name(body: &str, mut name: impl FnMut(&str) -> Option<Uuid>) -> String {
    exchange(body, |mark, new| match mark {
        Mark::Value(value) => name(value).is_some_and(|name| write!(new, "\"{name}\"").is_ok()),
        Mark::Number(_) | Mark::Name(_) | Mark::Null => false,
    })
}

/// The names in a body.
pub(super) fn names(body: &str) -> impl Iterator<Item = Uuid> {
    marks(body).filter_map(|(_, mark)| match mark {
        Mark::Name(name) => Some(name),
        Mark::Value(_) | Mark::Number(_) | Mark::Null => None,
    })
}

/// A body with what belongs there in the places of names. Those of which nothing is known stay.
pub(super) fn put_in<'v>(body: &str, value: impl Fn(Uuid) -> Option<&'v str>) -> String {
    exchange(body, |mark, new| match mark {
        Mark::Name(name) => value(name).is_some_and(|value| {
            new.push_str(value);
            true
        }),
        Mark::Value(_) | Mark::Number(_) | Mark::Null => false,
    })
}

/// A body with its values as if they were not marked.
pub(super) fn bare(body: &str) -> String {
    let (mut bare, mut rest) = (String::with_capacity(body.len()), 0);
    for (place, mark) in marks(body) {
        bare.push_str(&body[rest..place.start - OPEN.len()]);
        bare.push_str(match mark {
            Mark::Value(value) => value,
            Mark::Number(_) | Mark::Name(_) | Mark::Null => "null",
        });
        rest = place.end + 1;
    }
    bare.push_str(&body[rest..]);
    bare
}
