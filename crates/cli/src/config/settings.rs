//! The settings, as types.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;

use connectors::models::Kind;
use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use super::{Environment, Error, SecretUrl};

/// Everything that can be set; `config.default.toml` says what each means.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where this instance keeps its own files.
    pub(crate) data_dir: PathBuf,
    /// What the installation is called; `everstep` if nothing is said.
    pub(crate) deployment: Option<String>,
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
    /// How much may be under way at once.
    pub(crate) limits: Limits,
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
    /// Origins to replace by others.
    pub(crate) map: Vec<String>,
}

/// How much one process may have under way at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// How many calls at each integration.
    pub(crate) calls_per_integration: NonZeroUsize,
    /// How many calls at each model provider.
    pub(crate) calls_per_provider: NonZeroUsize,
    /// How much of what tenants share is each one's, in proportion to the others; 1 if nothing is said.
    pub(crate) weights: BTreeMap<Uuid, NonZeroU16>,
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
    /// Other models to list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) models: Vec<String>,
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

    fn first_choice(&self) -> &'static str {
        let offered = ["openai", "local"];
        offered.into_iter().find(|name| self.providers.contains_key(*name)).unwrap_or("sandbox")
    }
}

impl Provider {
    /// Its key, if it has one.
    pub(crate) fn api_key(&self, environment: &Environment) -> Option<SecretString> {
        environment.get(self.api_key_env.as_ref()?).map(SecretString::from)
    }
}
