use super::{Command, DELIVERY_LIMIT, Delivery, Event, NewDelivery, Refusal};
use crate::execution::INPUT_LIMIT;
use crate::subject::Subject;
use crate::{Aggregate, Id, Timestamp, storable};

impl Aggregate for Delivery {
    const NAME: &'static str = "webhook";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    /// A delivery that was seen before changes nothing.
    fn decide(&self, command: &Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Receive(_) if self.received => Ok(vec![]),
            Command::Receive(new) => receive(new),
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.note(event);
    }

    fn subject(&self) -> Option<Id<Subject>> {
        self.subject
    }
}

/// What would be refused later, when nobody listens any more, is refused now: the sender sees it.
fn receive(new: &NewDelivery) -> Result<Vec<Event>, Refusal> {
    storable::check(&new.body).map_err(Refusal::Unstorable)?;
    if new.starts.is_some() {
        let input = super::input(new.event_type.as_deref(), &new.dedupe_key, &new.body);
        fits(storable::size(&input), INPUT_LIMIT)?;
    }
    let NewDelivery { integration, event_type, dedupe_key, headers, body, digest, subject, starts } =
        new.clone();
    let received = Event::Received {
        integration,
        event_type,
        dedupe_key,
        headers: headers.into(),
        body: body.into(),
        digest: digest.into(),
        subject,
        starts,
    };
    fits(storable::size(&received), DELIVERY_LIMIT)?;
    Ok(vec![received])
}

fn fits(size: usize, limit: usize) -> Result<(), Refusal> {
    if size > limit { Err(Refusal::TooLarge { size, limit }) } else { Ok(()) }
}
