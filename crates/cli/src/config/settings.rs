//! The settings, as types.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::{Environment, Error, SecretUrl};

/// Everything that can be set; `config.default.toml` says what each means.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where this instance keeps its own files.
    pub(crate) data_dir: PathBuf,
    /// The provider of agents who name none; always set after [`load`](super::load).
    pub(crate) default_provider: Option<String>,
    /// The HTTP server.
    pub(crate) http: Http,
    /// Postgres.
    pub(crate) database: Database,
    /// E-mail.
    pub(crate) mail: Mail,
    /// Calls to the outside.
    pub(crate) egress: Egress,
    /// Model providers by name; those whose key is missing are left out.
    pub(crate) providers: BTreeMap<String, Provider>,
}

/// The HTTP server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// The address to listen on.
    pub(crate) address: IpAddr,
    /// The port; 0 for any.
    pub(crate) port: u16,
}

/// Postgres.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    /// The log, and the read models unless they are elsewhere.
    pub(crate) url: Option<SecretUrl>,
    /// A server for queries.
    pub(crate) read_url: Option<SecretUrl>,
}

/// E-mail.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mail {
    /// Where e-mail is handed over; the captured mailbox if none.
    pub(crate) smtp_url: Option<SecretUrl>,
    /// The sender.
    pub(crate) from: String,
}

/// Calls to the outside.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Egress {
    /// Ranges that may be reached although they are not public.
    pub(crate) allow: Vec<IpNet>,
    /// Hosts that are somewhere else.
    #[serde(default)]
    pub(crate) map: BTreeMap<String, SocketAddr>,
}

/// A model provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provider {
    /// What it speaks.
    pub(crate) kind: Kind,
    /// Where it is; needed by `openai_chat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base_url: Option<Url>,
    /// The environment variable that holds its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_key_env: Option<String>,
    /// The model of agents who name none.
    pub(crate) default_model: String,
    /// How it wants the limit of an answer.
    #[serde(default)]
    pub(crate) limit_field: LimitField,
}

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// OpenAI's chat completions.
    OpenaiChat,
    /// Nothing: the built-in stand-in.
    Sandbox,
}

/// The field of a request that limits the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LimitField {
    /// Of today's API.
    #[default]
    MaxCompletionTokens,
    /// Of older and local servers.
    MaxTokens,
}

impl Settings {
    /// The settings with what follows from them and the environment: which providers can be
    /// offered, and which of them is the default.
    pub(super) fn finish(mut self, environment: &Environment) -> Result<Self, Error> {
        self.providers.retain(|_, provider| match &provider.api_key_env {
            Some(variable) => environment.get(variable).is_some(),
            None => true,
        });
        for (name, provider) in &self.providers {
            if provider.kind == Kind::OpenaiChat && provider.base_url.is_none() {
                return Err(Error::Contradiction(format!("providers.{name} needs a base_url")));
            }
        }
        let local = self.providers.get("local").and_then(|local| local.base_url.as_ref());
        for range in local.map(loopback_ranges).unwrap_or_default() {
            if !self.egress.allow.contains(&range) {
                self.egress.allow.push(range);
            }
        }
        let name = match self.default_provider.take() {
            Some(name) => name,
            None => self.first_choice().to_owned(),
        };
        if !self.providers.contains_key(&name) {
            let offered: Vec<&str> = self.providers.keys().map(String::as_str).collect();
            let offered = offered.join(", ");
            return Err(Error::Contradiction(format!(
                "default_provider is {name}, which is not offered (offered: {offered}); is its key \
                 in the environment?"
            )));
        }
        self.default_provider = Some(name);
        Ok(self)
    }

    /// The key of a provider, if it has one.
    pub(crate) fn api_key(
        &self,
        provider: &Provider,
        environment: &Environment,
    ) -> Option<SecretString> {
        environment.get(provider.api_key_env.as_ref()?).map(SecretString::from)
    }

    fn first_choice(&self) -> &'static str {
        let offered = ["openai", "local"];
        offered.into_iter().find(|name| self.providers.contains_key(*name)).unwrap_or("sandbox")
    }
}

/// The ranges to open so that `url` can be reached, if it is on this machine.
fn loopback_ranges(url: &Url) -> Vec<IpNet> {
    let addresses: Vec<IpAddr> = match url.host() {
        Some(Host::Ipv4(address)) => vec![address.into()],
        Some(Host::Ipv6(address)) => vec![address.into()],
        Some(Host::Domain("localhost")) => {
            vec![[127, 0, 0, 1].into(), IpAddr::from(1_u128.to_be_bytes())]
        }
        Some(Host::Domain(_)) | None => vec![],
    };
    addresses.into_iter().filter(IpAddr::is_loopback).map(IpNet::from).collect()
}
