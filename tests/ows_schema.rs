//! Our documents are valid in the language's own eyes: the official schema takes all of them.

use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;

use crate::documents;
use crate::support::{root, shared};

fn schema() -> Option<Validator> {
    let text = fs::read_to_string(shared("ows/workflow.schema.yaml")?).expect("the schema");
    let schema: Value = serde_yaml_ng::from_str(&text).expect("YAML");
    Some(jsonschema::draft202012::options().build(&schema).expect("a schema"))
}

/// What the schema has against a document.
fn faults(schema: &Validator, document: &str) -> Vec<String> {
    let document: Value = serde_yaml_ng::from_str(document).expect("YAML");
    let faults = schema.iter_errors(&document);
    faults.map(|fault| format!("{}: {fault}", fault.instance_path())).collect()
}

#[test]
fn the_examples_are_valid() {
    let Some(schema) = schema() else { return };
    let mut checked = 0;
    for example in fs::read_dir(root().join("examples")).expect("examples") {
        let path = example.expect("an entry").path().join("workflow.yaml");
        let document = fs::read_to_string(&path).expect("a workflow");
        assert_eq!(faults(&schema, &document), Vec::<String>::new(), "{}", Path::display(&path));
        checked += 1;
    }
    assert!(checked > 0, "there are no examples");
}

#[test]
fn the_documents_of_the_journeys_are_valid() {
    let Some(schema) = schema() else { return };
    for (name, document) in documents::ALL {
        assert_eq!(faults(&schema, document), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn the_schema_would_tell() {
    let Some(schema) = schema() else { return };
    let broken = documents::SLEEPER.replace("wait: {days: 1}", "wait: {weeks: 1}");
    assert_ne!(faults(&schema, &broken), Vec::<String>::new());
}
