//! The values that expressions work on, and their way from and to JSON.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Map, Number, Value as Json};

use super::budget::{Budget, ITEM, Limit, MEMBER, OBJECT, Outcome, Stop};

/// How many arrays and objects may lie in each other.
pub(super) const NESTING: u8 = 128;

/// A value. Copies are cheap: containers and text are shared.
#[derive(Debug, Clone, Default)]
pub(super) enum Value {
    #[default]
    Null,
    Bool(bool),
    /// An integer between `i64::MIN` and `u64::MAX`.
    Int(i128),
    Float(f64),
    Text(Arc<String>),
    Array(Rc<Array>),
    Object(Rc<Object>),
}

/// An array, and how deep it is at most.
#[derive(Debug, Clone)]
pub(super) struct Array {
    pub(super) items: Vec<Value>,
    depth: u8,
}

/// The members of an object, by name.
pub(super) type Members = BTreeMap<Arc<str>, Value>;

/// An object, and how deep it is at most.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) members: Members,
    depth: u8,
}

/// The depth of a container that holds something `inner` deep.
fn around(inner: u8) -> Outcome<u8> {
    if inner < NESTING { Ok(inner + 1) } else { Err(Stop::Limit(Limit::Nesting)) }
}

impl Array {
    /// The array as one that may be changed: itself when nobody shares it, else a copy.
    pub(super) fn unshared<'r>(this: &'r mut Rc<Self>, budget: &Budget) -> Outcome<&'r mut Self> {
        if Rc::get_mut(this).is_none() {
            budget.allocate_many(this.items.len(), ITEM)?;
        }
        Ok(Rc::make_mut(this))
    }

    /// Appends a value.
    pub(super) fn push(&mut self, value: Value, budget: &Budget) -> Outcome<()> {
        budget.allocate(ITEM)?;
        self.depth = self.depth.max(around(value.depth())?);
        self.items.push(value);
        Ok(())
    }

    /// Replaces the value at `index`, which must exist.
    pub(super) fn put(&mut self, index: usize, value: Value) -> Outcome<()> {
        self.depth = self.depth.max(around(value.depth())?);
        self.items[index] = value;
        Ok(())
    }
}

impl Object {
    /// The object as one that may be changed: itself when nobody shares it, else a copy.
    pub(super) fn unshared<'r>(this: &'r mut Rc<Self>, budget: &Budget) -> Outcome<&'r mut Self> {
        if Rc::get_mut(this).is_none() {
            budget.allocate(OBJECT)?;
            budget.allocate_many(this.members.len(), MEMBER)?;
        }
        Ok(Rc::make_mut(this))
    }

    /// Sets a member.
    pub(super) fn put(&mut self, name: Arc<str>, value: Value, budget: &Budget) -> Outcome<()> {
        budget.allocate(MEMBER)?;
        budget.read(name.len())?;
        self.depth = self.depth.max(around(value.depth())?);
        self.members.insert(name, value);
        Ok(())
    }
}

impl Value {
    /// Text, paid for.
    pub(super) fn text(text: impl Into<String>, budget: &Budget) -> Outcome<Self> {
        let text = text.into();
        budget.allocate(text.len() + ITEM)?;
        Ok(Self::Text(Arc::new(text)))
    }

    /// An array whose elements are paid for.
    pub(super) fn array(items: Vec<Self>) -> Outcome<Self> {
        let depth = around(items.iter().map(Self::depth).max().unwrap_or(0))?;
        Ok(Self::Array(Rc::new(Array { items, depth })))
    }

    /// An array, paid for here.
    pub(super) fn paid_array(items: Vec<Self>, budget: &Budget) -> Outcome<Self> {
        budget.allocate_many(items.len() + 1, ITEM)?;
        Self::array(items)
    }

    /// An object whose members are paid for.
    pub(super) fn object(members: Members) -> Outcome<Self> {
        let depth = around(members.values().map(Self::depth).max().unwrap_or(0))?;
        Ok(Self::Object(Rc::new(Object { members, depth })))
    }

    /// An object of the given members, paid for here.
    pub(super) fn record<const N: usize>(
        members: [(&str, Self); N],
        budget: &Budget,
    ) -> Outcome<Self> {
        budget.allocate(OBJECT + N * MEMBER)?;
        Self::object(members.into_iter().map(|(name, value)| (Arc::from(name), value)).collect())
    }

    /// An integer; a float if it is too large for JSON's integers here.
    pub(super) fn integer(integer: i128) -> Self {
        if (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&integer) {
            Self::Int(integer)
        } else {
            Self::Float(widen(integer))
        }
    }

    /// A length or place as a value.
    pub(super) fn count(count: usize) -> Self {
        Self::Int(count as i128)
    }

    /// The float as an integer if it is whole and small enough, as after rounding.
    pub(super) fn rounded(float: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "checked to be within range")]
        if float.abs() < 9e15 { Self::Int(float as i128) } else { Self::Float(float) }
    }

    /// How deep it is: 0 for what holds nothing.
    fn depth(&self) -> u8 {
        match self {
            Self::Array(array) => array.depth,
            Self::Object(object) => object.depth,
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_) => 0,
        }
    }

    /// jq's name of its type.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Int(_) | Self::Float(_) => "number",
            Self::Text(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// Anything but `false` and `null`.
    pub(super) fn truthy(&self) -> bool {
        !matches!(self, Self::Null | Self::Bool(false))
    }

    /// The number as a float.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(integer) => Some(widen(*integer)),
            Self::Float(float) => Some(*float),
            Self::Null | Self::Bool(_) | Self::Text(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// The text, or an error that says who wanted it.
    pub(super) fn as_text(&self, wanted_by: &str) -> Outcome<&Arc<String>> {
        let Self::Text(text) = self else {
            return Err(Stop::error(format!("{wanted_by} wants a string, not {}", self.kind())));
        };
        Ok(text)
    }

    /// The array, or an error that says who wanted it.
    pub(super) fn as_array(&self, wanted_by: &str) -> Outcome<&Rc<Array>> {
        let Self::Array(array) = self else {
            return Err(Stop::error(format!("{wanted_by} wants an array, not {}", self.kind())));
        };
        Ok(array)
    }

    /// The object, or an error that says who wanted it.
    pub(super) fn as_object(&self, wanted_by: &str) -> Outcome<&Rc<Object>> {
        let Self::Object(object) = self else {
            return Err(Stop::error(format!("{wanted_by} wants an object, not {}", self.kind())));
        };
        Ok(object)
    }

    /// A copy of JSON.
    pub(super) fn from_json(json: &Json, budget: &Budget) -> Outcome<Self> {
        Self::from_json_within(json, budget, NESTING)
    }

    fn from_json_within(json: &Json, budget: &Budget, levels: u8) -> Outcome<Self> {
        let inside = || levels.checked_sub(1).ok_or(Stop::Limit(Limit::Nesting));
        match json {
            Json::Null => Ok(Self::Null),
            Json::Bool(bool) => Ok(Self::Bool(*bool)),
            Json::Number(number) => Ok(from_number(number)),
            Json::String(text) => Self::text(text.as_str(), budget),
            Json::Array(items) => {
                let inside = inside()?;
                budget.allocate_many(items.len() + 1, ITEM)?;
                let copy = |item| Self::from_json_within(item, budget, inside);
                Self::array(items.iter().map(copy).collect::<Outcome<_>>()?)
            }
            Json::Object(members) => {
                let inside = inside()?;
                budget.allocate(OBJECT)?;
                budget.allocate_many(members.len(), MEMBER)?;
                let copy = |(name, value): (&String, _)| {
                    budget.allocate(name.len())?;
                    let value = Self::from_json_within(value, budget, inside)?;
                    Ok((Arc::from(name.as_str()), value))
                };
                Self::object(members.iter().map(copy).collect::<Outcome<_>>()?)
            }
        }
    }

    /// The value as JSON; not a number and infinity are errors.
    pub(super) fn to_json(&self, budget: &Budget) -> Outcome<Json> {
        budget.spend(1)?;
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(bool) => Json::Bool(*bool),
            Self::Int(integer) => Json::Number(to_number(*integer)?),
            Self::Float(float) => Json::Number(Number::from_f64(*float).ok_or_else(not_finite)?),
            Self::Text(text) => {
                budget.allocate(text.len())?;
                Json::String(text.as_str().to_owned())
            }
            Self::Array(array) => {
                budget.allocate_many(array.items.len(), ITEM)?;
                let items = array.items.iter().map(|item| item.to_json(budget));
                Json::Array(items.collect::<Outcome<_>>()?)
            }
            Self::Object(object) => {
                budget.allocate(OBJECT)?;
                budget.allocate_many(object.members.len(), MEMBER)?;
                let member = |(name, value): (&Arc<str>, &Self)| {
                    budget.allocate(name.len())?;
                    Ok((String::from(&**name), value.to_json(budget)?))
                };
                let members = object.members.iter().map(member);
                Json::Object(members.collect::<Outcome<Map<_, _>>>()?)
            }
        })
    }
}

/// The integer as a float, rounded.
#[expect(clippy::cast_precision_loss, reason = "rounding is what is wanted")]
pub(super) fn widen(integer: i128) -> f64 {
    integer as f64
}

fn from_number(number: &Number) -> Value {
    let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match integer {
        Some(integer) => Value::Int(integer),
        None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
    }
}

fn to_number(integer: i128) -> Outcome<Number> {
    i64::try_from(integer)
        .map(Number::from)
        .or_else(|_| u64::try_from(integer).map(Number::from))
        .map_err(|_| not_finite())
}

fn not_finite() -> Stop {
    Stop::error("a result is not a finite number, which JSON cannot hold")
}
