//! The documents that people are shown are good ones.

use std::fs;
use std::path::Path;

use domain::workflow::Plan;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn compile(name: &str, document: &str) {
    let plan = Plan::compile(document);
    assert!(plan.is_ok(), "{name}: {:#?}", plan.err());
}

#[test]
fn the_workflows_of_all_examples_compile() {
    let mut compiled = 0;
    for example in fs::read_dir(root().join("examples")).expect("examples").flatten() {
        let document =
            fs::read_to_string(example.path().join("workflow.yaml")).expect("a document");
        compile(&example.path().display().to_string(), &document);
        compiled += 1;
    }
    assert!(compiled > 0, "there are no examples");
}

#[test]
fn the_workflows_of_the_tutorial_compile() {
    let text = fs::read_to_string(root().join("docs/tutorials/first-workflow.md")).expect("a page");
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
    let documents: Vec<&str> = blocks.filter(|block| block.starts_with("document:")).collect();
    assert!(!documents.is_empty(), "there are no documents");
    for document in documents {
        compile("first-workflow.md", document);
    }
}
