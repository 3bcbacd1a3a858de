//! What a wait of an execution is called in tables and answers.

use domain::Timestamp;
use domain::execution::{HttpCall, Purpose, Request, What};

use crate::values::micros;

/// What is waited for, in a word.
pub(crate) fn kind(what: &What) -> &'static str {
    match what {
        What::Timer { purpose: Purpose::Wait | Purpose::Breath, .. } => "timer",
        What::Timer { purpose: Purpose::Retry, .. } => "retry",
        What::Timer { purpose: Purpose::TaskTimeout | Purpose::WorkflowTimeout, .. } => "timeout",
        What::Call { request: Request::Http(_), .. } => "http",
        What::Call { request: Request::Agent { .. }, .. } => "agent",
        What::Call { request: Request::Integration { .. }, .. } => "integration",
        What::Call { request: Request::Notify { .. }, .. } => "notify",
        What::Call { request: Request::Workflow { .. }, .. } => "workflow",
    }
}

/// What is waited for, in words.
pub(crate) fn detail(what: &What) -> String {
    match what {
        What::Timer { purpose, .. } => match purpose {
            Purpose::Wait => "the time of a `wait` task".to_owned(),
            Purpose::Retry => "the next attempt".to_owned(),
            Purpose::TaskTimeout => "the time limit of the task".to_owned(),
            Purpose::WorkflowTimeout => "the time limit of the execution".to_owned(),
            Purpose::Breath => "its next turn, at once".to_owned(),
        },
        What::Call { request, .. } => match request {
            Request::Http(HttpCall { method, url, .. }) => match url.known() {
                Some(url) => format!("{method} {}", shown(url)),
                None => method.clone(),
            },
            Request::Agent { agent, .. } => format!("agent `{agent}`"),
            Request::Integration { integration, operation, .. } => {
                format!("operation `{operation}` of integration `{integration}`")
            }
            Request::Notify { channel, template, .. } => {
                format!("{channel} from template `{template}`")
            }
            Request::Workflow { namespace, name, .. } => format!("workflow `{namespace}/{name}`"),
        },
    }
}

/// Takes out of the words for a wait of some kind what is personal in them.
pub(crate) fn forget(kind: &str, detail: &mut String) {
    if kind == "http"
        && let Some(end) = detail.find(' ')
    {
        detail.truncate(end);
    }
}

/// When it ends by itself, if it does.
pub(crate) fn due(what: &What) -> Option<Timestamp> {
    match what {
        What::Timer { due_at, .. } => Some(micros(*due_at)),
        What::Call { .. } => None,
    }
}

/// A URL without the parts that secrets hide in: user, query and fragment.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        assert_eq!(shown("https://ann:pw@example.com/a?key=1#x"), "https://example.com/a");
        assert_eq!(shown("https://example.com?key=1"), "https://example.com");
        assert_eq!(shown("nonsense"), "nonsense");
    }
}
