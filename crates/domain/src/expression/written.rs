//! The functions that are short for other expressions.

use jaq_core::ops::Cmp;

use super::lower::{from_input, pipe};
use super::program::{Assignment, Constant, Kind, Node, Part, Special, Step};
use super::vocabulary::{self, Meaning, Written};

/// Writes out a function; `vocabulary` says that `nodes` has as many as it takes.
pub(super) fn write_out(written: Written, nodes: Vec<Node>) -> Node {
    let mut nodes = nodes.into_iter();
    let mut argument = || nodes.next().unwrap_or_else(identity);
    match written {
        Written::True => constant(Constant::Bool(true)),
        Written::False => constant(Constant::Bool(false)),
        Written::Null => constant(Constant::Null),
        Written::Map => mapped(argument()),
        Written::MapValues => assigned(each(), argument()),
        Written::Select => select(argument()),
        Written::Recurse => Kind::Recurse.node(),
        Written::First => at(constant(Constant::Int(0))),
        Written::Last => at(constant(Constant::Int(-1))),
        Written::Nth => at(argument()),
        Written::NthOf => {
            let (count, generator) = (argument(), argument());
            special(Special::First, vec![special(Special::Skip, vec![count, generator])])
        }
        Written::WithEntries => {
            pipe(named("to_entries"), pipe(mapped(argument()), named("from_entries")))
        }
        Written::Delete => assigned(argument(), special(Special::Empty, Vec::new())),
        Written::Paths => paths(Kind::Recurse.node()),
        Written::PathsTo => paths(pipe(Kind::Recurse.node(), select(argument()))),
        Written::LeafPaths => paths(pipe(Kind::Recurse.node(), named("scalars"))),
        Written::OfEach(function) => {
            special(function, std::iter::once(each()).chain(nodes).collect())
        }
        Written::OfEachItself(function) => special(function, vec![each(), identity()]),
        Written::ByItself(function) => special(function, vec![identity()]),
        Written::Among => {
            // `.` stays the value that is looked for.
            let same = Kind::Compare(Cmp::Eq, Box::new([identity(), argument()])).node();
            special(Special::Any, vec![same, identity()])
        }
        Written::Substitute { all } => {
            let (pattern, replacement) = (argument(), argument());
            let flags = nodes.next();
            let nodes = std::iter::once(pattern).chain(flags).chain([replacement]).collect();
            special(Special::Substitute { all }, nodes)
        }
    }
}

fn identity() -> Node {
    Kind::Identity.node()
}

fn constant(constant: Constant) -> Node {
    Kind::Constant(constant).node()
}

fn special(special: Special, nodes: Vec<Node>) -> Node {
    Kind::Special(special, nodes).node()
}

/// A function without arguments by its name.
fn named(name: &str) -> Node {
    match vocabulary::find(name, 0) {
        Some(Meaning::Plain(function)) => Kind::Plain(function, Vec::new()).node(),
        Some(Meaning::Special(function)) => special(function, Vec::new()),
        Some(Meaning::Written(written)) => write_out(written, Vec::new()),
        None => identity(),
    }
}

/// `.[]`
fn each() -> Node {
    from_input(vec![Step { part: Part::Each, optional: false }])
}

/// `.[key]`
fn at(key: Node) -> Node {
    from_input(vec![Step { part: Part::Index(key), optional: false }])
}

/// `[.[] | f]`
fn mapped(f: Node) -> Node {
    Kind::Array(Some(Box::new(pipe(each(), f)))).node()
}

/// `left |= right`
fn assigned(left: Node, right: Node) -> Node {
    Kind::Assign(Box::new(left), Assignment::Update, Box::new(right)).node()
}

/// `if f then . else empty end`
fn select(f: Node) -> Node {
    let empty = special(Special::Empty, Vec::new());
    Kind::If(vec![(f, identity())], Some(Box::new(empty))).node()
}

/// `path(f) | select(length > 0)`
fn paths(f: Node) -> Node {
    let length = special(Special::Length, Vec::new());
    let sides = Box::new([constant(Constant::Int(0)), length]);
    let longer = Kind::Compare(Cmp::Gt, sides).node();
    pipe(special(Special::Path, vec![f]), select(longer))
}
