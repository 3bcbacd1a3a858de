use super::Event;

/// A subject, as its history tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Subject {
    pub(super) is_requested: bool,
    pub(super) is_erased: bool,
}

impl Subject {
    /// Whether their key is gone.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.is_erased
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::ErasureRequested {} => self.is_requested = true,
            Event::Erased {} => self.is_erased = true,
        }
    }
}
