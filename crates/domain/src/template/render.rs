//! Making a message of data.

use serde_json::Value;

use super::Version;
use crate::RenderError;
use crate::jinja::{self, Escape};

/// A message as it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The subject line.
    pub subject: String,
    /// The plain-text body.
    pub text: String,
    /// The HTML body, if the template has one.
    pub html: Option<String>,
}

impl Version {
    /// Fills the template. A subject stays one line, whatever the data are: a line break in it
    /// could add header fields of somebody else's choice.
    pub fn render(&self, data: &Value) -> Result<Mail, RenderError> {
        let subject = jinja::render(&self.subject, data, Escape::Plain)?;
        if subject.chars().any(char::is_control) {
            return Err(RenderError(
                "the subject has a line break or a control character".to_owned(),
            ));
        }
        let text = jinja::render(&self.text, data, Escape::Plain)?;
        let html = self.html.as_ref().map(|html| jinja::render(html, data, Escape::Html));
        Ok(Mail { subject, text, html: html.transpose()? })
    }
}
