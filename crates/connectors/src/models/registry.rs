//! The providers of a deployment, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use super::openai_chat::{Dialect, OpenAiChat};
use super::{Model, Sandbox};
use crate::egress::{BadRoot, Egress, Mapping, Policy};

/// A provider as the operator configures it.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// Its name, by which agents choose it.
    pub name: String,
    /// What it speaks.
    pub kind: Kind,
    /// Where it is: `{base_url}/chat/completions` is called. Not for the sandbox.
    pub base_url: Option<Url>,
    /// The key it knows us by, if it wants one.
    pub api_key: Option<SecretString>,
    /// The model for agents that name none; `sandbox` for the sandbox.
    pub default_model: Option<String>,
    /// Other models to list, for choosing; others may be asked for as well.
    pub models: Vec<String>,
    /// Which variant of the protocol; found out from the base URL if none.
    pub dialect: Option<Dialect>,
}

impl ProviderConfig {
    /// The built-in stand-in, under the name `sandbox`.
    #[must_use]
    pub fn sandbox() -> Self {
        Self {
            name: "sandbox".to_owned(),
            kind: Kind::Sandbox,
            base_url: None,
            api_key: None,
            default_model: None,
            models: Vec::new(),
            dialect: None,
        }
    }

    /// A server that speaks `OpenAI`'s chat protocol.
    #[must_use]
    pub fn openai_chat(name: &str, base_url: Url, default_model: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: Kind::OpenaiChat,
            base_url: Some(base_url),
            default_model: Some(default_model.to_owned()),
            ..Self::sandbox()
        }
    }
}

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `OpenAI`'s chat completions, or a server compatible with them.
    OpenaiChat,
    /// Nothing: the built-in stand-in answers.
    Sandbox,
}

/// A provider that can be called.
#[derive(Debug)]
pub struct Provider {
    /// Its name, by which agents choose it.
    pub name: String,
    /// What it speaks.
    pub kind: Kind,
    /// The model for agents that name none.
    pub default_model: String,
    /// What answers.
    pub model: Arc<dyn Model>,
    listed: Vec<String>,
}

/// All providers of a deployment.
#[derive(Debug)]
pub struct Models {
    providers: BTreeMap<String, Provider>,
    default: String,
}

/// A model that agents can choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// The provider's name.
    pub provider: String,
    /// What the provider speaks.
    pub kind: Kind,
    /// The model, by the provider's name for it.
    pub model: String,
    /// An agent that names neither provider nor model gets this one.
    pub default: bool,
}

/// The configuration of the providers makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// Two have one name.
    #[error("two providers are called `{0}`")]
    Duplicate(String),
    /// The default is none of them.
    #[error("the default provider `{0}` is not configured")]
    NoSuchDefault(String),
    /// There is none at all.
    #[error("no provider is configured")]
    None,
    /// A setting is missing that this kind needs.
    #[error("the provider `{name}` needs `{setting}`")]
    Missing {
        /// The provider.
        name: String,
        /// The setting.
        setting: &'static str,
    },
    /// The base URL cannot be one.
    #[error("the base URL of the provider `{0}` must be http or https, without query or user")]
    BadUrl(String),
    /// The egress policy cannot be used.
    #[error(transparent)]
    Policy(#[from] BadRoot),
}

impl Models {
    /// The providers of these configurations; `default` names the one for agents that choose
    /// none, the first if none.
    ///
    /// The operator wrote the base URLs, so they are reached whatever their address; only these,
    /// and only by models: the policy of everybody else's calls stays as it is.
    pub fn new(
        configs: Vec<ProviderConfig>,
        default: Option<&str>,
        policy: &Policy,
    ) -> Result<Self, ModelsError> {
        let first = configs.first().ok_or(ModelsError::None)?.name.clone();
        let default = default.map_or(first, str::to_owned);
        let egress = Egress::new(trusting(&configs, policy))?;
        let mut providers = BTreeMap::new();
        for config in configs {
            let provider = provider(config, &egress)?;
            if let Some(twin) = providers.insert(provider.name.clone(), provider) {
                return Err(ModelsError::Duplicate(twin.name));
            }
        }
        if !providers.contains_key(&default) {
            return Err(ModelsError::NoSuchDefault(default));
        }
        Ok(Self { providers, default })
    }

    /// The provider of this name, or the default one.
    #[must_use]
    pub fn get(&self, name: Option<&str>) -> Option<&Provider> {
        self.providers.get(name.unwrap_or(&self.default))
    }

    /// What agents can choose from, by provider, each one's default first.
    #[must_use]
    pub fn list(&self) -> Vec<ModelInfo> {
        let infos = |provider: &Provider| {
            let of = |model: &String| ModelInfo {
                provider: provider.name.clone(),
                kind: provider.kind,
                model: model.clone(),
                default: provider.name == self.default && *model == provider.default_model,
            };
            provider.listed.iter().map(of).collect::<Vec<_>>()
        };
        self.providers.values().flat_map(infos).collect()
    }
}

/// The policy plus the way to each configured base URL: an origin mapped to itself is trusted.
fn trusting(configs: &[ProviderConfig], policy: &Policy) -> Policy {
    let own = configs.iter().filter_map(|config| config.base_url.as_ref());
    let own = own.map(|url| Mapping::new(url, url));
    // The operator's own mappings come first: they may lead a provider to its double.
    Policy { map: policy.map.iter().cloned().chain(own).collect(), ..policy.clone() }
}

fn provider(config: ProviderConfig, egress: &Egress) -> Result<Provider, ModelsError> {
    let (model, default_model): (Arc<dyn Model>, String) = match config.kind {
        Kind::Sandbox => (Arc::new(Sandbox), Sandbox::MODEL.to_owned()),
        Kind::OpenaiChat => {
            let missing = |setting| ModelsError::Missing { name: config.name.clone(), setting };
            let base = config.base_url.ok_or_else(|| missing("base_url"))?;
            let default = config.default_model.ok_or_else(|| missing("default_model"))?;
            let plain = base.query().is_none() && base.fragment().is_none();
            let anonymous = base.username().is_empty() && base.password().is_none();
            if !(matches!(base.scheme(), "http" | "https") && plain && anonymous) {
                return Err(ModelsError::BadUrl(config.name));
            }
            let dialect = config.dialect.unwrap_or_else(|| Dialect::of(&base));
            let chat = OpenAiChat {
                egress: egress.clone(),
                endpoint: format!("{}/chat/completions", base.as_str().trim_end_matches('/')),
                api_key: config.api_key,
                default_model: default.clone(),
                dialect,
            };
            (Arc::new(chat), default)
        }
    };
    let mut listed = vec![default_model.clone()];
    listed.extend(config.models.into_iter().filter(|model| *model != default_model));
    Ok(Provider { name: config.name, kind: config.kind, default_model, model, listed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn models(configs: Vec<ProviderConfig>, default: Option<&str>) -> Result<Models, ModelsError> {
        Models::new(configs, default, &Policy::default())
    }

    #[test]
    fn an_agent_that_names_no_provider_gets_the_default_one() {
        let openai =
            ProviderConfig::openai_chat("openai", url("https://api.openai.com/v1"), "gpt-6-luna");
        let models = models(vec![openai, ProviderConfig::sandbox()], Some("sandbox")).unwrap();
        assert_eq!(models.get(None).unwrap().name, "sandbox");
        assert_eq!(models.get(Some("openai")).unwrap().default_model, "gpt-6-luna");
        assert!(models.get(Some("nobody")).is_none());
    }

    #[test]
    fn the_list_marks_the_one_default() {
        let mut local =
            ProviderConfig::openai_chat("local", url("http://127.0.0.1:1/v1"), "smollm2");
        local.models = vec!["big".to_owned(), "smollm2".to_owned()];
        let models = models(vec![local, ProviderConfig::sandbox()], None).unwrap();
        let listed: Vec<_> =
            models.list().into_iter().map(|m| (m.provider, m.model, m.default)).collect();
        let expected =
            [("local", "smollm2", true), ("local", "big", false), ("sandbox", "sandbox", false)];
        let expected = expected.map(|(p, m, d)| (p.to_owned(), m.to_owned(), d));
        assert_eq!(listed, expected);
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused() {
        let sandbox = ProviderConfig::sandbox;
        assert!(matches!(models(vec![], None), Err(ModelsError::None)));
        assert!(matches!(models(vec![sandbox(), sandbox()], None), Err(ModelsError::Duplicate(_))));
        let default = models(vec![sandbox()], Some("openai"));
        assert!(matches!(default, Err(ModelsError::NoSuchDefault(_))));
        let mut bare = sandbox();
        bare.kind = Kind::OpenaiChat;
        assert!(matches!(models(vec![bare], None), Err(ModelsError::Missing { .. })));
        let keyed = url("https://user:key@host/v1");
        let keyed = ProviderConfig::openai_chat("a", keyed, "m");
        assert!(matches!(models(vec![keyed], None), Err(ModelsError::BadUrl(_))));
    }
}
