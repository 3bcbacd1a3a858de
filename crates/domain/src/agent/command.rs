use super::Spec;

/// What one may ask of an agent.
#[derive(Debug, Clone)]
pub enum Command {
    /// Set it up.
    Create {
        /// Its name, unique in the tenant.
        name: String,
        /// All its settings.
        spec: Box<Spec>,
    },
    /// Change it: what is given is the whole.
    Revise {
        /// All its settings.
        spec: Box<Spec>,
    },
    /// Take it away.
    Delete,
}
