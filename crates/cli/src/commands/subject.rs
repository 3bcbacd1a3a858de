//! `subject`: people whose data are in the log.

use serde_json::json;

use super::Context;
use crate::args::Subject;
use crate::failure::Failure;

/// Commands on people.
pub(super) async fn subject(context: &Context, command: &Subject) -> Result<(), Failure> {
    let Subject::Erase { name } = command;
    let client = context.client()?;
    let body = json!({"subject": name});
    let answer = client.post(&["subjects", "erase"], &[("wait", "60s")], &body).await?;
    let erased = answer.body["status"] == "erased";
    context.output.show(&answer.body, || {
        let id = answer.body["id"].as_str().unwrap_or_default();
        if erased {
            format!("erased; what happened is still known, of nobody: subject {id}")
        } else {
            format!("subject {id} will be erased as soon as a worker comes to it")
        }
    })
}
