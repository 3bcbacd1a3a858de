use serde::{Deserialize, Serialize};

/// What can have happened to an API key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// It was made. The secret itself was shown once and is stored nowhere.
    #[serde(rename = "api_key.created")]
    Created {
        /// What it is for.
        name: String,
        /// What its holder may do.
        access: Access,
        /// SHA-256 of the secret, in hex; the secret has 256 random bits, so a plain hash will do.
        digest: String,
    },
    /// It opens nothing any more.
    #[serde(rename = "api_key.revoked")]
    Revoked {},
}

impl crate::Event for Event {
    crate::event::fact!(ApiKey);
}

/// What the holder of a key may do; each level includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Look.
    Read,
    /// Change and run things.
    Write,
    /// Hand out and revoke keys.
    Admin,
}
