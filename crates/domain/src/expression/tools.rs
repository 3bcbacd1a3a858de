//! What plain functions may use: the budget, and the regular expressions compiled so far.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::budget::{Budget, Outcome, Stop};
use super::pattern::Pattern;
use super::value::Value;

/// Regular expressions by text and flags.
type Patterns = BTreeMap<(String, String), Arc<Pattern>>;

/// What the functions of one evaluation share.
pub(super) struct Tools<'a> {
    pub(super) budget: Budget,
    spelled_out: &'a Patterns,
    made: RefCell<Patterns>,
}

impl<'a> Tools<'a> {
    /// Tools with a full budget.
    pub(super) fn new(spelled_out: &'a Patterns) -> Self {
        Self { budget: Budget::full(), spelled_out, made: RefCell::default() }
    }

    /// The regular expression, compiled once an evaluation at most.
    pub(super) fn pattern(&self, text: &Value, flags: String) -> Outcome<Arc<Pattern>> {
        let text = text.as_text("a regular expression")?.as_str();
        self.budget.spend((text.len() + flags.len()) / 64)?;
        let key = (text.to_owned(), flags);
        if let Some(pattern) = self.spelled_out.get(&key) {
            return Ok(Arc::clone(pattern));
        }
        if let Some(pattern) = self.made.borrow().get(&key) {
            return Ok(Arc::clone(pattern));
        }
        self.budget.spend(Pattern::COST + 8 * text.len())?;
        self.budget.allocate(Pattern::SIZE)?;
        let pattern = Arc::new(Pattern::compile(text, &key.1).map_err(Stop::error)?);
        self.made.borrow_mut().insert(key, Arc::clone(&pattern));
        Ok(pattern)
    }
}
