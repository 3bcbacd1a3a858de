//! The one way out: an HTTP client that goes only where the policy lets it.
//!
//! A URL may come from a tenant, so it must not reach what only the platform can reach (server-side
//! request forgery). Four places are guarded: the literal in the URL, every address that a name
//! resolves to, every hop of a redirect, and the proxy settings of the environment, which are not
//! read. Requests are never repeated here; whether one was carried out is told by the error.

mod address;
mod policy;
mod request;
mod resolver;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use reqwest::Client;
use reqwest::header::{HeaderMap, LOCATION};
use tokio::time::Instant;
use url::{Host, Url};

pub use self::policy::{BadMapping, BadRoot, Mapping, Policy};
pub use self::request::{EgressError, MAX_BODY, OutboundRequest, OutboundResponse};
use self::resolver::{Guard, Refused, Scope};
pub use reqwest::Method;

/// How often a GET is redirected before the redirect itself is the answer.
const MAX_HOPS: u32 = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Short, because a request on a connection that the server is just closing ends as "unknown".
const IDLE_CONNECTION: Duration = Duration::from_secs(20);

/// How requests get out: through [`Egress`], or to a stand-in that a simulation has.
#[async_trait]
pub trait WayOut: Send + Sync {
    /// Sends a request once; the error tells whether it may have been carried out.
    async fn send(&self, request: OutboundRequest) -> Result<OutboundResponse, EgressError>;
}

/// The client for all calls to the outside. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Egress {
    allow: Arc<[IpNet]>,
    map: Arc<[Mapping]>,
    /// For `https`: public and allowed addresses.
    secure: Client,
    /// For `http`: allowed addresses only.
    plain: Client,
    /// For the targets of the map, which the operator vouches for.
    mapped: Client,
}

impl Egress {
    /// A client under this policy.
    pub fn new(policy: Policy) -> Result<Self, BadRoot> {
        let tls = policy.tls()?;
        let allow: Arc<[IpNet]> = policy.allow.into();
        let client = |scope| client(tls.clone(), Guard { scope, allow: Arc::clone(&allow) });
        Ok(Self {
            secure: client(Scope::PublicOrAllowed),
            plain: client(Scope::Allowed),
            mapped: client(Scope::Any),
            allow: Arc::clone(&allow),
            map: policy.map.into(),
        })
    }

    /// Sends a request once, follows redirects of a GET or HEAD, and reads the whole answer.
    ///
    /// Any status is an answer. A redirect of another method, and one beyond the fifth, is handed
    /// back as it is. When a redirect leaves the origin, only `accept*` and `user-agent` go along.
    pub async fn send(&self, request: OutboundRequest) -> Result<OutboundResponse, EgressError> {
        let deadline = Instant::now() + request.timeout;
        let limit = request.max_body.min(MAX_BODY);
        let method = request.parsed_method()?;
        let mut headers = request.header_map()?;
        let mut url = request.parsed_url()?;
        let mut body = Some(request.body);
        let mut hops = 0;
        loop {
            let (client, target) = self.route(&url).ok_or(EgressError::Denied)?;
            let left = deadline.saturating_duration_since(Instant::now());
            let mut call = client.request(method.clone(), target).timeout(left);
            if let Some(body) = body.take().filter(|body| !body.is_empty()) {
                call = call.body(body);
            }
            let answer =
                call.headers(headers.clone()).send().await.map_err(|error| classify(&error))?;
            let follows = request.follow && matches!(method, Method::GET | Method::HEAD);
            let next = follows.then(|| redirect(&url, &answer)).flatten();
            match next.filter(|_| hops < MAX_HOPS) {
                Some(next) => {
                    if next.origin() != url.origin() {
                        headers = request::harmless(&headers);
                    }
                    url = next;
                    hops += 1;
                }
                None => return read(answer, limit).await,
            }
        }
    }

    /// The client that may go there, and where "there" is; none if it is not allowed.
    fn route(&self, url: &Url) -> Option<(&Client, Url)> {
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        if !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        if let Some(target) = self.map.iter().find_map(|mapping| mapping.apply(url)) {
            return Some((&self.mapped, target));
        }
        let literal = |ip: IpAddr| {
            let allowed = address::is_allowed(ip, &self.allow);
            allowed || (secure && address::is_public(ip))
        };
        let open = match url.host()? {
            Host::Ipv4(ip) => literal(ip.into()),
            Host::Ipv6(ip) => literal(ip.into()),
            Host::Domain(name) if address::is_metadata_name(name) => false,
            Host::Domain(name) if address::is_loopback_name(name) => {
                literal(Ipv4Addr::LOCALHOST.into()) || literal(Ipv6Addr::LOCALHOST.into())
            }
            // Its addresses are judged when it is resolved.
            Host::Domain(_) => true,
        };
        open.then(|| (if secure { &self.secure } else { &self.plain }, url.clone()))
    }
}

#[async_trait]
impl WayOut for Egress {
    async fn send(&self, request: OutboundRequest) -> Result<OutboundResponse, EgressError> {
        Self::send(self, request).await
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that makes HTTP clients")]
fn client(tls: rustls::ClientConfig, guard: Guard) -> Client {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(guard))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_CONNECTION)
        .user_agent(concat!("everstep/", env!("CARGO_PKG_VERSION")))
        .build()
        .expect("it fails only on TLS settings of a foreign kind")
}

/// Where the answer sends the client, if anywhere.
fn redirect(from: &Url, answer: &reqwest::Response) -> Option<Url> {
    let location = match answer.status().as_u16() {
        301 | 302 | 303 | 307 | 308 => answer.headers().get(LOCATION)?,
        _ => return None,
    };
    from.join(location.to_str().ok()?).ok()
}

async fn read(
    mut answer: reqwest::Response,
    limit: usize,
) -> Result<OutboundResponse, EgressError> {
    let status = answer.status().as_u16();
    let headers = std::mem::take(answer.headers_mut());
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| classify(&error))? {
        let room = limit - body.len();
        if chunk.len() > room {
            if (200..300).contains(&status) {
                return Err(EgressError::TooLarge { limit });
            }
            // What failed is told by its status; how it is explained may be cut short.
            body.extend_from_slice(&chunk[..room]);
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(OutboundResponse { status, headers: readable(&headers), body })
}

fn readable(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}

/// What an error says about whether the request was carried out. Nothing of the error's own text
/// goes on: it holds the URL, which may hold a secret.
fn classify(error: &reqwest::Error) -> EgressError {
    let refused = std::iter::successors(error.source(), |&error| error.source())
        .any(<dyn Error>::is::<Refused>);
    if refused {
        EgressError::Denied
    } else if error.is_builder() {
        EgressError::Invalid("it cannot be written as HTTP".to_owned())
    } else if error.is_connect() {
        EgressError::NotSent(match (error.is_dns(), error.is_timeout()) {
            (true, _) => "the host's name could not be resolved",
            (false, true) => "connecting took too long",
            (false, false) => "no connection could be made",
        })
    } else if error.is_timeout() {
        EgressError::Unknown { timed_out: true, detail: "there was no complete answer in time" }
    } else {
        EgressError::Unknown { timed_out: false, detail: "the connection broke off" }
    }
}
