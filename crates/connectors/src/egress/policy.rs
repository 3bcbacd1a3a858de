//! Where outbound requests may go.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use url::Url;

/// Where outbound requests may go. The default: `https` to public addresses, nothing else.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Addresses that may be reached although they are not public, by `http` too.
    pub allow: Vec<IpNet>,
    /// Origins to replace by others, which are trusted whatever their address: for test doubles
    /// of a service, or a gateway in front of it. The first match counts.
    pub map: Vec<Mapping>,
    /// Certificates (DER) of authorities to trust besides the public ones.
    pub roots: Vec<CertificateDer<'static>>,
}

/// One of the certificates in [`Policy::roots`] is not one.
#[derive(Debug, thiserror::Error)]
#[error("the certificate of an additional authority cannot be read: {0}")]
pub struct BadRoot(rustls::Error);

impl Policy {
    /// The public authorities come with the program, so that a bare machine needs none installed.
    pub(super) fn tls(&self) -> Result<ClientConfig, BadRoot> {
        let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        for root in &self.roots {
            roots.add(root.clone()).map_err(BadRoot)?;
        }
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        Ok(ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth())
    }
}

/// Replaces one origin (scheme, host and port) by another; written
/// `https://api.example=http://127.0.0.1:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    from: Url,
    to: Url,
}

/// A text is not `origin=origin`.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not of the form `https://host[:port]=http[s]://host[:port]`, without path or user"
)]
pub struct BadMapping(String);

impl Mapping {
    /// Replaces the origin of `from` by that of `to`; their paths do not count.
    #[must_use]
    pub fn new(from: &Url, to: &Url) -> Self {
        Self { from: from.clone(), to: to.clone() }
    }

    /// Where a request to `url` goes instead, if it is one of this origin.
    pub(super) fn apply(&self, url: &Url) -> Option<Url> {
        if url.origin() != self.from.origin() {
            return None;
        }
        let mut target = self.to.clone();
        target.set_path(url.path());
        target.set_query(url.query());
        target.set_fragment(None);
        Some(target)
    }
}

impl FromStr for Mapping {
    type Err = BadMapping;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let origin = |text: &str| {
            let url = Url::parse(text).ok()?;
            let bare = url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none();
            (bare && matches!(url.scheme(), "http" | "https")).then_some(url)
        };
        text.split_once('=')
            .and_then(|(from, to)| Some(Self { from: origin(from)?, to: origin(to)? }))
            .ok_or_else(|| BadMapping(text.to_owned()))
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = |url: &Url| url.origin().ascii_serialization();
        write!(f, "{}={}", origin(&self.from), origin(&self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_moves_the_origin_and_nothing_else() {
        let map: Mapping = "https://petstore.example=http://127.0.0.1:8080".parse().unwrap();
        let at = |url: &str| map.apply(&Url::parse(url).unwrap()).map(String::from);
        let moved = at("https://petstore.example:443/v2/pets?tag=a%20b#top");
        assert_eq!(moved.as_deref(), Some("http://127.0.0.1:8080/v2/pets?tag=a%20b"));
        assert_eq!(at("http://petstore.example/"), None, "another scheme");
        assert_eq!(at("https://petstore.example:444/"), None, "another port");
        assert_eq!(at("https://petstore.example.evil.test/"), None, "another host");
        assert_eq!(map.to_string(), "https://petstore.example=http://127.0.0.1:8080");
    }

    #[test]
    fn what_is_not_two_bare_origins_is_no_mapping() {
        for text in ["", "https://a", "https://a=", "https://a/x=http://b", "ftp://a=http://b"] {
            assert!(text.parse::<Mapping>().is_err(), "{text}");
        }
        assert!("https://a=http://user@b".parse::<Mapping>().is_err());
    }
}
