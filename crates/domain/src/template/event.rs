use serde::{Deserialize, Serialize};

/// What can have happened to a notification template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// A version was saved; versions never change afterwards.
    #[serde(rename = "template.version_saved")]
    VersionSaved {
        /// Its name, unique in the tenant.
        name: String,
        /// Which version this is, counted from 1.
        version: u32,
        /// Template (Jinja) of the subject line.
        subject: String,
        /// Template (Jinja) of the plain-text body.
        text: String,
        /// Template (Jinja, HTML-escaped) of the HTML body, if there is one.
        html: Option<String>,
    },
    /// It is gone for new notifications.
    #[serde(rename = "template.deleted")]
    Deleted {},
}

impl crate::Event for Event {
    crate::event::fact!(Template);
}
