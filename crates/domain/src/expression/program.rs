//! A compiled expression: jaq's parsed term with names resolved and nothing refused left in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jaq_core::ops::{Cmp, Math};

use super::budget::Outcome;
use super::item::Held;
use super::pattern::Pattern as Regex;
use super::tools::Tools;
use super::value::Value;

/// What an expression runs as.
#[derive(Debug)]
pub(super) struct Program {
    /// The whole.
    pub(super) root: Node,
    /// The variables it uses from outside, and the slots they go to.
    pub(super) globals: Vec<(String, usize)>,
    /// How many variables it has in all.
    pub(super) slots: usize,
    /// The regular expressions it spells out, by text and flags.
    pub(super) patterns: BTreeMap<(String, String), Arc<Regex>>,
}

/// A part of an expression.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// It gives one value or an error, never none or several.
    pub(super) single: bool,
}

/// A function from an input and the values of its arguments to one value.
pub(super) type Plain = fn(&Tools<'_>, &Value, &[Value]) -> Outcome<Value>;

/// What a part of an expression does.
#[derive(Debug)]
pub(super) enum Kind {
    /// `.`
    Identity,
    /// `..`
    Recurse,
    /// A literal.
    Constant(Constant),
    /// `$x`, by slot.
    Variable(usize),
    /// `[f]`, `[]`
    Array(Option<Box<Node>>),
    /// `{k: v}`: key, value, key, value
    Object(Vec<Node>),
    /// `"a\(b)c"`, perhaps after a format such as `@uri`
    Text(Option<Plain>, Vec<Piece>, Vec<Node>),
    /// `-f`
    Negate(Box<Node>),
    /// `f | g`
    Pipe(Box<Node>, Box<Node>),
    /// `f as $x | g`
    Bind(Box<Node>, Pattern, Box<Node>),
    /// `f, g, h`
    Comma(Vec<Node>),
    /// `f // g`
    Alternative(Box<Node>, Box<Node>),
    /// `f and g` (false decides), `f or g` (true decides)
    Logic(Box<Node>, bool, Box<Node>),
    /// `g + f`: the right side is first
    Math(Math, Box<[Node; 2]>),
    /// `g < f`: the right side is first
    Compare(Cmp, Box<[Node; 2]>),
    /// `f = g`, `f |= g`, `f += g`, `f //= g`
    Assign(Box<Node>, Assignment, Box<Node>),
    /// `reduce`, `foreach`
    Fold(Box<Fold>),
    /// `try f`, `try f catch g`
    Try(Box<Node>, Option<Box<Node>>),
    /// `if`: conditions with what follows, and `else`
    If(Vec<(Node, Node)>, Option<Box<Node>>),
    /// `f.a[0][1:2][]?`
    Path(Box<Node>, Vec<Step>),
    /// A function of values.
    Plain(Plain, Vec<Node>),
    /// A function of expressions.
    Special(Special, Vec<Node>),
}

/// A literal.
#[derive(Debug, Clone)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Arc<String>),
}

/// A piece of an interpolated text.
#[derive(Debug)]
pub(super) enum Piece {
    /// As it stands.
    Literal(String),
    /// The next value.
    Hole,
}

/// What an assignment does with the right side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assignment {
    Set,
    Update,
    Math(Math),
    Alternative,
}

/// What variables are bound to.
#[derive(Debug)]
pub(super) enum Pattern {
    /// The whole, by slot.
    Variable(usize),
    /// Parts of it, by key.
    Parts(Vec<(Node, Self)>),
}

/// `reduce source as pattern (init; update)`, `foreach ... (init; update; extract)`.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) source: Node,
    pub(super) pattern: Pattern,
    pub(super) init: Node,
    pub(super) update: Node,
    /// None for `reduce`.
    pub(super) extract: Option<Node>,
}

/// A step of a path.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) part: Part,
    /// Marked `?`: no output instead of an error.
    pub(super) optional: bool,
}

/// Where a step of a path leads.
#[derive(Debug)]
pub(super) enum Part {
    /// `[k]`, `.k`
    Index(Node),
    /// `[a:b]`: both bounds, `null` for one that is left out
    Slice(Box<[Node; 2]>),
    /// `[]`
    Each,
}

/// A function that evaluates its arguments itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Special {
    Empty,
    Error,
    Path,
    GetPath,
    SetPath,
    DeletePaths,
    Pick,
    Walk,
    Range,
    First,
    Last,
    Limit,
    Skip,
    IsEmpty,
    Any,
    All,
    Add,
    SortBy,
    GroupBy,
    UniqueBy,
    MinBy,
    MaxBy,
    Keep(fn(&Held<'_>) -> bool),
    Length,
    Has,
    Type,
    Match,
    Capture,
    Scan,
    Splits,
    Substitute { all: bool },
}

impl Constant {
    /// The literal as a value.
    pub(super) fn value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(bool) => Value::Bool(*bool),
            Self::Int(integer) => Value::Int(*integer),
            Self::Float(float) => Value::Float(*float),
            Self::Text(text) => Value::Text(Arc::clone(text)),
        }
    }
}

impl Kind {
    /// The node of this kind.
    pub(super) fn node(self) -> Node {
        let single = match &self {
            Self::Identity | Self::Constant(_) | Self::Variable(_) | Self::Array(_) => true,
            Self::Recurse | Self::Comma(_) | Self::Alternative(..) | Self::Try(..) => false,
            Self::Object(nodes) | Self::Text(_, _, nodes) | Self::Plain(_, nodes) => {
                nodes.iter().all(|node| node.single)
            }
            Self::Negate(node) => node.single,
            Self::Pipe(left, right) | Self::Bind(left, _, right) | Self::Logic(left, _, right) => {
                left.single && right.single
            }
            Self::Math(_, sides) | Self::Compare(_, sides) => sides.iter().all(|node| node.single),
            Self::Assign(_, assignment, right) => *assignment == Assignment::Update || right.single,
            Self::Fold(fold) => fold.extract.is_none() && fold.init.single,
            Self::If(branches, otherwise) => {
                branches.iter().all(|(condition, then)| condition.single && then.single)
                    && otherwise.as_ref().is_none_or(|node| node.single)
            }
            Self::Path(base, steps) => base.single && steps.iter().all(Step::is_single),
            Self::Special(special, nodes) => special.is_single(nodes),
        };
        Node { kind: self, single }
    }

    /// Whether it can say where it found what it gives.
    pub(super) fn leads(&self) -> bool {
        match self {
            Self::Identity
            | Self::Recurse
            | Self::Pipe(..)
            | Self::Bind(..)
            | Self::Comma(_)
            | Self::Alternative(..)
            | Self::Fold(_)
            | Self::Try(..)
            | Self::If(..)
            | Self::Path(..) => true,
            Self::Constant(_)
            | Self::Variable(_)
            | Self::Array(_)
            | Self::Object(_)
            | Self::Text(..)
            | Self::Negate(_)
            | Self::Logic(..)
            | Self::Math(..)
            | Self::Compare(..)
            | Self::Assign(..)
            | Self::Plain(..) => false,
            Self::Special(special, _) => special.leads(),
        }
    }
}

impl Step {
    fn is_single(&self) -> bool {
        !self.optional
            && match &self.part {
                Part::Index(key) => key.single,
                Part::Slice(bounds) => bounds.iter().all(|bound| bound.single),
                Part::Each => false,
            }
    }
}

impl Special {
    fn is_single(self, nodes: &[Node]) -> bool {
        match self {
            Self::Length | Self::Type => true,
            Self::Has | Self::GetPath | Self::SetPath | Self::DeletePaths => {
                nodes.iter().all(|node| node.single)
            }
            Self::Pick
            | Self::IsEmpty
            | Self::Any
            | Self::All
            | Self::Add
            | Self::SortBy
            | Self::GroupBy
            | Self::UniqueBy
            | Self::MinBy
            | Self::MaxBy => true,
            Self::Empty
            | Self::Error
            | Self::Path
            | Self::Walk
            | Self::Range
            | Self::First
            | Self::Last
            | Self::Limit
            | Self::Skip
            | Self::Keep(_)
            | Self::Match
            | Self::Capture
            | Self::Scan
            | Self::Splits
            | Self::Substitute { .. } => false,
        }
    }

    fn leads(self) -> bool {
        match self {
            Self::Empty
            | Self::Error
            | Self::GetPath
            | Self::First
            | Self::Last
            | Self::Limit
            | Self::Skip
            | Self::Keep(_) => true,
            Self::Path
            | Self::SetPath
            | Self::DeletePaths
            | Self::Pick
            | Self::Walk
            | Self::Range
            | Self::IsEmpty
            | Self::Any
            | Self::All
            | Self::Add
            | Self::SortBy
            | Self::GroupBy
            | Self::UniqueBy
            | Self::MinBy
            | Self::MaxBy
            | Self::Length
            | Self::Has
            | Self::Type
            | Self::Match
            | Self::Capture
            | Self::Scan
            | Self::Splits
            | Self::Substitute { .. } => false,
        }
    }
}
