//! The description of the API: committed, the same as what the code says, and whole.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::root;

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

fn generated() -> String {
    let binary = testkit::everstep::binary().expect("the binary");
    let output = Command::new(binary).arg("openapi").output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn openapi_json_is_what_the_code_says() {
    let committed = fs::read_to_string(root().join("openapi.json")).unwrap_or_default();
    let generated = generated();
    if committed == generated {
        return;
    }
    let differs = committed.lines().zip(generated.lines()).position(|(one, other)| one != other);
    let line = differs.map_or(0, |line| line + 1);
    panic!(
        "openapi.json is not what the code says (line {line}); if the change is meant, run \
         `everstep openapi > openapi.json` and commit it"
    );
}

#[test]
fn openapi_describes_every_operation_in_full() {
    let description: Value = serde_json::from_str(&generated()).expect("JSON");
    assert_eq!(description["openapi"], "3.1.0");
    let mut wanting = vec![];
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in description["paths"].as_object().expect("paths") {
        for method in METHODS {
            let Some(operation) = item.get(method) else { continue };
            let name = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap_or_default();
            if id.is_empty() || !ids.insert(id.to_owned()) {
                wanting.push(format!("{name}: no operationId of its own"));
            }
            if operation["tags"].as_array().is_none_or(Vec::is_empty) {
                wanting.push(format!("{name}: no tag"));
            }
            if operation["summary"].as_str().unwrap_or_default().is_empty() {
                wanting.push(format!("{name}: no summary"));
            }
            if !describes_problems(operation) {
                wanting.push(format!("{name}: no problem among its 4XX responses"));
            }
        }
    }
    assert!(ids.len() > 40, "only {} operations", ids.len());
    assert_eq!(wanting, Vec::<String>::new());
}

fn describes_problems(operation: &Value) -> bool {
    let responses = operation["responses"].as_object().into_iter().flatten();
    responses.filter(|(status, _)| status.starts_with('4')).any(|(_, response)| {
        let contents = response["content"].as_object().into_iter().flatten();
        contents.into_iter().any(|(_, content)| {
            content["schema"]["$ref"].as_str().is_some_and(|to| to.ends_with("/Problem"))
        })
    })
}
