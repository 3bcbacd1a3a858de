//! `document` and `evaluate`: what the workflow is called and which language it is written in.

use semver::Version;

use super::Compiler;
use super::place::{Fields, Place, quoted};

/// The longest version, in bytes.
const LONGEST_VERSION: usize = 64;

/// The longest title, in characters.
const LONGEST_TITLE: usize = 200;

/// What a workflow is called.
pub(super) struct Head {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) title: Option<String>,
}

impl Compiler {
    pub(super) fn head(&mut self, at: &Place<'_>) -> Option<Head> {
        let mut fields = Fields::of(self, at)?;
        let dsl = fields.required(self, "dsl");
        let namespace = fields.required(self, "namespace");
        let name = fields.required(self, "name");
        let version = fields.required(self, "version");
        let (title, summary) = (fields.take("title"), fields.take("summary"));
        let (tags, metadata) = (fields.take("tags"), fields.take("metadata"));
        fields.finish(self);
        if let Some(at) = dsl {
            self.dsl(&at);
        }
        let title = title.and_then(|at| self.title(&at));
        if let Some(at) = summary {
            self.text(&at);
        }
        if let Some(at) = tags {
            let _ = Fields::of(self, &at); // whatever they are
        }
        if let Some(at) = metadata {
            self.metadata(&at);
        }
        let namespace = namespace.and_then(|at| self.label(&at));
        let name = name.and_then(|at| self.label(&at));
        let version = version.and_then(|at| self.version(&at));
        Some(Head { namespace: namespace?, name: name?, version: version?, title })
    }

    fn dsl(&mut self, at: &Place<'_>) {
        let Some(text) = self.version(at) else { return };
        let fits = Version::parse(&text).is_ok_and(|it| (it.major, it.minor) == (1, 0));
        if !fits {
            let detail = format!("`{text}` is no version of the language that is known here");
            self.hinted(at, "unknown_dsl", detail, "1.0.0 to 1.0.x");
        }
    }

    fn title(&mut self, at: &Place<'_>) -> Option<String> {
        let text = self.text(at)?;
        if text.chars().count() > LONGEST_TITLE {
            let detail = format!("a title has at most {LONGEST_TITLE} characters");
            self.hinted(at, "too_long", detail, "put the rest into `summary`");
        }
        Some(text.to_owned())
    }

    /// A semantic version.
    pub(super) fn version(&mut self, at: &Place<'_>) -> Option<String> {
        let Some(text) = at.text() else {
            self.hinted(at, "wrong_type", "a version must be text", "put it into quotes: '1.0.0'");
            return None;
        };
        if text.len() <= LONGEST_VERSION && Version::parse(text).is_ok() {
            return Some(text.to_owned());
        }
        let detail = format!("{} is no semantic version", quoted(text));
        let hint = format!("such as 1.0.0, at most {LONGEST_VERSION} characters");
        self.hinted(at, "malformed_version", detail, &hint);
        None
    }

    /// `evaluate`: there is one way to evaluate expressions, and one may say so.
    pub(super) fn evaluate(&mut self, at: &Place<'_>) {
        let Some(mut fields) = Fields::of(self, at) else { return };
        let (language, mode) = (fields.take("language"), fields.take("mode"));
        fields.finish(self);
        if let Some(at) = language
            && let Some(text) = self.text(&at)
            && text != "jq"
        {
            self.unsupported(&at, &format!("the language {}", quoted(text)), Some("jq"));
        }
        if let Some(at) = mode
            && self.choice(&at, &["strict", "loose"]) == Some("loose")
        {
            self.unsupported(&at, "the mode `loose`", Some("strict: put expressions into ${ }"));
        }
    }
}
