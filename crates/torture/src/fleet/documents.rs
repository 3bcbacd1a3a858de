//! The workflows that the fleet runs, each small.

use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

/// Which workflow is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A call, a short wait, a call.
    Plain,
    /// A call, a wait of seconds, a call: there are faults while it waits.
    Patient,
    /// A call that is told "unavailable" or nothing now and then, and is made again.
    Stubborn,
    /// Runs the plain one and waits for it, between two calls.
    Parent,
    /// Makes a call and raises an error.
    Faulty,
    /// The patient one, which whoever started it cancels.
    Stopped,
}

/// All of them.
pub(super) const ALL: [Kind; 6] =
    [Kind::Plain, Kind::Patient, Kind::Stubborn, Kind::Parent, Kind::Faulty, Kind::Stopped];

impl Kind {
    /// One by chance, some more often than others.
    pub(super) fn pick(random: &mut StdRng) -> Self {
        match random.random_range(0..20) {
            0..7 => Self::Plain,
            7..9 => Self::Patient,
            9..14 => Self::Stubborn,
            14..18 => Self::Parent,
            18 => Self::Faulty,
            _ => Self::Stopped,
        }
    }

    /// Its document.
    pub(super) fn document(self) -> String {
        match self {
            Self::Plain => waits("plain", 300),
            Self::Patient | Self::Stopped => waits("patient", 4_000),
            Self::Stubborn => format!("{}{STUBBORN}", head("stubborn")),
            Self::Parent => {
                format!("{}{}{PARENT}{}", head("parent"), call("first"), call("second"))
            }
            Self::Faulty => format!("{}{}{FAULTY}", head("faulty"), call("first")),
        }
    }
}

fn waits(name: &str, milliseconds: u32) -> String {
    let pause = format!("  - pause: {{wait: {{milliseconds: {milliseconds}}}}}\n");
    format!("{}{}{pause}{}", head(name), call("first"), call("second"))
}

/// What comes first in all of them: where to call is kept, and more than an event holds by itself, which
/// is of each that has a key and the same for those that have none.
fn head(name: &str) -> String {
    format!(
        "document: {{dsl: 1.0.3, namespace: torture, name: {name}, version: 1.0.0}}
do:
  - remember:
      set: {{url: '${{ .url }}', papers: '${{ [range(2500)] + [.key] }}'}}
      export: {{as: .}}
"
    )
}

/// A call; the name of the task is the step that the outside system is told.
fn call(step: &str) -> String {
    format!(
        "  - {step}:
      call: http
      with:
        method: post
        endpoint: '${{ $context.url + \"{step}\" }}'
        body: {{execution: '${{ $workflow.id }}'}}
"
    )
}

const STUBBORN: &str = r#"  - insist:
      try:
        - unsure:
            call: http
            with:
              method: post
              endpoint: '${ $context.url + "unsure" }'
              body: {execution: '${ $workflow.id }'}
      catch:
        errors:
          with:
            type: https://open-workflow-specification.org/spec/1.0.0/errors/communication
        retry:
          delay: {milliseconds: 200}
          limit:
            attempt: {count: 20}
"#;

const PARENT: &str = "  - delegate:
      run:
        workflow:
          namespace: torture
          name: plain
          version: 1.0.0
          input: {url: '${ $context.url }'}
";

const FAULTY: &str = "  - complain:
      raise:
        error: {type: 'https://example.com/errors/refused', status: 418, title: No tea here}
";
