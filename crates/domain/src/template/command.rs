/// What one may ask of a notification template.
#[derive(Debug, Clone)]
pub enum Command {
    /// Set it up.
    Create {
        /// Its name, unique in the tenant.
        name: String,
        /// Template (Jinja) of the subject line.
        subject: String,
        /// Template (Jinja) of the plain-text body.
        text: String,
        /// Template (Jinja, HTML-escaped) of the HTML body.
        html: Option<String>,
    },
    /// Change it: what is given is the whole.
    Revise {
        /// Template (Jinja) of the subject line.
        subject: String,
        /// Template (Jinja) of the plain-text body.
        text: String,
        /// Template (Jinja, HTML-escaped) of the HTML body.
        html: Option<String>,
    },
    /// Take it away.
    Delete,
}
