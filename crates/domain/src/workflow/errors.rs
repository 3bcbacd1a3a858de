//! Type URIs of the standard errors, which documents in the wild write in several ways.

use crate::execution::Standard;

/// The hosts that the language has had.
const HOSTS: [&str; 2] = ["open-workflow-specification.org", "serverlessworkflow.io"];

/// The paths under which the standard errors have stood.
const PATHS: [&str; 2] = ["/spec/1.0.0/errors/", "/dsl/errors/types/"];

/// The one spelling of a standard error's type; any other type as it is.
pub(crate) fn canonical_type(uri: &str) -> String {
    let slug = HOSTS.iter().find_map(|host| {
        let rest = uri.strip_prefix("https://")?.strip_prefix(host)?;
        PATHS.iter().find_map(|path| rest.strip_prefix(path))
    });
    let standard = slug.and_then(|slug| Standard::ALL.into_iter().find(|s| s.slug() == slug));
    standard.map_or_else(|| uri.to_owned(), Standard::uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_standard_error_are_one() {
        for uri in [
            "https://serverlessworkflow.io/spec/1.0.0/errors/communication",
            "https://serverlessworkflow.io/dsl/errors/types/communication",
            "https://open-workflow-specification.org/dsl/errors/types/communication",
            "https://open-workflow-specification.org/spec/1.0.0/errors/communication",
        ] {
            assert_eq!(canonical_type(uri), Standard::Communication.uri());
        }
        let own = "https://open-workflow-specification.org/errors/types/compliance";
        assert_eq!(canonical_type(own), own);
    }
}
