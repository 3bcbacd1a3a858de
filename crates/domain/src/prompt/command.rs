/// What one may ask of a prompt.
#[derive(Debug, Clone)]
pub enum Command {
    /// Set it up.
    Create {
        /// Its name, unique in the tenant.
        name: String,
        /// Template (Jinja) of the system message.
        system: Option<String>,
        /// Template (Jinja) of the user message.
        user: String,
        /// Why it is as it is.
        message: Option<String>,
    },
    /// Change it: what is given is the whole.
    Revise {
        /// Template (Jinja) of the system message.
        system: Option<String>,
        /// Template (Jinja) of the user message.
        user: String,
        /// Why it is as it is.
        message: Option<String>,
    },
    /// Take it away.
    Delete,
}
