//! E-mail through a server, by SMTP (RFC 5321).

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use lettre::transport::smtp::{Error, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use url::Url;

use super::{Email, Message, SendError, Sent, format};

/// For one command; a server may take its time to look into a message (RFC 5321, 4.5.3.2).
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);
const TOTAL_TIMEOUT: Duration = Duration::from_mins(1);
const MAX_CONNECTIONS: u32 = 8;
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// A mail server.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    server: String,
}

/// The URL is not one of a mail server. It may hold a password, so it is not repeated here.
#[derive(Debug, thiserror::Error)]
pub enum BadSmtpUrl {
    /// It is something else.
    #[error("the mail server's URL is not of the form smtp[s]://[user:password@]host[:port]")]
    Form,
    /// There is a user but no password.
    #[error("the mail server's URL has a user but no password")]
    Password,
}

impl Smtp {
    /// The server at `smtp[s]://[user:password@]host[:port]`. Must be called in a Tokio runtime.
    ///
    /// `smtps` speaks TLS from the start. `smtp` changes to TLS if the server can, must do so if
    /// there is a password, and does not on a loopback address; `?tls=required` or
    /// `?tls=opportunistic` says otherwise.
    pub fn new(url: &SecretString) -> Result<Self, BadSmtpUrl> {
        let mut url = Url::parse(url.expose_secret().trim()).map_err(|_| BadSmtpUrl::Form)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(BadSmtpUrl::Form)?;
        let server = url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
        if url.password().is_none() && !url.username().is_empty() {
            return Err(BadSmtpUrl::Password);
        }
        if let Some(tls) = tls(&url).filter(|_| url.query().is_none()) {
            url.query_pairs_mut().append_pair("tls", tls);
        }
        let pool = PoolConfig::new().max_size(MAX_CONNECTIONS).idle_timeout(IDLE_CONNECTION);
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.as_str())
            .map_err(|_| BadSmtpUrl::Form)?
            .timeout(Some(COMMAND_TIMEOUT))
            .pool_config(pool)
            .build();
        Ok(Self { transport, server })
    }
}

/// Which way to TLS, where the scheme leaves it open. A password never goes out in the clear,
/// which "if the server can" would let an attacker in between arrange.
fn tls(url: &Url) -> Option<&'static str> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    match (url.scheme(), loopback, url.password()) {
        ("smtp", false, Some(_)) => Some("required"),
        ("smtp", false, None) => Some("opportunistic"),
        _ => None,
    }
}

#[async_trait]
impl Email for Smtp {
    async fn send(&self, message: &Message) -> Result<Sent, SendError> {
        let email = format::format(message)?;
        match timeout(TOTAL_TIMEOUT, self.transport.send(email)).await {
            Ok(Ok(_)) => Ok(Sent { via: "smtp", message_id: message.message_id.clone() }),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(passing("the mail server gave no answer in time".to_owned())),
        }
    }
}

/// A 5xx reply is final; but one to our login is about our configuration, and a full mailbox
/// (5.2.2, RFC 3463) may be emptied.
fn failure(error: &Error) -> SendError {
    let Some(code) = error.status().map(u16::from) else {
        return passing(unanswered(error).to_owned());
    };
    if matches!(code, 530 | 534 | 535 | 538) {
        return passing(format!("the mail server refuses the login ({code})"));
    }
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let words = source.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    let words: String = words.join(" ").chars().take(200).collect();
    let detail = format!("the mail server answered {code} {words}").trim_end().to_owned();
    let permanent = error.is_permanent() && !words.starts_with("5.2.2");
    SendError { permanent, detail }
}

fn unanswered(error: &Error) -> &'static str {
    if error.is_timeout() {
        "the mail server gave no answer in time"
    } else if error.is_tls() {
        "there is no secure connection to the mail server"
    } else if error.is_response() {
        "the mail server broke off, or does not speak SMTP"
    } else if error.is_client() {
        "the mail server lacks something that this message or the login needs"
    } else {
        "there is no connection to the mail server"
    }
}

fn passing(detail: String) -> SendError {
    SendError { permanent: false, detail }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("server", &self.server).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_out_only_over_tls_or_loopback() {
        let table = [
            ("smtp://mail.example", Some("opportunistic")),
            ("smtp://user:pass@mail.example:587", Some("required")),
            ("smtp://127.0.0.1:1025", None),
            ("smtp://user:pass@localhost:1025", None),
            ("smtp://[::1]:1025", None),
            ("smtps://user:pass@mail.example", None),
        ];
        for (url, expected) in table {
            assert_eq!(tls(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[tokio::test]
    async fn what_is_not_a_mail_server_is_refused_without_repeating_it() {
        for url in ["", "https://host", "smtp://", "smtp://user:secret@h?tls=never", "secret"] {
            let error = Smtp::new(&url.into()).unwrap_err();
            assert!(matches!(error, BadSmtpUrl::Form), "{url}");
            assert!(!error.to_string().contains("secret"));
        }
        let error = Smtp::new(&"smtp://user@host".into()).unwrap_err();
        assert!(matches!(error, BadSmtpUrl::Password));
    }

    #[tokio::test]
    async fn the_password_stays_out_of_debug() {
        let smtp = Smtp::new(&"smtps://user:secret@mail.example".into()).unwrap();
        assert_eq!(format!("{smtp:?}"), r#"Smtp { server: "mail.example", .. }"#);
    }
}
