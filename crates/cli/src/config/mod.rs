//! Configuration: documented defaults < file < environment < flags.

mod environment;
mod secret_url;
mod settings;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat};

pub(crate) use environment::Environment;
pub(crate) use secret_url::SecretUrl;
pub(crate) use settings::Settings;

/// Every setting with its default, and what it means.
const DEFAULTS: &str = include_str!("../../config.default.toml");
/// The file that is read when none is named, if it is there.
const FILE: &str = "everstep.toml";

/// What was said on the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    /// The configuration file.
    pub(crate) config: Option<PathBuf>,
    /// `data_dir`.
    pub(crate) data_dir: Option<PathBuf>,
    /// `database.url`.
    pub(crate) database_url: Option<String>,
    /// `http.port`.
    pub(crate) port: Option<u16>,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file or value cannot be read or does not fit.
    #[error("configuration: {0}")]
    Invalid(#[from] config::ConfigError),
    /// The settings contradict each other.
    #[error("configuration: {0}")]
    Contradiction(String),
}

/// The settings in force.
pub(crate) fn load(flags: &Flags, environment: &Environment) -> Result<Settings, Error> {
    let mut config = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    if let Some(file) = flags.config.clone().or_else(|| environment.config_file()) {
        config = config.add_source(File::new(&path_text(&file), FileFormat::Toml));
    } else {
        config = config.add_source(File::new(FILE, FileFormat::Toml).required(false));
    }
    config = config.add_source(environment.layer()?);
    if let Some(port) = flags.port {
        config = config.set_override("http.port", port)?;
    }
    if let Some(url) = &flags.database_url {
        config = config.set_override("database.url", url.as_str())?;
    }
    if let Some(dir) = &flags.data_dir {
        config = config.set_override("data_dir", path_text(dir))?;
    }
    let settings: Settings = config.build()?.try_deserialize()?;
    settings.finish(environment)
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
