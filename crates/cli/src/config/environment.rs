//! What the environment has to say, and under which names.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use config::{Config, ConfigError};

/// Variables that set one setting each.
const SETTINGS: &[(&str, &str)] = &[
    ("DATABASE_URL", "database.url"),
    ("EVERSTEP_ADDRESS", "http.address"),
    ("EVERSTEP_CALLS_PER_INTEGRATION", "limits.calls_per_integration"),
    ("EVERSTEP_CALLS_PER_PROVIDER", "limits.calls_per_provider"),
    ("EVERSTEP_DATA_DIR", "data_dir"),
    ("EVERSTEP_DEFAULT_PROVIDER", "default_provider"),
    ("EVERSTEP_DEPLOYMENT", "deployment"),
    ("EVERSTEP_PORT", "http.port"),
    ("MAIL_FROM", "mail.from"),
    ("OPENAI_BASE_URL", "providers.openai.base_url"),
    ("OPENAI_MODEL", "providers.openai.default_model"),
    ("READ_DATABASE_URL", "database.read_url"),
    ("SMTP_URL", "mail.smtp_url"),
];

/// Variables that set a list each, with commas.
const LISTS: &[(&str, &str)] =
    &[("EVERSTEP_EGRESS_ALLOW", "egress.allow"), ("EVERSTEP_EGRESS_MAP", "egress.map")];

/// The variables of a process; those that are empty count as not set.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process that are valid text.
    pub(crate) fn of_process() -> Self {
        let texts = env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        texts.collect()
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The configuration file it names.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        self.get("EVERSTEP_CONFIG").map(PathBuf::from)
    }

    /// The settings it makes.
    pub(super) fn layer(&self) -> Result<Config, ConfigError> {
        let mut layer = Config::builder();
        for (variable, setting) in SETTINGS {
            layer = layer.set_override_option(*setting, self.get(variable))?;
        }
        if let Some(url) = self.get("EVERSTEP_MODEL_URL") {
            let model = self.get("EVERSTEP_MODEL_NAME").unwrap_or("default");
            layer = layer
                .set_override("providers.local.kind", "openai_chat")?
                .set_override("providers.local.base_url", url)?
                .set_override("providers.local.default_model", model)?;
        }
        for (variable, setting) in LISTS {
            if let Some(list) = self.get(variable) {
                let items: Vec<&str> = parts(list).collect();
                layer = layer.set_override(*setting, items)?;
            }
        }
        layer.build()
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// The parts of a list with commas.
fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty())
}
