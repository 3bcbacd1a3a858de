//! Durations, timeouts and retries.

use std::time::Duration;

use super::place::{Fields, Place};
use super::shape::wrapped;
use super::{Compiler, Scope};
use crate::duration;
use crate::workflow::plan::{Backoff, Retry, Span};
use crate::workflow::source::Inner;

impl Compiler {
    /// A duration: an object, ISO 8601 text, or an expression that gives one of them.
    pub(super) fn span(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Span> {
        let dynamic = match &at.node.inner {
            Inner::Scalar(value) => value.as_str().and_then(wrapped).is_some(),
            Inner::Map(_) => at
                .members()
                .unwrap_or_default()
                .iter()
                .any(|(_, member)| member.text().and_then(wrapped).is_some()),
            Inner::List(_) => false,
        };
        if dynamic {
            return self.template(at, scope).map(Span::Dynamic);
        }
        match duration::of(&at.node.to_json()) {
            Ok(duration) => Some(Span::Fixed(duration)),
            Err(detail) => {
                self.fault(at, "malformed_duration", detail);
                None
            }
        }
    }

    /// A timeout, written out or by its name in `use.timeouts`.
    pub(super) fn timeout(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Span> {
        if let Some(name) = at.text() {
            return self.used(at, name, "timeouts", |uses| uses.timeouts.get(name).cloned());
        }
        let mut fields = Fields::of(self, at)?;
        let after = fields.required(self, "after");
        fields.finish(self);
        after.and_then(|after| self.span(&after, scope))
    }

    /// A retry policy, written out or by its name in `use.retries`.
    pub(super) fn retry(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Retry> {
        if let Some(name) = at.text() {
            return self.used(at, name, "retries", |uses| uses.retries.get(name).cloned());
        }
        let mut fields = Fields::of(self, at)?;
        let when = fields.take("when").and_then(|at| self.expression(&at, scope));
        let except = fields.take("exceptWhen").and_then(|at| self.expression(&at, scope));
        let delay = fields.take("delay").and_then(|at| self.span(&at, scope));
        let backoff = fields.take("backoff").map(|at| self.backoff(&at));
        let jitter = fields.take("jitter").and_then(|at| self.jitter(&at, scope));
        let limit = fields.take("limit");
        fields.finish(self);
        let mut retry = Retry {
            when,
            except,
            delay,
            backoff: backoff.unwrap_or(Backoff::Constant),
            jitter,
            attempts: None,
            attempt_timeout: None,
            duration: None,
        };
        if let Some(limit) = limit {
            self.limit(&limit, scope, &mut retry)
        } else {
            let detail = "a retry without a `limit` may go on for ever";
            let hint = "limit: {attempt: {count: 5}}";
            self.hinted(at, "missing_field", detail, hint);
        }
        Some(retry)
    }

    fn limit(&mut self, at: &Place<'_>, scope: &Scope, retry: &mut Retry) {
        let Some(mut fields) = Fields::of(self, at) else { return };
        retry.duration = fields.take("duration").and_then(|at| self.span(&at, scope));
        let attempt = fields.take("attempt");
        fields.finish(self);
        let Some(mut fields) = attempt.as_ref().and_then(|at| Fields::of(self, at)) else { return };
        if let Some(count) = fields.take("count") {
            let number = count.node.to_json().as_u64().and_then(|count| u32::try_from(count).ok());
            match number {
                Some(number) if number > 0 => retry.attempts = Some(number),
                Some(_) | None => {
                    self.fault(&count, "wrong_type", "a whole number above 0 is wanted here");
                }
            }
        }
        retry.attempt_timeout = fields.take("duration").and_then(|at| self.span(&at, scope));
        fields.finish(self);
    }

    fn backoff(&mut self, at: &Place<'_>) -> Backoff {
        let known = [
            ("constant", Backoff::Constant),
            ("linear", Backoff::Linear),
            ("exponential", Backoff::Exponential),
        ];
        let members = at.members().unwrap_or_default();
        let [(name, parameters)] = members.as_slice() else {
            let detail = "one of `constant`, `linear` and `exponential` is wanted here";
            self.fault(at, "wrong_type", detail);
            return Backoff::Constant;
        };
        match parameters.members() {
            Some(none) if none.is_empty() => {}
            Some(_) | None => {
                self.fault(parameters, "unknown_field", "backoffs have no parameters: write {}");
            }
        }
        if let Some((_, backoff)) = known.iter().find(|(known, _)| known == name) {
            *backoff
        } else {
            let detail = format!("`{name}` is none of `constant`, `linear` and `exponential`");
            self.fault(parameters, "unknown_field", detail);
            Backoff::Constant
        }
    }

    fn jitter(&mut self, at: &Place<'_>, scope: &Scope) -> Option<(Span, Span)> {
        let mut fields = Fields::of(self, at)?;
        let from = fields.required(self, "from").and_then(|at| self.span(&at, scope));
        let to = fields.required(self, "to").and_then(|at| self.span(&at, scope));
        fields.finish(self);
        let (from, to) = (from?, to?);
        let fixed = |span: &Span| match span {
            Span::Fixed(duration) => Some(*duration),
            Span::Dynamic(_) => None,
        };
        if fixed(&from).zip(fixed(&to)).is_some_and(|(from, to): (Duration, Duration)| from > to) {
            self.fault(at, "out_of_range", "`from` is longer than `to`");
        }
        Some((from, to))
    }
}
