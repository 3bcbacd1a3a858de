//! Places in a document, and taking the members of a map apart so that none is overlooked.

use std::rc::Rc;

use super::Compiler;
use crate::storable::clipped;
use crate::workflow::source::{Inner, Node, escaped};

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Place<'n> {
    pub(super) node: &'n Node,
    /// The way from the root; none at the root itself. Pointers are long and rarely wanted.
    way: Option<Rc<Way<'n>>>,
}

struct Way<'n> {
    before: Option<Rc<Way<'n>>>,
    step: Step<'n>,
}

enum Step<'n> {
    Member(&'n str),
    Item(usize),
}

impl<'n> Place<'n> {
    pub(super) fn root(node: &'n Node) -> Self {
        Self { node, way: None }
    }

    fn inside(&self, step: Step<'n>, node: &'n Node) -> Self {
        Self { node, way: Some(Rc::new(Way { before: self.way.clone(), step })) }
    }

    /// Where it stands, as a JSON Pointer.
    pub(super) fn pointer(&self) -> String {
        let mut steps = vec![];
        let mut way = self.way.as_deref();
        while let Some(Way { before, step }) = way {
            steps.push(match step {
                Step::Member(name) => format!("/{}", escaped(name)),
                Step::Item(at) => format!("/{at}"),
            });
            way = before.as_deref();
        }
        steps.reverse();
        steps.concat()
    }

    /// The members, if it is a map.
    pub(super) fn members(&self) -> Option<Vec<(&'n str, Place<'n>)>> {
        match &self.node.inner {
            Inner::Map(members) => Some(
                members
                    .iter()
                    .map(|(name, node)| (name.as_str(), self.inside(Step::Member(name), node)))
                    .collect(),
            ),
            Inner::Scalar(_) | Inner::List(_) => None,
        }
    }

    /// Name and value of its one member, if it is a map of one.
    pub(super) fn single(&self) -> Option<(&'n str, Place<'n>)> {
        match &self.node.inner {
            Inner::Map(members) => match members.as_slice() {
                [(name, node)] => Some((name, self.inside(Step::Member(name), node))),
                _ => None,
            },
            Inner::Scalar(_) | Inner::List(_) => None,
        }
    }

    /// The items, if it is a list.
    pub(super) fn items(&self) -> Option<Vec<Place<'n>>> {
        match &self.node.inner {
            Inner::List(items) => {
                let place = |(at, node)| self.inside(Step::Item(at), node);
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

    /// The number, if it is a whole one that is not negative.
    pub(super) fn whole(&self) -> Option<u64> {
        match &self.node.inner {
            Inner::Scalar(value) => value.as_u64(),
            Inner::List(_) | Inner::Map(_) => None,
        }
    }

    /// The truth, if it is true or false.
    pub(super) fn truth(&self) -> Option<bool> {
        match &self.node.inner {
            Inner::Scalar(value) => value.as_bool(),
            Inner::List(_) | Inner::Map(_) => None,
        }
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.inner, Inner::Map(_))
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

    /// Says that one of these could have been meant; gives whether one may have been.
    pub(super) fn could_be(&mut self, names: &[&'static str]) -> bool {
        self.known.extend(names);
        self.left.iter().any(|(name, _)| nearest(name, names.iter().copied()).is_some())
    }

    /// Notes everything that is left as unknown.
    pub(super) fn finish(self, compiler: &mut Compiler) {
        for (name, place) in self.left {
            if compiler.is_fed_up() {
                return; // looking for what was meant is slow
            }
            let detail = format!("{} is no field that is known here", quoted(name));
            let hint = match nearest(name, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are: {}", self.known.join(", ")),
            };
            compiler.hinted(&place, "unknown_field", detail, &hint);
        }
    }
}

/// Text of the author as faults repeat it.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", clipped(text, 80))
}

/// The known word that was probably meant.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let near = |known: &'k str| {
        let far = distance(word, known);
        (far <= 2 && far < word.len().max(known.len()).div_ceil(2)).then_some((far, known))
    };
    known
        .filter(|known| known.len().abs_diff(word.len()) <= 2)
        .filter_map(near)
        .min()
        .map(|it| it.1)
}

/// How many letters to add, drop, change or swap with their neighbour to get from one word to the
/// other (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for (i, letter) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, known) in other.iter().enumerate() {
            let changed = rows[i][j] + usize::from(letter != known);
            let mut least = changed.min(row[j] + 1).min(rows[i][j + 1] + 1);
            if i > 0 && j > 0 && *letter == other[j - 1] && one[i - 1] == *known {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_probably_meant_is_the_nearest() {
        let known = ["then", "when", "do", "exceptWhen", "as", "at"];
        let cases = [
            ("thn", Some("then")),
            ("wehn", Some("when")),
            ("exeptWen", Some("exceptWhen")),
            ("ast", Some("as")),
            ("x", None),
            ("if", None),
            ("something", None),
        ];
        for (word, meant) in cases {
            assert_eq!(nearest(word, known.into_iter()), meant, "{word}");
        }
    }
}
