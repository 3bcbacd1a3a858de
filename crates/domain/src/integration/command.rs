use super::Spec;

/// What one may ask of an integration.
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
    /// Note how a try of its connection went.
    RecordTest {
        /// Whether it answered as it should.
        ok: bool,
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
        /// What happened, in words.
        detail: String,
        /// How long it took, in milliseconds.
        duration_ms: u64,
    },
    /// Take it away.
    Delete,
}
