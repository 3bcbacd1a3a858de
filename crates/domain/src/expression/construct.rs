//! Arrays, objects and texts, built from the outputs of their parts.

use super::budget::{ITEM, OBJECT, Outcome};
use super::item::Item;
use super::machine::{Machine, Sink};
use super::program::{Node, Piece, Plain};
use super::value::{Members, Value};

impl<'a> Machine<'a> {
    /// `[f]`
    pub(super) fn array(
        &mut self,
        items: Option<&'a Node>,
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        self.budget().allocate(ITEM)?;
        let items = match items {
            Some(items) => self.collect(items, item)?,
            None => Vec::new(),
        };
        sink(self, Value::array(items)?.into())
    }

    /// `{k: v}`: keys and values in turn.
    pub(super) fn object(
        &mut self,
        nodes: &'a [Node],
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        self.combine(nodes, item, &mut Vec::new(), &mut |machine, values| {
            machine.budget().allocate(OBJECT + values.len() * ITEM)?;
            let mut members = Members::new();
            for pair in values.chunks_exact(2) {
                let name = pair[0].as_text("the name of a member")?;
                machine.budget().allocate(name.len())?;
                members.insert(name.as_str().into(), pair[1].clone());
            }
            sink(machine, Value::object(members)?.into())
        })
    }

    /// `"a\(b)c"`, each value written by the format.
    pub(super) fn text(
        &mut self,
        (format, pieces): (Option<Plain>, &'a [Piece]),
        holes: &'a [Node],
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        let format = format.unwrap_or(super::text::to_string);
        self.combine(holes, item, &mut Vec::new(), &mut |machine, values| {
            let mut values = values.iter();
            let mut text = String::new();
            for piece in pieces {
                let length = text.len();
                match piece {
                    Piece::Literal(literal) => text.push_str(literal),
                    Piece::Hole => {
                        let value = values.next().cloned().unwrap_or_default();
                        let shown = machine.call(format, &value, &[])?;
                        text.push_str(shown.as_text("a format")?);
                    }
                }
                machine.budget().allocate(text.len() - length)?;
            }
            let text = Value::text(text, machine.budget())?;
            sink(machine, text.into())
        })
    }
}
