use chrono::TimeDelta;

use super::{Command, Event, Notification, Refusal, Status};
use crate::subject::Subject;
use crate::{Aggregate, Fault, Id, Personal, Timestamp, storable};

/// The most attempts.
const ATTEMPTS: u32 = 8;

/// The pause after the first failed attempt; each further one is three times as long.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(5);

/// The longest pause.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);

/// The most addresses of one notification.
const ADDRESSES: usize = 50;

impl Aggregate for Notification {
    const NAME: &'static str = "notification";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: &Command, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Request { .. } => self.request(command),
            Command::RecordSent { via, message_id } => self.attempted(|attempt| Event::Sent {
                attempt,
                via: via.clone(),
                message_id: message_id.clone(),
            }),
            Command::RecordFailure { detail, permanent } => self.attempted(|attempt| {
                let detail = Personal::from(detail.clone());
                if *permanent || attempt >= ATTEMPTS {
                    return Event::Failed { attempt, detail };
                }
                Event::AttemptFailed { attempt, detail, retry_at: now + pause(attempt) }
            }),
            Command::Resend => match self.status {
                Status::Unborn => Err(Refusal::NotFound),
                Status::Queued | Status::Retrying(_) => Err(Refusal::Pending),
                Status::Sent | Status::Failed => Ok(vec![Event::ResendRequested {}]),
            },
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.note(event);
    }

    fn subject(&self) -> Option<Id<Subject>> {
        self.subject
    }
}

impl Notification {
    /// Asking twice is fine.
    fn request(&self, command: &Command) -> Result<Vec<Event>, Refusal> {
        let Command::Request { channel, to, template, version, data, subject, caller } = command
        else {
            return Ok(vec![]);
        };
        if self.status != Status::Unborn {
            return Ok(vec![]);
        }
        let mut faults = faults(to);
        if let Err(detail) = storable::check(data) {
            faults.push(Fault::new("/data", "unstorable", detail));
        }
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults));
        }
        Ok(vec![Event::Requested {
            channel: *channel,
            to: to.clone().into(),
            template: *template,
            version: *version,
            data: data.clone().into(),
            subject: *subject,
            caller: *caller,
        }])
    }

    /// News about an attempt; late and repeated ones are ignored.
    fn attempted(&self, event: impl FnOnce(u32) -> Event) -> Result<Vec<Event>, Refusal> {
        match self.status {
            Status::Unborn => Err(Refusal::NotFound),
            Status::Queued | Status::Retrying(_) => Ok(vec![event(self.attempts + 1)]),
            Status::Sent | Status::Failed => Ok(vec![]),
        }
    }
}

fn pause(attempt: u32) -> TimeDelta {
    let factor = 3_i32.saturating_pow(attempt.saturating_sub(1));
    FIRST_PAUSE.checked_mul(factor).map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE))
}

fn faults(to: &[String]) -> Vec<Fault> {
    if to.is_empty() || to.len() > ADDRESSES {
        let detail = format!("1 to {ADDRESSES} addresses are wanted");
        return vec![Fault::new("/to", "out_of_range", detail)];
    }
    let wrong = |(place, address): (usize, &String)| {
        (!is_address(address)).then(|| {
            let detail = format!("`{address}` is no e-mail address");
            Fault::new(format!("/to/{place}"), "malformed_address", detail)
        })
    };
    to.iter().enumerate().filter_map(wrong).collect()
}

/// Whether a text has the form of a mailbox (RFC 5321, 4.1.2), without the quoted forms that
/// nobody uses: a local part of at most 64 bytes, and a domain.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let local_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+-/=?^_`{|}~".contains(&byte);
    let label = |label: &str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(good)
    };
    (1..=64).contains(&local.len())
        && domain.len() <= 255
        && local.bytes().all(local_byte)
        && domain.split('.').all(label)
}
