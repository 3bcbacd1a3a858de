//! What flows through an evaluation: a value, lent or own, and the path it was found at.

use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value as Json;

use super::budget::{Budget, ITEM, Limit, Outcome, Stop};
use super::value::Value;

/// How long a path may be; longer ones could only lead into values that are nested too deeply.
const LONGEST: u16 = 128;

/// A value: a part of the JSON that was lent for the evaluation, or one of its own.
///
/// Lent JSON is not copied until something needs more of it than a look inside.
#[derive(Clone)]
pub(super) enum Held<'a> {
    /// A part of the input or of a variable.
    Lent(&'a Json),
    /// A value that the evaluation made.
    Own(Value),
}

/// One step of a path.
#[derive(Debug, Clone)]
pub(super) enum Key {
    /// A member's name.
    Name(Arc<str>),
    /// A place in an array; negative ones count from its end.
    Index(i64),
    /// A part of an array or text.
    Slice(Option<i64>, Option<i64>),
}

/// Where an item was found, if somebody wants to know.
#[derive(Clone)]
pub(super) enum Trail {
    /// Nobody asked.
    Off,
    /// At the root.
    Root,
    /// Below something.
    At(Rc<Link>),
}

/// The end of a path; paths share their beginnings.
pub(super) struct Link {
    key: Key,
    length: u16,
    before: Trail,
}

/// A value and its path.
#[derive(Clone)]
pub(super) struct Item<'a> {
    pub(super) held: Held<'a>,
    pub(super) trail: Trail,
}

impl Held<'_> {
    /// The value, copied if it was lent.
    pub(super) fn own(self, budget: &Budget) -> Outcome<Value> {
        match self {
            Self::Lent(json) => Value::from_json(json, budget),
            Self::Own(value) => Ok(value),
        }
    }

    /// Anything but `false` and `null`.
    pub(super) fn truthy(&self) -> bool {
        match self {
            Self::Lent(json) => !matches!(json, Json::Null | Json::Bool(false)),
            Self::Own(value) => value.truthy(),
        }
    }

    /// jq's name of its type.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Lent(Json::Null) => "null",
            Self::Lent(Json::Bool(_)) => "boolean",
            Self::Lent(Json::Number(_)) => "number",
            Self::Lent(Json::String(_)) => "string",
            Self::Lent(Json::Array(_)) => "array",
            Self::Lent(Json::Object(_)) => "object",
            Self::Own(value) => value.kind(),
        }
    }
}

impl<'a> From<Held<'a>> for Item<'a> {
    fn from(held: Held<'a>) -> Self {
        Self { held, trail: Trail::Off }
    }
}

impl From<Value> for Item<'_> {
    fn from(value: Value) -> Self {
        Held::Own(value).into()
    }
}

impl Item<'_> {
    /// The same without its path.
    pub(super) fn plain(&self) -> Self {
        self.held.clone().into()
    }

    /// The same as the root of paths.
    pub(super) fn as_root(&self) -> Self {
        Self { held: self.held.clone(), trail: Trail::Root }
    }
}

impl Trail {
    /// Whether somebody wants the path.
    pub(super) fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }

    /// The path one step further.
    pub(super) fn then(&self, key: impl FnOnce() -> Key, budget: &Budget) -> Outcome<Self> {
        let length = match self {
            Self::Off => return Ok(Self::Off),
            Self::Root => 1,
            Self::At(link) => link.length + 1,
        };
        if length > LONGEST {
            return Err(Stop::Limit(Limit::Nesting));
        }
        budget.allocate(ITEM)?;
        Ok(Self::At(Rc::new(Link { key: key(), length, before: self.clone() })))
    }

    /// The steps from the root.
    pub(super) fn keys(&self, budget: &Budget) -> Outcome<Vec<Key>> {
        let mut keys = Vec::new();
        let mut at = self;
        while let Self::At(link) = at {
            keys.push(link.key.clone());
            at = &link.before;
        }
        budget.allocate_many(keys.len() + 1, ITEM)?;
        keys.reverse();
        Ok(keys)
    }
}

impl Key {
    /// The step that a value stands for.
    pub(super) fn of(value: &Value) -> Outcome<Self> {
        match value {
            Value::Text(name) => Ok(Self::Name(Arc::from(name.as_str()))),
            Value::Int(_) | Value::Float(_) => {
                Ok(Self::Index(whole(value, f64::floor).unwrap_or(i64::MAX)))
            }
            Value::Object(object) => {
                let bound = |name, round: fn(f64) -> f64| match object.members.get(name) {
                    None | Some(Value::Null) => Ok(None),
                    Some(bound) => whole(bound, round)
                        .map(Some)
                        .ok_or_else(|| Stop::error("the bounds of a slice are numbers")),
                };
                Ok(Self::Slice(bound("start", f64::floor)?, bound("end", f64::ceil)?))
            }
            Value::Null | Value::Bool(_) | Value::Array(_) => {
                Err(Stop::error(format!("{} is no step of a path", value.kind())))
            }
        }
    }

    /// The step as a value, as in the output of `path`.
    pub(super) fn to_value(&self, budget: &Budget) -> Outcome<Value> {
        let bound = |bound: Option<i64>| bound.map_or(Value::Null, |at| Value::Int(at.into()));
        match self {
            Self::Name(name) => Value::text(&**name, budget),
            Self::Index(index) => Ok(Value::Int((*index).into())),
            Self::Slice(start, end) => {
                Value::record([("start", bound(*start)), ("end", bound(*end))], budget)
            }
        }
    }

    /// How many letters a name has.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Name(name) => name.len(),
            Self::Index(_) | Self::Slice(..) => 0,
        }
    }

    /// The step in an error's text.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Name(name) => format!("{:?}", shorten(name, 40)),
            Self::Index(_) => "number".to_owned(),
            Self::Slice(..) => "object".to_owned(),
        }
    }
}

/// A number as a whole one, rounded by `round`; none for not a number and for what is no number.
pub(super) fn whole(value: &Value, round: fn(f64) -> f64) -> Option<i64> {
    match value {
        Value::Int(integer) => Some(i64::try_from(*integer).unwrap_or(i64::MAX)),
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        Value::Float(float) => (!float.is_nan()).then(|| round(*float) as i64),
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The beginning of a text, marked where something is missing.
pub(super) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
