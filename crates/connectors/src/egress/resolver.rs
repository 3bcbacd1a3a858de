//! A name resolver that answers only with addresses the client may go to.
//!
//! The connection is made to exactly the addresses that were judged, so a name that changes its
//! mind between the check and the call gains nothing (DNS rebinding).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address;

/// The name leads somewhere that is not allowed.
#[derive(Debug, thiserror::Error)]
#[error("refused by the egress policy")]
pub(super) struct Refused;

#[derive(Debug, thiserror::Error)]
#[error("the name has no address")]
struct NoAddress;

/// Which addresses a name may have.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope {
    PublicOrAllowed,
    Allowed,
    Any,
}

/// Judges the addresses of names.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) scope: Scope,
    pub(super) allow: Arc<[IpNet]>,
}

impl Guard {
    /// One bad address spoils the answer: nobody honest mixes them.
    fn judge(&self, addresses: &[SocketAddr]) -> Result<(), Refused> {
        addresses.iter().all(|address| self.permits(address.ip())).then_some(()).ok_or(Refused)
    }

    fn permits(&self, ip: IpAddr) -> bool {
        match self.scope {
            Scope::PublicOrAllowed => {
                address::is_public(ip) || address::is_allowed(ip, &self.allow)
            }
            Scope::Allowed => address::is_allowed(ip, &self.allow),
            Scope::Any => true,
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Self { scope: self.scope, allow: Arc::clone(&self.allow) };
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if found.is_empty() {
                return Err(NoAddress.into());
            }
            guard.judge(&found)?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(scope: Scope, addresses: &[&str]) -> bool {
        let guard = Guard { scope, allow: Arc::from(["10.1.0.0/16".parse().unwrap()]) };
        let addresses: Vec<_> =
            addresses.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect();
        guard.judge(&addresses).is_ok()
    }

    #[test]
    fn every_address_of_a_name_must_pass() {
        assert!(judge(Scope::PublicOrAllowed, &["1.1.1.1", "2606:4700::1111", "10.1.2.3"]));
        assert!(!judge(Scope::PublicOrAllowed, &["1.1.1.1", "10.2.0.1"]), "one of them is private");
        assert!(!judge(Scope::PublicOrAllowed, &["169.254.169.254"]));
    }

    #[test]
    fn without_tls_only_allowed_addresses_pass() {
        assert!(judge(Scope::Allowed, &["10.1.2.3"]));
        assert!(!judge(Scope::Allowed, &["1.1.1.1"]));
    }

    #[test]
    fn a_mapped_name_may_be_anywhere() {
        assert!(judge(Scope::Any, &["127.0.0.1", "10.2.0.1"]));
    }
}
