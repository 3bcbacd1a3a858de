//! A URL that may hold a password, which is shown to nobody.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

/// A URL whose password appears nowhere but in [`expose`](Self::expose).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretUrl(Url);

impl SecretUrl {
    /// The whole URL, for who connects.
    pub(crate) fn expose(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        if shown.password().is_some() {
            let _ = shown.set_password(Some("***"));
        }
        if shown.query_pairs().any(|(name, _)| name == "password") {
            let masked =
                |(name, value): (_, _)| if name == "password" { "***".into() } else { value };
            let pairs: Vec<(String, String)> = shown
                .query_pairs()
                .into_owned()
                .map(|pair| (pair.0.clone(), masked(pair)))
                .collect();
            shown.query_pairs_mut().clear().extend_pairs(pairs);
        }
        shown.fmt(f)
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SecretUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The text is not repeated: what is no URL may still be a password.
        Url::parse(&text)
            .map(Self)
            .map_err(|error| de::Error::custom(format!("not a URL: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for text in
            ["postgres://u:hunter2@db.example/x", "postgres://u@db.example/x?password=hunter2&a=b"]
        {
            let url = SecretUrl(text.parse().unwrap());
            assert_eq!(url.expose(), text);
            for shown in
                [format!("{url}"), format!("{url:?}"), serde_json::to_string(&url).unwrap()]
            {
                assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
            }
        }
    }

    #[test]
    fn a_url_without_a_password_is_shown_as_it_is() {
        let url = SecretUrl("postgres://u@localhost/x?host=%2Ftmp".parse().unwrap());
        assert_eq!(url.to_string(), "postgres://u@localhost/x?host=%2Ftmp");
    }
}
