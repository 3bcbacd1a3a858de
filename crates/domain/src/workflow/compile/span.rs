//! Durations, timeouts and retries.

use super::data::wrapped;
use super::place::{Fields, Place, quoted};
use super::{Compiler, Scope};
use crate::duration;
use crate::workflow::plan::{Backoff, Retry, Span};

/// The units of a duration.
const UNITS: [&str; 5] = ["days", "hours", "minutes", "seconds", "milliseconds"];

/// The ways in which pauses grow.
const BACKOFFS: [(&str, Backoff); 3] = [
    ("constant", Backoff::Constant),
    ("linear", Backoff::Linear),
    ("exponential", Backoff::Exponential),
];

impl Compiler {
    /// A duration: an object, ISO 8601 text, or an expression that gives one of them.
    pub(super) fn span(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Span> {
        if at.text().and_then(wrapped).is_some() {
            self.one_line(at);
            return self.template(at, scope).map(Span::Dynamic);
        }
        if at.is_map() {
            self.units(at)?;
        }
        match duration::of(&at.node.to_json()) {
            Ok(duration) => Some(Span::Fixed(duration)),
            Err(detail) => {
                let hint = "such as {minutes: 5} or PT5M, at most 366 days";
                self.hinted(at, "malformed_duration", detail, hint);
                None
            }
        }
    }

    fn units(&mut self, at: &Place<'_>) -> Option<()> {
        let mut fields = Fields::of(self, at)?;
        let (mut any, mut good) = (false, !at.members()?.is_empty());
        for unit in UNITS {
            let Some(amount) = fields.take(unit) else { continue };
            any = true;
            if amount.whole().is_none() {
                let detail = "a whole number that is not negative is wanted here";
                let hint = "what is known at run time only: ${ {seconds: .pause} }";
                self.hinted(&amount, "malformed_duration", detail, hint);
                good = false;
            }
        }
        fields.finish(self);
        if at.members()?.is_empty() {
            self.hinted(at, "malformed_duration", "no unit is given", &UNITS.join(", "));
        }
        (any && good).then_some(())
    }

    /// A timeout, written out or by its name in `use.timeouts`.
    pub(super) fn timeout(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Span> {
        if at.text().is_some() {
            let hint = "a length of time stands in `after`: {after: PT5M}";
            return self.used(at, "timeouts", |uses| &uses.timeouts, Some(hint));
        }
        self.inline_timeout(at, scope)
    }

    pub(super) fn inline_timeout(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Span> {
        let mut fields = Fields::of(self, at)?;
        let after = fields.required(self, "after");
        fields.finish(self);
        self.span(&after?, scope)
    }

    /// A retry policy, written out or by its name in `use.retries`; `error` is what the error is
    /// called here.
    pub(super) fn retry(&mut self, at: &Place<'_>, scope: &Scope, error: &str) -> Option<Retry> {
        if at.text().is_none() {
            return self.inline_retry(at, scope);
        }
        let named = self.used(at, "retries", |uses| &uses.retries, None)?;
        if named.needs_error && error != "error" {
            let detail = format!("it speaks of `$error`, but the error is called `${error}` here");
            self.hinted(at, "malformed_expression", detail, "leave `as` out");
        }
        Some(named.retry)
    }

    pub(super) fn inline_retry(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Retry> {
        let mut fields = Fields::of(self, at)?;
        let (when, except) = (fields.take("when"), fields.take("exceptWhen"));
        let (delay, backoff) = (fields.take("delay"), fields.take("backoff"));
        let (jitter, limit) = (fields.take("jitter"), fields.take("limit"));
        fields.finish(self);
        let mut retry = Retry {
            when: when.and_then(|at| self.expression(&at, scope)),
            except: except.and_then(|at| self.expression(&at, scope)),
            delay: delay.as_ref().and_then(|at| self.span(at, scope)),
            backoff: backoff.and_then(|at| self.backoff(&at)).unwrap_or(Backoff::Constant),
            jitter: jitter.as_ref().and_then(|at| self.jitter(at, scope)),
            attempts: None,
            attempt_timeout: None,
            duration: None,
        };
        if let Some(at) = &limit {
            self.limit(at, scope, &mut retry);
        }
        let pauses = jitter.is_some()
            || retry.delay.as_ref().map_or(delay.is_some(), |delay| !is_nothing(delay));
        if !pauses && retry.attempts.is_none() && retry.duration.is_none() {
            let detail = "without `limit` and `delay` it tries for ever and never pauses";
            let hint = "limit: {attempt: {count: 5}}, or delay: {seconds: 10}";
            self.hinted(limit.as_ref().unwrap_or(at), "endless_retry", detail, hint);
        }
        Some(retry)
    }

    fn limit(&mut self, at: &Place<'_>, scope: &Scope, retry: &mut Retry) {
        let Some(mut fields) = Fields::of(self, at) else { return };
        let (attempt, duration) = (fields.take("attempt"), fields.take("duration"));
        fields.finish(self);
        retry.duration = duration.and_then(|at| self.span(&at, scope));
        let Some(mut fields) = attempt.and_then(|at| Fields::of(self, &at)) else { return };
        let (count, duration) = (fields.take("count"), fields.take("duration"));
        fields.finish(self);
        retry.attempt_timeout = duration.and_then(|at| self.span(&at, scope));
        let Some(count) = count else { return };
        retry.attempts = count.whole().and_then(|count| u32::try_from(count).ok());
        if retry.attempts.is_none_or(|count| count == 0) {
            self.fault(&count, "wrong_type", "a whole number above 0 is wanted here");
        }
    }

    fn backoff(&mut self, at: &Place<'_>) -> Option<Backoff> {
        let Some((name, parameters)) = at.single() else {
            let detail = "one of `constant`, `linear` and `exponential` is wanted here";
            self.hinted(at, "wrong_type", detail, "exponential: {}");
            return None;
        };
        let known = BACKOFFS.into_iter().find(|(known, _)| *known == name);
        if known.is_none() {
            let detail = format!("{} is no field that is known here", quoted(name));
            let hint = "known are: constant, linear, exponential";
            self.hinted(&parameters, "unknown_field", detail, hint);
        } else {
            Fields::of(self, &parameters)?.finish(self);
        }
        Some(known?.1)
    }

    fn jitter(&mut self, at: &Place<'_>, scope: &Scope) -> Option<(Span, Span)> {
        let mut fields = Fields::of(self, at)?;
        let (from, to) = (fields.required(self, "from"), fields.required(self, "to"));
        fields.finish(self);
        let from = from.and_then(|at| self.span(&at, scope));
        let (from, to) = (from?, to.and_then(|at| self.span(&at, scope))?);
        if let (Span::Fixed(from), Span::Fixed(to)) = (&from, &to)
            && from > to
        {
            self.fault(at, "out_of_range", "`from` is longer than `to`");
        }
        Some((from, to))
    }
}

fn is_nothing(span: &Span) -> bool {
    match span {
        Span::Fixed(length) => length.is_zero(),
        Span::Dynamic(_) => false,
    }
}
