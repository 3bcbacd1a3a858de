//! How a command fails, and what its exit code says about it.

use std::io;
use std::process::ExitCode;

use domain::Fault;
use serde_json::{Value, json};

use crate::args::Format;
use crate::client::Problem;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It makes no sense as asked.
    #[error("{0}")]
    Usage(String),
    /// Files have faults.
    #[error("{}", in_words(.0))]
    Faults(Vec<FileFault>),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// Somebody else is at it.
    #[error("{0}")]
    Conflict(String),
    /// The API said no.
    #[error("{}", .0.in_words())]
    Refused(Box<Problem>),
    /// What was compared differs.
    #[error("{0}")]
    Verification(String),
    /// It took too long.
    #[error("{0}")]
    TimedOut(String),
    /// The awaited execution did not complete.
    #[error("{0}")]
    RunFailed(String),
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// Whoever reads our output has had enough.
    #[error("the reader of the output is gone")]
    NoReader,
    /// Anything else.
    #[error("{}", causes(.0))]
    Other(#[from] anyhow::Error),
}

/// A fault in a file.
#[derive(Debug, Clone)]
pub(crate) struct FileFault {
    /// The file, as it was named.
    pub(crate) file: String,
    /// What is wrong with it.
    pub(crate) fault: Fault,
}

impl Failure {
    /// The exit code, as documented: programs tell the sorts of failure apart by it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NoReader => 0,
            Self::Usage(_) | Self::Faults(_) => 2,
            Self::NotFound(_) => 3,
            Self::Conflict(_) => 5,
            Self::Refused(problem) => of_status(problem.status),
            Self::Verification(_) => 8,
            Self::TimedOut(_) => 9,
            Self::RunFailed(_) => 10,
            Self::Interrupted => 130,
            Self::Other(_) => 1,
        }
    }

    /// Tells of the failure on standard error, in the words or the format that were asked for,
    /// and gives the exit code.
    pub(crate) fn report(&self, format: Format) -> ExitCode {
        if !matches!(self, Self::NoReader) {
            match format {
                Format::Table => eprintln!("error: {self}"),
                Format::Json | Format::Yaml => eprintln!("{}", self.as_json()),
            }
        }
        ExitCode::from(self.exit_code())
    }

    fn as_json(&self) -> Value {
        let errors = match self {
            Self::Refused(problem) => json!(problem.errors),
            Self::Faults(faults) => faults.iter().map(FileFault::as_json).collect(),
            Self::Usage(_)
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Verification(_)
            | Self::TimedOut(_)
            | Self::RunFailed(_)
            | Self::Interrupted
            | Self::NoReader
            | Self::Other(_) => json!([]),
        };
        let detail = match self {
            Self::Refused(problem) => problem.detail.clone(),
            Self::Faults(faults) => format!("{} found", count(faults.len(), "fault")),
            Self::Usage(_)
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Verification(_)
            | Self::TimedOut(_)
            | Self::RunFailed(_)
            | Self::Interrupted
            | Self::NoReader
            | Self::Other(_) => self.to_string(),
        };
        json!({"code": self.code(), "detail": detail, "exit": self.exit_code(), "errors": errors})
    }

    fn code(&self) -> &str {
        match self {
            Self::Usage(_) => "usage",
            Self::Faults(_) => "invalid",
            Self::NotFound(_) => "not_found",
            Self::Conflict(_) => "conflict",
            Self::Refused(problem) => &problem.code,
            Self::Verification(_) => "verification_failed",
            Self::TimedOut(_) => "timed_out",
            Self::RunFailed(_) => "run_failed",
            Self::Interrupted => "interrupted",
            Self::NoReader => "no_reader",
            Self::Other(_) => "failed",
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::NoReader;
        }
        Self::Other(error.into())
    }
}

impl FileFault {
    fn as_json(&self) -> Value {
        let mut shown = json!(self.fault);
        shown["file"] = json!(self.file);
        shown
    }
}

/// The exit code for a refusal with this HTTP status.
fn of_status(status: u16) -> u8 {
    match status {
        401 | 403 => 4,
        404 | 410 => 3,
        409 | 412 => 5,
        429 => 7,
        400..=499 => 2,
        _ => 1,
    }
}

/// What failed and why, each cause said once: many errors repeat theirs.
fn causes(error: &anyhow::Error) -> String {
    let mut told: Vec<String> = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        if !told.iter().any(|before| before.contains(&cause)) {
            told.push(cause);
        }
    }
    told.join(": ")
}

/// A number with its noun.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// A fault in the words of a compiler: where, what, and what to do.
pub(crate) fn line_of(file: Option<&str>, fault: &Fault) -> String {
    let mut place = file.unwrap_or_default().to_owned();
    if let Some(line) = fault.line {
        let line = if place.is_empty() { format!("line {line}") } else { format!(":{line}") };
        place.push_str(&line);
    }
    let pointer = if fault.pointer.is_empty() { "" } else { &fault.pointer };
    let place: Vec<&str> =
        [place.as_str(), pointer].into_iter().filter(|p| !p.is_empty()).collect();
    let place = if place.is_empty() { String::new() } else { format!("{}: ", place.join(" ")) };
    let hint = fault.hint.as_ref().map(|hint| format!("\n    hint: {hint}")).unwrap_or_default();
    format!("  {place}{} ({}){hint}", fault.detail, fault.code)
}

fn in_words(faults: &[FileFault]) -> String {
    let lines = faults.iter().map(|fault| line_of(Some(&fault.file), &fault.fault));
    let lines: Vec<String> = lines.collect();
    format!("{} found\n{}", count(faults.len(), "fault"), lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> Failure {
        Failure::Refused(Box::new(Problem { status, ..Problem::default() }))
    }

    #[test]
    fn exit_codes_are_as_documented() {
        let codes = [400, 422, 404, 410, 401, 403, 409, 412, 429, 428, 500, 503]
            .map(|status| refused(status).exit_code());
        assert_eq!(codes, [2, 2, 3, 3, 4, 4, 5, 5, 7, 2, 1, 1]);
        assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
        assert_eq!(Failure::Verification(String::new()).exit_code(), 8);
        assert_eq!(Failure::TimedOut(String::new()).exit_code(), 9);
        assert_eq!(Failure::RunFailed(String::new()).exit_code(), 10);
        assert_eq!(Failure::Interrupted.exit_code(), 130);
    }

    #[test]
    fn faults_are_told_with_place_line_and_hint() {
        let fault =
            Fault::new("/do/0", "unknown_field", "no such field").at_line(3).hint("drop it");
        let failure = Failure::Faults(vec![FileFault { file: "a.yaml".to_owned(), fault }]);
        assert_eq!(
            failure.to_string(),
            "1 fault found\n  a.yaml:3 /do/0: no such field (unknown_field)\n    hint: drop it"
        );
        assert_eq!(failure.as_json()["errors"][0]["file"], "a.yaml");
        assert_eq!(failure.as_json()["exit"], 2);
    }

    #[test]
    fn each_cause_is_told_once() {
        let root = anyhow::anyhow!("the disk is full").context("writing: the disk is full");
        assert_eq!(
            Failure::Other(root.context("exporting")).to_string(),
            "exporting: writing: the disk is full"
        );
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let gone = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(Failure::from(gone).exit_code(), 0);
    }
}
