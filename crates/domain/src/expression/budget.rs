//! What one evaluation may cost, and why an evaluation stops.

use std::cell::Cell;
use std::sync::Arc;

use super::value::Value;

/// Steps of one evaluation: about one for a node visited, an element produced,
/// 32 bytes allocated, 64 bytes read.
pub const STEPS: u64 = 750_000;

/// Bytes that one evaluation may allocate in all; what it frees is not given back.
pub(super) const BYTES: u64 = 32 << 20;

/// Steps that an error costs which the expression catches: it is made in vain.
pub(super) const ERROR: usize = 3;

/// What an element of an array costs, with the room that a growing vector keeps.
pub(super) const ITEM: usize = 64;

/// What a member of an object costs besides the letters of its name.
pub(super) const MEMBER: usize = 128;

/// What an object costs besides its members: a tree has room for several in its first node.
pub(super) const OBJECT: usize = 640;

/// A result, or why there is none.
pub(super) type Outcome<T> = Result<T, Stop>;

/// Why a part of an evaluation ends before its end.
pub(super) enum Stop {
    /// An error of the expression; `try` catches it.
    Error(Value),
    /// The generator with this label has given what was wanted.
    Break(u32),
    /// What came after a `try` or `//` failed; the reason waits there.
    Downstream,
    /// The evaluation is over; nothing catches this.
    Limit(Limit),
}

/// A limit that an evaluation ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// More than [`STEPS`].
    Steps,
    /// More than [`BYTES`].
    Bytes,
    /// The evaluation itself is nested too deeply.
    Depth,
    /// A value is nested too deeply.
    Nesting,
}

impl Limit {
    /// The limit as a sentence.
    pub(super) fn sentence(self) -> String {
        match self {
            Self::Steps => format!("the expression costs too much: more than {STEPS} steps"),
            Self::Bytes => {
                format!("the expression needs too much memory: more than {} MiB", BYTES >> 20)
            }
            Self::Depth => "the expression goes too deep".to_owned(),
            Self::Nesting => {
                format!("a value is nested deeper than {} levels", super::value::NESTING)
            }
        }
    }
}

impl Stop {
    /// An error with this text.
    pub(super) fn error(text: impl Into<String>) -> Self {
        Self::Error(Value::Text(Arc::new(text.into())))
    }
}

/// What is left to spend.
pub(super) struct Budget {
    steps: Cell<u64>,
    bytes: Cell<u64>,
}

impl Budget {
    /// A full budget.
    pub(super) fn full() -> Self {
        Self { steps: Cell::new(STEPS), bytes: Cell::new(BYTES) }
    }

    /// How many steps were paid for.
    pub(super) fn spent(&self) -> u64 {
        STEPS - self.steps.get()
    }

    /// Pays for work; fails when there is not enough left.
    pub(super) fn spend(&self, steps: usize) -> Outcome<()> {
        let left = self.steps.get().checked_sub(steps as u64);
        self.steps.set(left.unwrap_or(0));
        left.map(drop).ok_or(Stop::Limit(Limit::Steps))
    }

    /// Pays for reading something this long.
    pub(super) fn read(&self, bytes: usize) -> Outcome<()> {
        self.spend(bytes / 64)
    }

    /// Pays for memory, before it is taken.
    pub(super) fn allocate(&self, bytes: usize) -> Outcome<()> {
        let left = self.bytes.get().checked_sub(bytes as u64);
        self.bytes.set(left.unwrap_or(0));
        left.ok_or(Stop::Limit(Limit::Bytes))?;
        self.spend(bytes / 32)
    }

    /// Pays for `count` pieces of `size` bytes each.
    pub(super) fn allocate_many(&self, count: usize, size: usize) -> Outcome<()> {
        self.allocate(count.saturating_mul(size))
    }
}
