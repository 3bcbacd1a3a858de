//! `workflow validate`: compiles documents here, as the server would.

use std::fs;
use std::path::PathBuf;

use domain::workflow::Plan;
use serde_json::json;

use super::Context;
use super::resource::unreadable;
use crate::failure::{Failure, FileFault};
use crate::output::table;

/// Says of each document what it is; all that is wrong with any of them, at once.
pub(super) fn validate(context: &Context, paths: &[PathBuf]) -> Result<(), Failure> {
    let mut valid = Vec::new();
    let mut faults = Vec::new();
    for path in paths {
        let file = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        match Plan::compile(&text) {
            Ok(plan) => valid.push((file, plan)),
            Err(found) => faults
                .extend(found.into_iter().map(|fault| FileFault { file: file.clone(), fault })),
        }
    }
    if !faults.is_empty() {
        return Err(Failure::Faults(faults));
    }
    let items = valid.iter().map(|(file, plan)| {
        json!({
            "file": file,
            "valid": true,
            "namespace": plan.namespace,
            "name": plan.name,
            "version": plan.version,
        })
    });
    let rows = valid.iter().map(|(file, plan)| {
        let name = format!("{}/{}", plan.namespace, plan.name);
        vec![file.clone(), name, plan.version.clone()]
    });
    let value = json!({"items": items.collect::<Vec<_>>()});
    context.output.show(&value, || table(&["FILE", "WORKFLOW", "VERSION"], rows))
}
