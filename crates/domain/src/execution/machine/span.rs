//! Lengths of time: durations, pauses that grow, and chance that is the same at every replay.

use chrono::TimeDelta;
use serde_json::Value;
use uuid::Uuid;

use super::super::Standard;
use super::{Error, Machine};
use crate::Timestamp;
use crate::workflow::{Backoff, Span};

/// The longest that anything is waited for.
pub(super) const LONGEST: TimeDelta = TimeDelta::days(366);

impl Machine<'_> {
    /// The moment a length of time from now.
    pub(super) fn after(
        &self,
        number: u32,
        span: &Span,
        input: &Value,
    ) -> Result<Timestamp, Error> {
        Ok(self.now + self.length(number, span, input)?)
    }

    /// A length of time, at most [`LONGEST`].
    pub(super) fn length(
        &self,
        number: u32,
        span: &Span,
        input: &Value,
    ) -> Result<TimeDelta, Error> {
        let duration = match span {
            Span::Fixed(duration) => *duration,
            Span::Dynamic(template) => {
                let value = self.fill(number, template, input)?;
                crate::duration::of(&value).map_err(|detail| Standard::Validation.error(detail))?
            }
        };
        Ok(TimeDelta::from_std(duration).map_or(LONGEST, |length| length.min(LONGEST)))
    }

    /// A length between two, drawn from the execution's own id: chance to the outside, and the
    /// same whenever it is decided anew.
    pub(super) fn jitter(&self, from: TimeDelta, to: TimeDelta) -> TimeDelta {
        let seed = format!("jitter/{}", self.turn.serial);
        let drawn = Uuid::new_v5(&self.start.id.as_uuid(), seed.as_bytes()).as_u128();
        let width = u64::try_from((to - from).num_milliseconds()).unwrap_or_default();
        let part = drawn % (u128::from(width) + 1);
        from + TimeDelta::milliseconds(i64::try_from(part).unwrap_or_default())
    }
}

/// The pause after attempt `attempt` (from 1).
pub(super) fn backoff(backoff: Backoff, delay: TimeDelta, attempt: u32) -> TimeDelta {
    let factor = match backoff {
        Backoff::Constant => 1,
        Backoff::Linear => i32::try_from(attempt).unwrap_or(i32::MAX),
        Backoff::Exponential => {
            1_i32.checked_shl(attempt.saturating_sub(1).min(30)).unwrap_or(i32::MAX)
        }
    };
    delay.checked_mul(factor).map_or(LONGEST, |pause| pause.min(LONGEST))
}
