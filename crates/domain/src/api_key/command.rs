use super::Access;

/// What one may ask of an API key.
#[derive(Debug, Clone)]
pub enum Command {
    /// Make it.
    Create {
        /// What it is for.
        name: String,
        /// What its holder may do.
        access: Access,
        /// SHA-256 of the secret, in hex.
        digest: String,
    },
    /// Make it useless.
    Revoke,
}
