use super::Event;
use crate::Id;
use crate::integration::Integration;
use crate::subject::Subject;

/// A delivery, as its history tells it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delivery {
    pub(super) received: bool,
    pub(super) subject: Option<Id<Subject>>,
}

impl Delivery {
    /// The id of a delivery: the same integration and the same sender's id are the same delivery.
    #[must_use]
    pub fn id(integration: Id<Integration>, dedupe_key: &str) -> Id<Self> {
        Id::derived(integration.as_uuid(), dedupe_key)
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Received { subject, .. } => (self.received, self.subject) = (true, *subject),
        }
    }
}
