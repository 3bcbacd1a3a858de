use super::{Command, Delivery, Event, NewDelivery, Refusal};
use crate::{Aggregate, Timestamp};

impl Aggregate for Delivery {
    const NAME: &'static str = "webhook";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    /// A delivery that was seen before changes nothing.
    fn decide(&self, command: &Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Receive(_) if self.received => Ok(vec![]),
            Command::Receive(new) => {
                let NewDelivery {
                    integration,
                    event_type,
                    dedupe_key,
                    headers,
                    body,
                    digest,
                    starts,
                } = (**new).clone();
                Ok(vec![Event::Received {
                    integration,
                    event_type,
                    dedupe_key,
                    headers,
                    body,
                    digest,
                    starts,
                }])
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.note(event);
    }
}
