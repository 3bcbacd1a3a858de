//! How far it is: a bar for people, lines for a log.

use std::cell::Cell;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// How far it is.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    label: &'static str,
    total: usize,
    /// The last line of a log, in tenths.
    printed: Cell<usize>,
}

impl Progress {
    pub(crate) fn new(label: &'static str, total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("   {bar:40} {pos}/{len} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let length = u64::try_from(total).unwrap_or(u64::MAX);
            ProgressBar::new(length).with_style(style).with_message(label)
        });
        Self { bar, label, total, printed: Cell::new(0) }
    }

    pub(crate) fn set(&self, done: usize) {
        if let Some(bar) = &self.bar {
            bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
            return;
        }
        let tenths = done * 10 / self.total.max(1);
        if tenths > self.printed.replace(tenths) {
            println!("   {done} of {} {}", self.total, self.label);
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            println!("   {} {}", self.total, self.label);
        }
    }
}
