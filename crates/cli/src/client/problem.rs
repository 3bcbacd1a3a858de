//! A refusal of the API (RFC 9457), for people.

use domain::Fault;
use reqwest::Response;
use serde::Deserialize;
use url::Url;

use crate::failure::line_of;

/// A refusal.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// The page about this sort of problem, relative to the API.
    #[serde(rename = "type")]
    pub(crate) page: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// Its stable name.
    pub(crate) code: String,
    /// What is wrong this time.
    pub(crate) detail: String,
    /// The request, for whoever looks into the server's logs.
    pub(crate) instance: String,
    /// What exactly was wrong with what was sent.
    pub(crate) errors: Vec<Fault>,
    /// The version that a stale `If-Match` should have named.
    pub(crate) current_version: Option<i64>,
    /// The file that was sent, if one was.
    #[serde(skip)]
    pub(crate) file: Option<String>,
}

impl Problem {
    /// What `response` refuses.
    pub(super) async fn of(response: Response, api: &Url) -> Self {
        let status = response.status();
        let body = response.bytes().await.unwrap_or_default();
        let mut problem: Self = serde_json::from_slice(&body).unwrap_or_default();
        problem.status = status.as_u16();
        if problem.code.is_empty() {
            // Not ours: a proxy's, or no API at all.
            "http".clone_into(&mut problem.code);
            problem.detail = format!("{api} answered {status}");
        }
        if !problem.page.is_empty() {
            problem.page = api.join(&problem.page).map_or(problem.page, String::from);
        }
        problem
    }

    /// The refusal in words: what, where, what to do, and where to read more.
    pub(crate) fn in_words(&self) -> String {
        let mut lines = vec![format!("{} ({})", self.detail, self.code)];
        lines.extend(self.errors.iter().map(|fault| line_of(self.file.as_deref(), fault)));
        let request = self.instance.rsplit('/').next().unwrap_or_default();
        match (self.page.is_empty(), request.is_empty()) {
            (false, false) => lines.push(format!("  see {} (request {request})", self.page)),
            (false, true) => lines.push(format!("  see {}", self.page)),
            (true, false) => lines.push(format!("  request {request}")),
            (true, true) => {}
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_with_file_line_pointer_hint_and_page() {
        let body = r#"{"type":"http://a/problems/workflow_invalid","status":422,
            "code":"workflow_invalid","detail":"the document has 1 fault",
            "instance":"/requests/42","errors":[{"pointer":"/do/0","line":9,"code":"no_agent",
            "detail":"there is no agent x","hint":"create it"}]}"#;
        let mut problem: Problem = serde_json::from_str(body).unwrap();
        problem.file = Some("w.yaml".to_owned());
        assert_eq!(
            problem.in_words(),
            "the document has 1 fault (workflow_invalid)\n  \
             w.yaml:9 /do/0: there is no agent x (no_agent)\n    hint: create it\n  \
             see http://a/problems/workflow_invalid (request 42)"
        );
    }
}
