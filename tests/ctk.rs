//! The conformance kit of the workflow language, through our HTTP API: every scenario that needs
//! no network. The feature files are read where they are and never changed.

use std::fs;
use std::path::{Path, PathBuf};

use domain::api_key::Access;
use gherkin::{Feature, GherkinEnv, Scenario, Step};
use serde_json::{Value, json};

use crate::support::{Api, World, shared};

const FILES: [&str; 11] = [
    "branch.feature",
    "call.feature",
    "data-flow.feature",
    "do.feature",
    "emit.feature",
    "flow.feature",
    "for.feature",
    "raise.feature",
    "set.feature",
    "switch.feature",
    "try.feature",
];

/// Scenarios in all, and those that need no network.
const SCENARIOS: (usize, usize) = (21, 12);

/// Hosts that the other scenarios call.
const HOSTS: [&str; 2] = ["petstore.swagger.io", "httpbin.org"];

fn features(kit: &Path) -> Vec<(String, Feature)> {
    let entries = fs::read_dir(kit).expect("the kit");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let parse = |path: &PathBuf| {
        let name = path.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
        (name, Feature::parse_path(path, GherkinEnv::default()).expect("a feature"))
    };
    paths.iter().map(parse).collect()
}

#[tokio::test]
async fn the_scenarios_that_need_no_network_pass() {
    let Some(kit) = shared("ows/ctk") else { return };
    let features = features(&kit);
    let files: Vec<&str> = features.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(files, FILES);
    let all: Vec<&Scenario> = features.iter().flat_map(|(_, feature)| &feature.scenarios).collect();
    let offline: Vec<&Scenario> = all.iter().copied().filter(|one| !needs_network(one)).collect();
    assert_eq!((all.len(), offline.len()), SCENARIOS);

    let world = World::start().await;
    for scenario in offline {
        eprintln!("scenario: {}", scenario.name);
        // Names and versions of the kit's workflows repeat, so each scenario is a tenant's first.
        let api = world.key_of_somebody_else(Access::Write).await;
        play(&api, scenario).await;
    }
}

fn needs_network(scenario: &Scenario) -> bool {
    let texts = scenario.steps.iter().filter_map(|step| step.docstring.as_deref());
    texts.into_iter().any(|text| HOSTS.iter().any(|host| text.contains(host)))
}

/// Plays one scenario.
async fn play(api: &Api, scenario: &Scenario) {
    let mut document = String::new();
    let mut input = Value::Null;
    let mut execution = Value::Null;
    for step in &scenario.steps {
        match step.value.as_str() {
            "a workflow with definition:" => document = text(step),
            "given the workflow input is:" => input = yaml(step),
            "the workflow is executed" => {
                let workflow = api.publish(&document).await;
                execution = run(api, &workflow, &input).await;
            }
            then => check(then, step, &execution),
        }
    }
    assert!(!execution.is_null(), "{} executes nothing", scenario.name);
}

async fn run(api: &Api, workflow: &str, input: &Value) -> Value {
    let path = format!("/workflows/{workflow}/execute?wait=10s");
    let answer = api.post(&path, &json!({"input": input})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body
}

/// The text below a step, without the line that says of which type it is.
fn text(step: &Step) -> String {
    let text = step.docstring.as_deref().unwrap_or_default().trim_start();
    text.strip_prefix("yaml\n").unwrap_or(text).to_owned()
}

fn yaml(step: &Step) -> Value {
    serde_yaml_ng::from_str(&text(step)).expect("YAML")
}

fn check(then: &str, step: &Step, execution: &Value) {
    let (output, error) = (&execution["output"], &execution["error"]);
    match then.trim_end_matches(':') {
        "the workflow should complete" => {
            assert_eq!(execution["status"], "completed", "{execution}");
        }
        "the workflow should complete with output" => {
            assert_eq!((&execution["status"], output), (&json!("completed"), &yaml(step)));
        }
        "the workflow should fault" => assert_eq!(execution["status"], "faulted", "{execution}"),
        "the workflow should fault with error" => {
            assert_eq!(execution["status"], "faulted", "{execution}");
            for (member, value) in yaml(step).as_object().expect("an object") {
                assert_eq!(&error[member], value, "{member} of {error}");
            }
        }
        then if then.contains("should run") => check_order(then, execution),
        then => check_property(then, step, output),
    }
}

fn check_order(then: &str, execution: &Value) {
    let tasks = execution["tasks"].as_array().expect("tasks");
    let names: Vec<&str> = tasks.iter().filter_map(|task| task["name"].as_str()).collect();
    let place = |name: &str| {
        let found = names.iter().position(|ran| *ran == name);
        found.unwrap_or_else(|| panic!("{name} did not run, only {names:?}"))
    };
    let (name, rest) = then.split_once(" should run ").expect("an order");
    match rest.split_once("after ") {
        Some((_, other)) => assert!(place(name) > place(other), "{then}: {names:?}"),
        None if rest == "first" => assert_eq!(place(name), 0, "{then}: {names:?}"),
        None if rest == "last" => assert_eq!(names.last(), Some(&name), "{then}: {names:?}"),
        None => panic!("a step that this test does not know: {then}"),
    }
}

fn check_property(then: &str, step: &Step, output: &Value) {
    let quoted: Vec<&str> = then.split('\'').skip(1).step_by(2).collect();
    let property = |path: &str| {
        let found = output.pointer(&format!("/{}", path.replace('.', "/")));
        found.unwrap_or_else(|| panic!("no {path} in {output}")).clone()
    };
    if then.contains("should have properties") {
        for path in quoted {
            property(path);
        }
    } else if then.ends_with("property with value") {
        assert_eq!(property(quoted[0]), yaml(step));
    } else if let Some((_, count)) = then.split_once("containing ") {
        let count: usize = count.split(' ').next().unwrap_or_default().parse().expect("a number");
        assert_eq!(property(quoted[0]).as_array().map(Vec::len), Some(count));
    } else {
        panic!("a step that this test does not know: {then}");
    }
}
