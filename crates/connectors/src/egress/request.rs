//! What goes out, what comes back, and what can go wrong in between.

use std::fmt;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use url::Url;

/// The most bytes that an answer may have, whatever the caller asks for: 10 MiB.
pub const MAX_BODY: usize = 10 * 1024 * 1024;

/// These belong to the connection; a caller who sets them could smuggle or misroute requests.
const RESERVED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A request to the outside. `Debug` shows neither path, header fields nor body: they hold secrets.
#[derive(Clone)]
pub struct OutboundRequest {
    /// The method, in upper case.
    pub method: String,
    /// Where to.
    pub url: String,
    /// Header fields, by name and value.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// How long everything may take: redirects and reading the answer too.
    pub timeout: Duration,
    /// The most bytes that the answer's body may have; never more than [`MAX_BODY`].
    pub max_body: usize,
    /// Whether a GET or HEAD goes on to where the answer sends it.
    pub follow: bool,
}

impl OutboundRequest {
    /// A request without header fields or body, that may take 30 seconds.
    #[must_use]
    pub fn new(method: impl AsRef<str>, url: impl Into<String>) -> Self {
        Self {
            method: method.as_ref().to_owned(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Duration::from_secs(30),
            max_body: MAX_BODY,
            follow: true,
        }
    }

    /// The same with one more header field.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with a JSON body, of the content type that is already set, if one is.
    #[must_use]
    pub fn json(self, body: &serde_json::Value) -> Self {
        let typed = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let request = Self { body: body.to_string().into_bytes(), ..self };
        if typed { request } else { request.header("content-type", "application/json") }
    }

    pub(super) fn parsed_method(&self) -> Result<Method, EgressError> {
        match Method::from_bytes(self.method.as_bytes()) {
            Ok(Method::CONNECT | Method::TRACE) => {
                Err(invalid("the method is not for requests to a service"))
            }
            Ok(method) => Ok(method),
            Err(_) => Err(invalid("the method is not one")),
        }
    }

    pub(super) fn parsed_url(&self) -> Result<Url, EgressError> {
        // The parser drops line breaks and tabs; whoever sent them meant something else.
        if self.url.chars().any(char::is_control) {
            return Err(invalid("the URL holds a control character"));
        }
        Url::parse(&self.url).map_err(|_| invalid("the URL is not one"))
    }

    pub(super) fn header_map(&self) -> Result<HeaderMap, EgressError> {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| invalid("the name of a header field is not one"))?;
            if RESERVED.contains(&name.as_str()) {
                return Err(EgressError::Invalid(format!("the header field `{name}` is reserved")));
            }
            let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
                EgressError::Invalid(format!("`{name}` holds a line break or control character"))
            })?;
            value.set_sensitive(true);
            map.append(name, value);
        }
        Ok(map)
    }
}

/// Of these, the fields that another origin may see: no credentials under any name.
pub(super) fn harmless(headers: &HeaderMap) -> HeaderMap {
    let keep = |name: &HeaderName| name == USER_AGENT || name.as_str().starts_with("accept");
    let kept = headers.iter().filter(|(name, _)| keep(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl fmt::Debug for OutboundRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = Url::parse(&self.url).map(|url| url.origin().ascii_serialization());
        f.debug_struct("OutboundRequest")
            .field("method", &self.method)
            .field("origin", &origin.unwrap_or_default())
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish_non_exhaustive()
    }
}

/// The answer, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundResponse {
    /// The status code; of any class.
    pub status: u16,
    /// Header fields in the order received; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl OutboundResponse {
    /// The first header field of this name (in lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Why there is no answer. No text here tells a tenant what the platform's network looks like, or
/// holds a part of the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// It cannot be sent as it is; definitely not carried out, and never will be.
    #[error("the request is not valid: {0}")]
    Invalid(String),
    /// The policy forbids it; definitely not carried out.
    #[error("the destination is not allowed")]
    Denied,
    /// There was no connection; definitely not carried out, so it may be sent again.
    #[error("the request was not sent: {0}")]
    NotSent(&'static str),
    /// It may have been carried out or not.
    #[error("the outcome is unknown: {detail}")]
    Unknown {
        /// The time was over; else the connection broke.
        timed_out: bool,
        /// What happened.
        detail: &'static str,
    },
    /// It was carried out, but the answer is too large to be read.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit that was passed.
        limit: usize,
    },
}

fn invalid(what: &str) -> EgressError {
    EgressError::Invalid(what.to_owned())
}
