//! A day with the command line, on a real instance: apply, run, watch, cancel, prove.

use std::fs;
use std::path::Path;

use super::dev::{Dev, data_dir};
use super::{Ended, everstep, text};

const HELLO: &str = "document: {dsl: 1.0.0, namespace: day, name: hello, version: 0.1.0}
do:
  - greet: {set: {greeting: '${ \"hello \" + .who }'}}
";
const WAITS: &str = "document: {dsl: 1.0.0, namespace: day, name: waits, version: 0.1.0}
do:
  - sleep: {wait: {hours: 1}}
";
const FAILS: &str = "document: {dsl: 1.0.0, namespace: day, name: fails, version: 0.1.0}
do:
  - no: {raise: {error: {type: 'https://example.com/no', status: 400, title: No, detail: on purpose}}}
";

/// Runs commands on the instance of a data directory.
struct Shell<'a>(&'a Path);

impl Shell<'_> {
    fn run(&self, args: &[&str]) -> Ended {
        let mut command = everstep(args);
        command.env("EVERSTEP_DATA_DIR", self.0).env("GITHUB_API_URL", "https://api.github.com");
        command.env("GITHUB_TOKEN", "t0ken").env("GITHUB_WEBHOOK_SECRET", "s3cret".repeat(8));
        Ended::of(&mut command)
    }
}

#[test]
fn the_example_is_applied_once_and_again() {
    let data = data_dir();
    let _dev = Dev::start(data.path());
    let shell = Shell(data.path());
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/issue-triage");
    let args = ["workflow", "apply", "-f", text(&example), "-o", "json"];
    let outcomes = |ended: Ended| -> Vec<String> {
        let items = ended.json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["outcome"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(outcomes(shell.run(&args).expect(0)), ["created"; 5]);
    let again = outcomes(shell.run(&args).expect(0));
    assert!(!again.contains(&"created".to_owned()), "{again:?}");
    let export = shell.run(&["audit", "export"]).expect(0).out;
    assert!(export.contains("integration.revised"));
    assert!(!export.contains("t0ken") && !export.contains("s3cret"), "a secret is in the log");
}

#[test]
fn executions_are_run_watched_cancelled_and_proved() {
    let data = data_dir();
    let _dev = Dev::start(data.path());
    let shell = Shell(data.path());
    for (name, document) in [("hello", HELLO), ("waits", WAITS), ("fails", FAILS)] {
        fs::write(data.path().join(format!("{name}.yaml")), document).unwrap();
    }
    let file = |name: &str| text(&data.path().join(name)).to_owned();
    let (hello, waits, fails) = (file("hello.yaml"), file("waits.yaml"), file("fails.yaml"));
    shell.run(&["workflow", "apply", "-f", &hello, "-f", &waits, "-f", &fails]).expect(0);

    let input = ["--input", r#"{"who": "world"}"#];
    let ran = shell.run(&[&["workflow", "run", "hello", "-o", "json"][..], &input].concat());
    let ran = ran.expect(0).json();
    assert_eq!(
        (&ran["status"], &ran["output"]["greeting"]),
        (&"completed".into(), &"hello world".into())
    );
    let failed = shell.run(&["workflow", "run", "day/fails"]).expect(10);
    assert!(failed.err.contains("on purpose"), "{failed:?}");
    shell.run(&["workflow", "run", "nobody"]).expect(3);
    let late = shell.run(&["workflow", "run", "day/waits", "--timeout", "1"]).expect(9);
    assert!(late.err.contains("execution cancel"), "{late:?}");

    let waiting = shell.run(&["workflow", "run", "waits", "--detach"]).expect(0);
    let id = waiting.out.trim();
    let why = shell.run(&["execution", "get", id, "--workflow", "waits", "-o", "json"]);
    assert_eq!(why.expect(0).json()["why"][0]["waits_for"], "timer");
    shell.run(&["execution", "cancel", id, "--reason", "enough"]).expect(0);
    let watched = shell.run(&["execution", "watch", id]).expect(10);
    assert!(watched.out.trim_end().ends_with("execution.cancelled"), "{watched:?}");
    let events = shell.run(&["execution", "events", id]).expect(0);
    assert!(events.out.lines().all(|line| line.contains(id)), "{events:?}");

    shell.run(&["replay", "--verify"]).expect(0);
    shell.run(&["execution", "list", "--token", "evs_wrong"]).expect(4);
}
