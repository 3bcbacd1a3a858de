//! Places in a document, and taking the members of a map apart so that none is overlooked.

use super::Compiler;
use crate::workflow::source::{Inner, Node, escaped};

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Place<'n> {
    pub(super) node: &'n Node,
    pub(super) pointer: String,
}

impl<'n> Place<'n> {
    pub(super) fn root(node: &'n Node) -> Self {
        Self { node, pointer: String::new() }
    }

    fn member(&self, name: &str, node: &'n Node) -> Self {
        Self { node, pointer: format!("{}/{}", self.pointer, escaped(name)) }
    }

    /// The members, if it is a map.
    pub(super) fn members(&self) -> Option<Vec<(&'n str, Place<'n>)>> {
        match &self.node.inner {
            Inner::Map(members) => Some(
                members
                    .iter()
                    .map(|(name, node)| (name.as_str(), self.member(name, node)))
                    .collect(),
            ),
            Inner::Scalar(_) | Inner::List(_) => None,
        }
    }

    /// The items, if it is a list.
    pub(super) fn items(&self) -> Option<Vec<Place<'n>>> {
        match &self.node.inner {
            Inner::List(items) => {
                let place = |(at, node)| Place { node, pointer: format!("{}/{at}", self.pointer) };
                Some(items.iter().enumerate().map(place).collect())
            }
            Inner::Scalar(_) | Inner::Map(_) => None,
        }
    }

    /// The text, if it is text.
    pub(super) fn text(&self) -> Option<&'n str> {
        match &self.node.inner {
            Inner::Scalar(value) => value.as_str(),
            Inner::List(_) | Inner::Map(_) => None,
        }
    }
}

/// The members of a map that nobody has asked for yet.
pub(super) struct Fields<'n> {
    place: Place<'n>,
    left: Vec<(&'n str, Place<'n>)>,
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// Takes a map apart; notes a fault if it is none.
    pub(super) fn of(compiler: &mut Compiler, place: &Place<'n>) -> Option<Self> {
        if let Some(left) = place.members() {
            Some(Self { place: place.clone(), left, known: vec![] })
        } else {
            compiler.fault(place, "wrong_type", "an object is wanted here");
            None
        }
    }

    /// Takes a member out.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Place<'n>> {
        self.known.push(name);
        let at = self.left.iter().position(|(known, _)| *known == name)?;
        Some(self.left.remove(at).1)
    }

    /// Takes a member out that must be there.
    pub(super) fn required(
        &mut self,
        compiler: &mut Compiler,
        name: &'static str,
    ) -> Option<Place<'n>> {
        let taken = self.take(name);
        if taken.is_none() {
            compiler.fault(&self.place, "missing_field", format!("`{name}` is missing"));
        }
        taken
    }

    /// Whether a member is still there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.left.iter().any(|(known, _)| *known == name)
    }

    /// Notes everything that is left as unknown.
    pub(super) fn finish(self, compiler: &mut Compiler) {
        for (name, place) in self.left {
            let near = self.known.iter().find(|known| distance(known, name) <= 2);
            let detail = format!("`{name}` is no field that is known here");
            if let Some(near) = near {
                compiler.hinted(
                    &place,
                    "unknown_field",
                    detail,
                    &format!("did you mean `{near}`?"),
                );
            } else {
                let hint = format!("known are: {}", self.known.join(", "));
                compiler.hinted(&place, "unknown_field", detail, &hint);
            }
        }
    }
}

/// How many letters to add, drop or change to get from one word to the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, known) in other.iter().enumerate() {
            let change = diagonal + usize::from(letter != *known);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
