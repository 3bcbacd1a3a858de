//! The evaluator: gives every output of a part of an expression to a sink, and counts.
//!
//! It pushes instead of pulling, so that nothing is kept between two outputs and the stack is as
//! deep as the expression, never as long as the data.

use jaq_core::ops::Cmp;
use serde_json::Value as Json;

use super::arithmetic;
use super::budget::{Budget, ERROR, ITEM, Limit, Outcome, Stop};
use super::item::{Held, Item};
use super::order;
use super::program::{Fold, Kind, Node, Pattern, Plain, Program};
use super::tools::Tools;
use super::value::Value;

/// How many evaluations may wait for each other. Counted, not measured, so that the same
/// expression ends the same way in every build. It takes half a MiB of stack at most when the
/// code is optimised, and less than 1.5 MiB when it is not.
const DEPTH: u16 = 200;

/// What takes the outputs.
pub(super) type Sink<'s, 'a> = dyn FnMut(&mut Machine<'a>, Item<'a>) -> Outcome<()> + 's;

/// What takes one combination of values; the last is its to take.
type Combined<'s, 'a> = dyn FnMut(&mut Machine<'a>, &mut Vec<Value>) -> Outcome<()> + 's;

/// One evaluation of a program.
pub(super) struct Machine<'a> {
    pub(super) tools: Tools<'a>,
    slots: Vec<Held<'a>>,
    depth: u16,
    labels: u32,
}

impl<'a> Machine<'a> {
    /// A machine for one evaluation; variables that `find` does not know are `null`.
    pub(super) fn new(program: &'a Program, find: impl Fn(&str) -> Option<&'a Json>) -> Self {
        let mut slots = vec![Held::Own(Value::Null); program.slots];
        for (name, slot) in &program.globals {
            if let Some(json) = find(name) {
                slots[*slot] = Held::Lent(json);
            }
        }
        Self { tools: Tools::new(&program.patterns), slots, depth: 0, labels: 0 }
    }

    /// What is left to spend.
    pub(super) fn budget(&self) -> &Budget {
        &self.tools.budget
    }

    /// A value of its own, copied if it was lent.
    pub(super) fn own(&self, held: Held<'a>) -> Outcome<Value> {
        held.own(self.budget())
    }

    /// A label that no other generator has.
    pub(super) fn label(&mut self) -> u32 {
        self.labels += 1;
        self.labels
    }

    /// One level deeper, if the stack may grow so much.
    pub(super) fn deeper<T>(&mut self, inside: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.depth == DEPTH {
            return Err(Stop::Limit(Limit::Depth));
        }
        self.depth += 1;
        let outcome = inside(self);
        self.depth -= 1;
        outcome
    }

    /// Evaluates `node` for `item`.
    pub(super) fn eval(
        &mut self,
        node: &'a Node,
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        self.deeper(|machine| {
            let (mut node, mut item) = (node, item);
            while let Kind::Pipe(left, right) = &node.kind
                && left.single
            {
                item = machine.one(left, item)?;
                node = right;
            }
            machine.budget().spend(1)?;
            if item.trail.is_on() && !node.kind.leads() {
                return Err(Stop::error("this gives a new value, but a path is wanted"));
            }
            machine.dispatch(node, item, sink)
        })
    }

    /// The one output of a node that has one.
    pub(super) fn one(&mut self, node: &'a Node, item: Item<'a>) -> Outcome<Item<'a>> {
        if matches!(node.kind, Kind::Identity) {
            return Ok(item);
        }
        let mut output = None;
        self.eval(node, item, &mut |_, item| {
            output = Some(item);
            Ok(())
        })?;
        output.ok_or_else(|| Stop::error("a part of the expression gives no value"))
    }

    /// All outputs of a node as values.
    pub(super) fn collect(&mut self, node: &'a Node, item: Item<'a>) -> Outcome<Vec<Value>> {
        let mut values = Vec::new();
        self.eval(node, item, &mut |machine, item| {
            machine.budget().allocate(ITEM)?;
            values.push(machine.own(item.held)?);
            Ok(())
        })?;
        Ok(values)
    }

    fn dispatch(&mut self, node: &'a Node, item: Item<'a>, sink: &mut Sink<'_, 'a>) -> Outcome<()> {
        match &node.kind {
            Kind::Identity => sink(self, item),
            Kind::Recurse => self.recurse(item, sink),
            Kind::Constant(constant) => sink(self, constant.value().into()),
            Kind::Variable(slot) => {
                let held = self.slots[*slot].clone();
                sink(self, held.into())
            }
            Kind::Array(items) => self.array(items.as_deref(), item, sink),
            Kind::Object(nodes) => self.object(nodes, item, sink),
            Kind::Text(format, pieces, holes) => self.text((*format, pieces), holes, item, sink),
            Kind::Negate(node) => self.eval(node, item, &mut |machine, item| {
                let value = machine.own(item.held)?;
                sink(machine, arithmetic::negate(&value)?.into())
            }),
            Kind::Pipe(left, right) => {
                self.eval(left, item, &mut |machine, item| machine.eval(right, item, &mut *sink))
            }
            Kind::Bind(source, pattern, body) => self.bind((source, pattern, body), item, sink),
            Kind::Comma(nodes) => self.comma(nodes, &item, sink),
            Kind::Alternative(left, right) => self.alternative(left, right, item, sink),
            Kind::Logic(left, deciding, right) => self.logic(left, *deciding, right, (item, sink)),
            Kind::Math(operator, sides) => self.math(*operator, &**sides, item, sink),
            Kind::Compare(comparison, sides) => self.compare(*comparison, &**sides, item, sink),
            Kind::Assign(left, assignment, right) => {
                self.assign((left, *assignment, right), item, sink)
            }
            Kind::Fold(fold) => self.fold(fold, &item, sink),
            Kind::Try(body, handler) => self.attempt(body, handler.as_deref(), item, sink),
            Kind::If(branches, otherwise) => {
                self.branch(branches, otherwise.as_deref(), item, sink)
            }
            Kind::Path(base, steps) => self.path(base, steps, item, sink),
            Kind::Plain(function, arguments) => self.plain(*function, arguments, item, sink),
            Kind::Special(special, arguments) => self.special(*special, arguments, item, sink),
        }
    }

    /// Every combination of the outputs of `nodes`, appended to `values`.
    pub(super) fn combine(
        &mut self,
        nodes: &'a [Node],
        item: Item<'a>,
        values: &mut Vec<Value>,
        sink: &mut Combined<'_, 'a>,
    ) -> Outcome<()> {
        let start = values.len();
        for (at, node) in nodes.iter().enumerate() {
            let last = at + 1 == nodes.len();
            if !node.single {
                let outcome = self.eval(node, item.clone(), &mut |machine, output| {
                    let length = values.len();
                    values.push(machine.own(output.held)?);
                    let outcome =
                        machine.combine(&nodes[at + 1..], item.clone(), values, &mut *sink);
                    values.truncate(length);
                    outcome
                });
                values.truncate(start);
                return outcome;
            }
            // The last one may have the only copy of the input, to change it in place.
            if last {
                let output = self.one(node, item)?;
                values.push(self.own(output.held)?);
                let outcome = sink(self, values);
                values.truncate(start);
                return outcome;
            }
            let output = self.one(node, item.clone())?;
            values.push(self.own(output.held)?);
        }
        drop(item);
        let outcome = sink(self, values);
        values.truncate(start);
        outcome
    }

    fn comma(
        &mut self,
        nodes: &'a [Node],
        item: &Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        for node in nodes {
            self.eval(node, item.clone(), sink)?;
        }
        Ok(())
    }

    fn math(
        &mut self,
        operator: jaq_core::ops::Math,
        sides: &'a [Node],
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        self.combine(sides, item, &mut Vec::new(), &mut |machine, values| {
            let left = values.pop().unwrap_or_default();
            let right = values.last().cloned().unwrap_or_default();
            let value = arithmetic::calculate(operator, left, &right, machine.budget())?;
            sink(machine, value.into())
        })
    }

    fn compare(
        &mut self,
        comparison: Cmp,
        sides: &'a [Node],
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        self.combine(sides, item, &mut Vec::new(), &mut |machine, values| {
            let [right, left] = values.as_slice() else { return Ok(()) };
            let order = order::compare(left, right, machine.budget())?;
            let holds = match comparison {
                Cmp::Lt => order.is_lt(),
                Cmp::Le => order.is_le(),
                Cmp::Gt => order.is_gt(),
                Cmp::Ge => order.is_ge(),
                Cmp::Eq => order.is_eq(),
                Cmp::Ne => order.is_ne(),
            };
            sink(machine, Value::Bool(holds).into())
        })
    }

    fn logic(
        &mut self,
        left: &'a Node,
        deciding: bool,
        right: &'a Node,
        (item, sink): (Item<'a>, &mut Sink<'_, 'a>),
    ) -> Outcome<()> {
        self.eval(left, item.clone(), &mut |machine, output| {
            if output.held.truthy() == deciding {
                return sink(machine, Value::Bool(deciding).into());
            }
            machine.eval(right, item.clone(), &mut |machine, output| {
                sink(machine, Value::Bool(output.held.truthy()).into())
            })
        })
    }

    fn branch(
        &mut self,
        branches: &'a [(Node, Node)],
        otherwise: Option<&'a Node>,
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        for (at, (condition, then)) in branches.iter().enumerate() {
            if !condition.single {
                return self.eval(condition, item.plain(), &mut |machine, output| {
                    if output.held.truthy() {
                        machine.eval(then, item.clone(), &mut *sink)
                    } else {
                        let rest = &branches[at + 1..];
                        machine.branch(rest, otherwise, item.clone(), &mut *sink)
                    }
                });
            }
            if self.one(condition, item.plain())?.held.truthy() {
                return self.eval(then, item, sink);
            }
        }
        match otherwise {
            Some(node) => self.eval(node, item, sink),
            None => sink(self, item),
        }
    }

    fn bind(
        &mut self,
        (source, pattern, body): (&'a Node, &'a Pattern, &'a Node),
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        if source.single {
            let value = self.one(source, item.plain())?.held;
            self.assign_slots(pattern, value)?;
            return self.eval(body, item, sink);
        }
        self.eval(source, item.plain(), &mut |machine, output| {
            machine.assign_slots(pattern, output.held)?;
            machine.eval(body, item.clone(), &mut *sink)
        })
    }

    /// Binds the variables of a pattern. A slot belongs to one place in the expression, and no
    /// place waits for itself, so that nothing needs to be restored.
    fn assign_slots(&mut self, pattern: &'a Pattern, held: Held<'a>) -> Outcome<()> {
        match pattern {
            Pattern::Variable(slot) => self.slots[*slot] = held,
            Pattern::Parts(parts) => {
                for (key, pattern) in parts {
                    let key = self.one(key, held.clone().into())?;
                    let key = self.own(key.held)?;
                    let part = super::access::index(held.clone(), &key, self.budget())?;
                    self.assign_slots(pattern, part)?;
                }
            }
        }
        Ok(())
    }

    fn fold(&mut self, fold: &'a Fold, item: &Item<'a>, sink: &mut Sink<'_, 'a>) -> Outcome<()> {
        self.eval(&fold.init, item.clone(), &mut |machine, init| {
            let mut state = Some(init);
            machine.eval(&fold.source, item.plain(), &mut |machine, output| {
                machine.assign_slots(&fold.pattern, output.held)?;
                let Some(before) = state.take() else { return Ok(()) };
                machine.eval(&fold.update, before, &mut |machine, after| {
                    if let Some(extract) = &fold.extract {
                        state = Some(after.clone());
                        return machine.eval(extract, after, &mut *sink);
                    }
                    state = Some(after);
                    Ok(())
                })?;
                if state.is_none() && fold.extract.is_none() {
                    state = Some(Item { held: Held::Own(Value::Null), trail: item.trail.clone() });
                }
                Ok(())
            })?;
            match state {
                Some(state) if fold.extract.is_none() => sink(machine, state),
                Some(_) | None => Ok(()),
            }
        })
    }

    /// Evaluates `body` so that errors of what comes after it are not taken for its own.
    fn apart(
        &mut self,
        body: &'a Node,
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Result<(), Result<Value, Stop>> {
        let mut downstream = None;
        let outcome = self.eval(body, item, &mut |machine, item| {
            sink(machine, item).map_err(|stop| {
                downstream = Some(stop);
                Stop::Downstream
            })
        });
        let budget = &self.tools.budget;
        outcome.map_err(|stop| match stop {
            Stop::Error(value) => budget.spend(ERROR).map(|()| value),
            Stop::Downstream => Err(downstream.unwrap_or(Stop::Downstream)),
            Stop::Break(_) | Stop::Limit(_) => Err(stop),
        })
    }

    fn attempt(
        &mut self,
        body: &'a Node,
        handler: Option<&'a Node>,
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        let traced = item.trail.is_on();
        match (self.apart(body, item, sink), handler) {
            (Ok(()), _) | (Err(Ok(_)), None) => Ok(()),
            (Err(Ok(_)), Some(_)) if traced => {
                Err(Stop::error("what `catch` gives is a new value, but a path is wanted"))
            }
            (Err(Ok(error)), Some(handler)) => self.eval(handler, error.into(), sink),
            (Err(Err(stop)), _) => Err(stop),
        }
    }

    fn alternative(
        &mut self,
        left: &'a Node,
        right: &'a Node,
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        let mut found = false;
        let outcome = self.apart(left, item.clone(), &mut |machine, output| {
            if output.held.truthy() {
                found = true;
                sink(machine, output)?;
            }
            Ok(())
        });
        match outcome {
            Err(Err(stop)) => Err(stop),
            Ok(()) | Err(Ok(_)) if found => Ok(()),
            Ok(()) | Err(Ok(_)) => self.eval(right, item, sink),
        }
    }

    /// Calls a function of values, paid by the length of the texts that it gets.
    pub(super) fn call(
        &self,
        function: Plain,
        input: &Value,
        arguments: &[Value],
    ) -> Outcome<Value> {
        for value in std::iter::once(input).chain(arguments) {
            if let Value::Text(text) = value {
                self.budget().read(text.len())?;
            }
        }
        function(&self.tools, input, arguments)
    }

    fn plain(
        &mut self,
        function: Plain,
        arguments: &'a [Node],
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        if arguments.is_empty() {
            let input = self.own(item.held)?;
            let value = self.call(function, &input, &[])?;
            return sink(self, value.into());
        }
        let input = item.held.clone();
        self.combine(arguments, item, &mut Vec::new(), &mut |machine, values| {
            let input = machine.own(input.clone())?;
            let value = machine.call(function, &input, values)?;
            sink(machine, value.into())
        })
    }
}
