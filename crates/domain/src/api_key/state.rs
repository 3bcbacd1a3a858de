use subtle::ConstantTimeEq as _;

use super::{Access, Event, Token};

/// An API key, as its history tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiKey {
    pub(super) made: Option<(Access, String)>,
    pub(super) revoked: bool,
}

impl ApiKey {
    /// What the holder of a token may do, if the token is this key's and the key still opens
    /// anything. The comparison takes as long whatever the token is.
    #[must_use]
    pub fn opens(&self, token: &Token) -> Option<Access> {
        let (access, digest) = self.made.as_ref()?;
        let same: bool = digest.as_bytes().ct_eq(token.digest().as_bytes()).into();
        (same && !self.revoked).then_some(*access)
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Created { name: _, access, digest } => {
                self.made = Some((*access, digest.clone()));
            }
            Event::Revoked {} => self.revoked = true,
        }
    }
}
