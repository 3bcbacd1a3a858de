use serde_json::Value;

use super::{Event, FailureClass, NewInvocation, Report};
use crate::execution::{Answer, Standard};

/// An invocation, as its history tells it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Invocation {
    pub(super) request: Option<NewInvocation>,
    pub(super) outcome: Option<Outcome>,
    pub(super) is_erased: bool,
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With an answer.
    Completed {
        /// The answer.
        output: Value,
        /// How it went.
        report: Report,
    },
    /// Without one.
    Failed {
        /// Which sort of failure.
        class: FailureClass,
        /// What happened.
        detail: String,
        /// How it went.
        report: Report,
    },
}

impl Invocation {
    /// What was asked, if anything was.
    #[must_use]
    pub fn request(&self) -> Option<&NewInvocation> {
        self.request.as_ref()
    }

    /// What was asked and is not answered yet.
    #[must_use]
    pub fn pending(&self) -> Option<&NewInvocation> {
        self.request.as_ref().filter(|_| self.outcome.is_none())
    }

    /// Whether what was asked was erased before it was read here: nobody can answer it.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.is_erased
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// The answer to the task that waits for it, if it has ended.
    #[must_use]
    pub fn answer(&self) -> Option<Answer> {
        self.outcome.as_ref().map(|outcome| match outcome {
            Outcome::Completed { output, report: _ } => Answer::Success(output.clone()),
            Outcome::Failed { class, detail, report: _ } => class.answer(detail),
        })
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Requested { agent, revision, prompt, input, subject, caller } => {
                self.is_erased = input.is_erased();
                self.request = Some(NewInvocation {
                    agent: *agent,
                    revision: *revision,
                    prompt: *prompt,
                    input: input.clone().into_inner(),
                    subject: *subject,
                    caller: *caller,
                });
            }
            Event::Completed { output, report, caller: _ } => {
                let (output, report) = (output.clone().into_inner(), report.clone());
                self.outcome = Some(Outcome::Completed { output, report });
            }
            Event::Failed { class, detail, report, caller: _ } => {
                let (detail, report) = (detail.clone().into_inner(), report.clone());
                self.outcome = Some(Outcome::Failed { class: *class, detail, report });
            }
        }
    }
}

impl FailureClass {
    /// The failure as a workflow sees it.
    pub(crate) fn answer(self, detail: &str) -> Answer {
        let (sort, status) = match self {
            Self::OutputInvalid => (Standard::Runtime, 502),
            Self::InvalidRequest => (Standard::Validation, 400),
            Self::Auth => (Standard::Authentication, 401),
            Self::RateLimited | Self::QuotaExhausted => (Standard::Communication, 429),
            Self::ContentPolicy => (Standard::Runtime, 422),
            Self::Unavailable => (Standard::Configuration, 404),
            Self::Transient => (Standard::Communication, 503),
            Self::Timeout => (Standard::Timeout, 408),
        };
        Answer::Failure(sort.error(detail).with_status(status))
    }
}
