//! The stand-in's answers.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::models::conformance::request;

fn make(schema: &Value, input: &str) -> Result<Value, ChatError> {
    let request = ChatRequest { schema: Some(schema.clone()), ..request(input) };
    instance(schema, input, seed(&request))
}

#[tokio::test]
async fn a_text_says_that_no_model_spoke() {
    let answer = Sandbox.chat(&request("What is\nthe capital of France?")).await.unwrap();
    assert!(answer.text.starts_with("[sandbox] "), "{}", answer.text);
    assert!(answer.text.ends_with("What is the capital of France?"), "{}", answer.text);
    assert_eq!(answer.model, "sandbox");
}

#[tokio::test]
async fn the_same_conversation_gets_the_same_answer_and_another_one_may_not() {
    let schema = json!({ "type": "integer", "minimum": 0, "maximum": 1_000_000_000 });
    let ask = async |input: &str| {
        let request = ChatRequest { schema: Some(schema.clone()), ..request(input) };
        Sandbox.chat(&request).await.unwrap()
    };
    assert_eq!(ask("one").await, ask("one").await);
    assert_ne!(ask("one").await.text, ask("two").await.text);
}

#[test]
fn of_an_enumeration_the_value_is_chosen_that_the_input_names() {
    let schema = json!({ "enum": ["bug", "feature_request", "question"] });
    let table = [
        ("Found a BUG: debugging is hard", "bug"),
        ("A question. One question about a bug.", "question"),
        ("This is a feature request!", "feature_request"),
    ];
    for (input, expected) in table {
        assert_eq!(make(&schema, input).unwrap(), json!(expected), "{input}");
    }
    let labels = json!({ "type": "array", "items": schema, "uniqueItems": true, "maxItems": 2 });
    assert_eq!(make(&labels, "bug, question").unwrap().as_array().unwrap().len(), 2);
}

#[test]
fn strings_say_where_they_come_from() {
    let schema = json!({
        "type": "object", "required": ["summary"],
        "properties": { "summary": { "type": "string", "maxLength": 40 } }
    });
    let made = make(&schema, "The app crashes whenever I open the settings page").unwrap();
    assert_eq!(made, json!({ "summary": "[sandbox] summary: The app crashes whene" }));
}

#[test]
fn instances_of_all_sorts_of_schemas_are_valid() {
    let schemas = [
        json!(true),
        json!({}),
        json!({ "const": { "a": 1 } }),
        json!({ "type": "null" }),
        json!({ "type": ["null", "boolean"] }),
        json!({ "type": "string", "minLength": 200 }),
        json!({ "type": "string", "maxLength": 0 }),
        json!({ "type": "string", "pattern": "^[A-Z]{2,4}-\\d{3,}$", "minLength": 12 }),
        json!({ "type": "string", "format": "date-time" }),
        json!({ "type": "string", "format": "email" }),
        json!({ "type": "string", "format": "uuid" }),
        json!({ "type": "string", "format": "made-up" }),
        json!({ "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1 }),
        json!({ "type": "number", "minimum": 2.5, "maximum": 2.5 }),
        json!({ "type": "number", "multipleOf": 0.5, "minimum": 10, "maximum": 11 }),
        json!({ "type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5 }),
        json!({ "type": "integer", "multipleOf": 7, "minimum": -20, "maximum": -1 }),
        json!({ "type": "integer", "maximum": -5 }),
        json!({ "type": "array", "minItems": 3, "uniqueItems": true, "items": { "type": "string" } }),
        json!({ "type": "array", "maxItems": 0 }),
        json!({ "prefixItems": [{ "type": "string" }, { "type": "number" }], "minItems": 2,
            "items": false }),
        json!({ "type": "object", "minProperties": 3 }),
        json!({ "type": "object", "required": ["x"], "additionalProperties": { "type": "integer" } }),
        json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] }),
        json!({ "oneOf": [{ "type": "integer", "multipleOf": 2 },
            { "type": "integer", "multipleOf": 3 }] }),
        json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"],
            "allOf": [{ "properties": { "b": { "const": 1 } }, "required": ["b"] }] }),
        json!({ "type": "integer", "minimum": 1, "maximum": 4, "not": { "const": 2 } }),
        json!({ "$ref": "#/$defs/tree", "$defs": { "tree": {
            "type": "object", "required": ["name", "children"],
            "properties": { "name": { "type": "string" },
                "children": { "type": "array", "items": { "$ref": "#/$defs/tree" } } } } } }),
        json!({ "type": "object", "properties": { "self": { "$ref": "#" } } }),
        json!({ "type": "object", "properties": { "kind": { "enum": ["a", "b"] } },
            "required": ["kind"], "if": { "properties": { "kind": { "const": "a" } } },
            "then": { "required": ["extra"] } }),
    ];
    for schema in schemas {
        let made = make(&schema, "Some input").unwrap_or_else(|error| panic!("{schema}: {error}"));
        assert!(jsonschema::is_valid(&schema, &made), "{schema}: {made}");
    }
}

#[test]
fn a_schema_without_an_instance_is_an_invalid_request() {
    let schemas = [
        json!(false),
        json!({ "type": "no-such-type" }),
        json!({ "type": "string", "pattern": "(" }),
        json!({ "type": "integer", "minimum": 5, "maximum": 4 }),
        json!({ "type": "object", "required": ["self"], "properties": { "self": { "$ref": "#" } } }),
        json!({ "$ref": "#" }),
        json!({ "$ref": "https://schemas.example/remote" }),
    ];
    for schema in schemas {
        let error = make(&schema, "Some input").unwrap_err();
        assert_eq!(error.class, FailureClass::InvalidRequest, "{schema}: {error}");
    }
}

#[tokio::test]
async fn a_cut_answer_keeps_the_mark() {
    let request = ChatRequest { max_output_tokens: Some(1), ..request("Hello?") };
    let answer = Sandbox.chat(&request).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.finish), ("[sandbox]", Finish::Length));
}

fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (0..20usize, 0..20usize)
            .prop_map(|(a, b)| json!({ "type": "string", "minLength": a, "maxLength": a + b })),
        (-99..99i64, 0..99i64)
            .prop_map(|(a, b)| json!({ "type": "integer", "minimum": a, "maximum": a + b })),
        (-99..99i64, 1..99i64)
            .prop_map(|(a, b)| json!({ "type": "number", "minimum": a, "maximum": a + b })),
        Just(json!({ "enum": ["low", "high", null, 3] })),
        Just(json!({ "type": "boolean" })),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let list = (inner.clone(), 0..4usize, 0..4usize).prop_map(|(items, a, b)| {
            json!({ "type": "array", "items": items, "minItems": a, "maxItems": a + b })
        });
        let members =
            prop::collection::btree_map("[a-z]{1,6}", (inner.clone(), any::<bool>()), 0..5);
        let object = members.prop_map(|members| {
            let required: Vec<_> =
                members.iter().filter(|(_, (_, needed))| *needed).map(|(name, _)| name).collect();
            let properties: serde_json::Map<_, _> =
                members.iter().map(|(name, (schema, _))| (name.clone(), schema.clone())).collect();
            json!({ "type": "object", "required": required, "properties": properties,
                "additionalProperties": false })
        });
        let either = prop::collection::vec(inner, 1..3).prop_map(|any| json!({ "anyOf": any }));
        prop_oneof![list, object, either]
    })
}

proptest! {
    #[test]
    fn whatever_a_plain_schema_says_the_instance_is_valid(schema in schemas(), input in ".{0,99}") {
        let made = make(&schema, &input).unwrap();
        prop_assert!(jsonschema::is_valid(&schema, &made), "{}", made);
    }
}
