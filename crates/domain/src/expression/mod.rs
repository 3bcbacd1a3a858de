//! Runtime expressions: jq, caged.
//!
//! jq can loop for ever, recurse until the process dies, read the environment and end the
//! process. An [`Expression`] can do none of that: what it may call is a list, what it costs is
//! counted, and a program that costs too much ends in an [`EvaluationError`] like any other.
//!
//! jaq parses; the evaluator is our own, because jaq's can neither be stopped nor kept from
//! exhausting the stack. The way of an expression: `guard` bounds the text and has it parsed,
//! `lower` resolves names against `vocabulary` and makes a `program`, `machine` runs that on a
//! `budget`. Where jq and jaq differ, jq is followed; objects are sorted by name.

mod access;
mod arithmetic;
mod budget;
mod collection;
mod construct;
mod guard;
mod item;
mod json;
mod lower;
mod machine;
mod matching;
mod number;
mod order;
mod pattern;
mod program;
mod special;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod tools;
mod value;
mod vocabulary;
mod walk;
mod written;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

pub use self::budget::STEPS;
use self::budget::{Outcome, Stop};
use self::item::{Held, Item, shorten};
use self::machine::Machine;
use self::program::Program;

/// How many characters of an error that the expression raised are repeated.
const MESSAGE: usize = 200;

/// The variables an expression sees, by name without the `$`.
pub type Scope = BTreeMap<String, Value>;

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    program: Arc<Program>,
}

/// Why a text is not an expression that may run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct CompileError {
    /// What is wrong.
    pub detail: String,
    /// What to do about it, when that is known.
    pub hint: Option<String>,
}

/// Why an expression gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvaluationError(pub String);

impl fmt::Debug for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Expression").field(&self.source).finish()
    }
}

impl Expression {
    /// Compiles jq; `variables` are the names (without `$`) it may use.
    ///
    /// Refuses what is no jq, what is longer than 16 KiB or nests too deeply, unknown functions
    /// and variables, and what jq has but an expression may not do: read the clock, the
    /// environment or further input, end the process, define functions, loop without bound.
    pub fn compile(source: &str, variables: &[&str]) -> Result<Self, CompileError> {
        let program = guard::with_parsed(source, |term| lower::lower(&term, variables))?;
        Ok(Self { source: Arc::from(source), program: Arc::new(program) })
    }

    /// The text it was compiled from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its one value for `input`; variables that `scope` lacks are `null`.
    ///
    /// The same expression, input and scope end the same way everywhere: limits are counted in
    /// steps and bytes, not measured. It fails when the expression raises an error, gives no
    /// value or several, gives what JSON cannot hold, or costs too much.
    pub fn evaluate(&self, input: &Value, scope: &Scope) -> Result<Value, EvaluationError> {
        self.counted(input, scope).0
    }

    /// The same, and how many steps it took, [`STEPS`] at most.
    pub fn counted(&self, input: &Value, scope: &Scope) -> (Result<Value, EvaluationError>, u64) {
        let mut machine = Machine::new(&self.program, |name| scope.get(name));
        let only = self.only(&mut machine, input);
        (only.map_err(|stop| EvaluationError(sentence(&stop))), machine.budget().spent())
    }

    fn only<'a>(&'a self, machine: &mut Machine<'a>, input: &'a Value) -> Outcome<Value> {
        let mut only: Option<Item<'a>> = None;
        machine.eval(&self.program.root, Held::Lent(input).into(), &mut |_, output| {
            if only.replace(output).is_some() {
                return Err(Stop::error("the expression gives several values, and one is wanted"));
            }
            Ok(())
        })?;
        match only.map(|output| output.held) {
            Some(Held::Lent(json)) => Ok(json.clone()),
            Some(Held::Own(value)) => value.to_json(machine.budget()),
            None => Err(Stop::error("the expression gives no value, and one is wanted")),
        }
    }
}

/// Why it stopped, in a sentence of bounded length.
fn sentence(stop: &Stop) -> String {
    match stop {
        Stop::Error(value::Value::Text(text)) => shorten(text, MESSAGE),
        Stop::Error(value) => {
            let shown = json::write(value, &budget::Budget::full());
            shown.map_or_else(|stop| sentence(&stop), |shown| shorten(&shown, MESSAGE))
        }
        Stop::Limit(limit) => limit.sentence(),
        Stop::Break(_) | Stop::Downstream => "the expression was left halfway".to_owned(),
    }
}
