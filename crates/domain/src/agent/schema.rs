//! The schemas of answers, compiled so that nobody's schema can reach out or run away.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use crate::storable::clipped;

/// How far a pattern may search before it counts as not matching.
const BACKTRACK_LIMIT: usize = 20_000;

/// How large a pattern may become when it is compiled, in bytes.
const PATTERN_SIZE: usize = 1 << 20;

/// The most patterns of a schema: compiling them costs most of the time.
pub(crate) const PATTERNS: usize = 100;

/// The longest explanation, in bytes.
const LONGEST: usize = 300;

/// Compiles a JSON Schema (2020-12); references go nowhere but into the schema itself.
pub(crate) fn compile(schema: &Value) -> Result<Validator, String> {
    if patterns(schema) > PATTERNS {
        return Err(format!("it has more than {PATTERNS} patterns"));
    }
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(
            PatternOptions::fancy_regex().backtrack_limit(BACKTRACK_LIMIT).size_limit(PATTERN_SIZE),
        )
        .offline()
        .build(schema)
        .map_err(|error| clipped(&error.to_string(), LONGEST))
}

/// How many patterns a schema may have.
pub(crate) fn patterns(schema: &Value) -> usize {
    match schema {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        Value::Array(items) => items.iter().map(patterns).sum(),
        Value::Object(members) => {
            let own = |(name, value): (&String, &Value)| match (name.as_str(), value) {
                ("pattern", Value::String(_)) => 1,
                ("patternProperties", Value::Object(named)) => named.len(),
                _ => 0,
            };
            members.iter().map(own).chain(members.values().map(patterns)).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_may_refer_to_themselves_and_to_nothing_else() {
        let local = json!({"$defs": {"a": {"type": "string"}}, "$ref": "#/$defs/a"});
        assert!(compile(&local).is_ok_and(|schema| schema.is_valid(&json!("x"))));
        for bad in [
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"$ref": "#/$defs/missing"}),
            json!({"type": "strin"}),
            json!({"pattern": "("}),
            json!("string"),
        ] {
            assert!(compile(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_are_few_and_small() {
        let of = |patterns: Vec<String>| {
            let each = patterns.into_iter().map(|pattern| json!({"pattern": pattern}));
            json!({"allOf": each.collect::<Vec<_>>()})
        };
        assert!(compile(&of(vec!["^a+$".to_owned(); PATTERNS])).is_ok());
        assert!(compile(&of(vec!["^a+$".to_owned(); PATTERNS + 1])).is_err());
        assert!(compile(&of(vec!["((a{90}){90}){90}".to_owned()])).is_err());
        let named = json!({"patternProperties": {"^a": true}, "properties": {"pattern": {}}});
        assert_eq!(patterns(&named), 1);
    }

    #[test]
    fn a_schema_that_only_refers_to_itself_ends() {
        if let Ok(schema) = compile(&json!({"$ref": "#"})) {
            let _ = schema.is_valid(&json!(1));
        }
    }

    #[test]
    fn a_pattern_that_never_ends_counts_as_no_match() {
        let schema = compile(&json!({"pattern": "^(a|aa)+\\1$"})).unwrap();
        assert!(!schema.is_valid(&json!(format!("{}b", "a".repeat(5_000)))));
    }
}
