//! Schemas in the subset that `OpenAI` enforces: objects are closed and all their members required,
//! so an optional member becomes one that may be null, and null goes away again in the answer.

use serde_json::{Map, Value, json};

/// References in a schema may lead in circles.
const MAX_DEPTH: u8 = 64;

/// Kept as they are. What is in neither list only narrows what is valid (`minLength`, `not`,
/// `if`...): it is left out, and checked against the author's schema afterwards.
const KEPT: [&str; 13] = [
    "type",
    "enum",
    "const",
    "description",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
];
const FORMATS: [&str; 9] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];
/// Say which members or items there are; there is no other way to say it.
const BEYOND: [&str; 4] = ["allOf", "patternProperties", "prefixItems", "$dynamicRef"];

/// The schema in the subset; none if it says what the subset cannot.
pub(super) fn rewrite(schema: &Value) -> Option<Value> {
    let rewritten = node(schema)?;
    let root = rewritten.get("type")?.as_str() == Some("object") && schema.get("anyOf").is_none();
    root.then_some(rewritten)
}

fn node(schema: &Value) -> Option<Value> {
    let map = schema.as_object()?;
    if BEYOND.iter().any(|keyword| map.contains_key(*keyword)) {
        return None;
    }
    let mut new = Map::new();
    for keyword in ["$defs", "definitions"] {
        if let Some(Value::Object(schemas)) = map.get(keyword) {
            new.insert(keyword.to_owned(), each(schemas)?.into());
        }
    }
    if let Some(reference) = map.get("$ref") {
        new.insert("$ref".to_owned(), reference.clone());
        return Some(new.into());
    }
    if let Some(branches) = map.get("anyOf").or_else(|| map.get("oneOf")) {
        let branches: Option<Vec<_>> = branches.as_array()?.iter().map(node).collect();
        new.insert("anyOf".to_owned(), branches?.into());
        return Some(new.into());
    }
    for (keyword, value) in map {
        let known = keyword != "format" || value.as_str().is_some_and(|f| FORMATS.contains(&f));
        if known && KEPT.contains(&keyword.as_str()) {
            new.insert(keyword.clone(), value.clone());
        }
    }
    let says = |name: &str| has_type(map, name);
    if says("object") {
        members(map, &mut new)?;
    }
    if says("array") {
        new.insert("items".to_owned(), node(map.get("items")?)?);
    }
    let says_something = ["type", "enum", "const"].iter().any(|word| new.contains_key(*word));
    says_something.then(|| new.into())
}

fn members(map: &Map<String, Value>, new: &mut Map<String, Value>) -> Option<()> {
    let open = map.get("additionalProperties").is_none_or(|more| more != &json!(false));
    let properties = match map.get("properties") {
        Some(Value::Object(properties)) if !(properties.is_empty() && open) => each(properties)?,
        None if !open => Map::new(),
        _ => return None,
    };
    let optional = |name: &str| !is_required(map, name);
    let nullable = |(name, schema): (String, Value)| {
        let schema = if optional(&name) && !accepts_null(&schema, &schema, 0) {
            json!({ "anyOf": [schema, { "type": "null" }] })
        } else {
            schema
        };
        (name, schema)
    };
    let properties: Map<_, _> = properties.into_iter().map(nullable).collect();
    new.insert("required".to_owned(), properties.keys().cloned().collect());
    new.insert("properties".to_owned(), properties.into());
    new.insert("additionalProperties".to_owned(), json!(false));
    Some(())
}

fn each(schemas: &Map<String, Value>) -> Option<Map<String, Value>> {
    schemas.iter().map(|(name, schema)| Some((name.clone(), node(schema)?))).collect()
}

/// An answer to the rewritten schema as one to the author's: members that are null only because
/// they had to be there are taken out. What is not JSON stays as it is.
pub(super) fn undo(text: &str, author: &Value) -> String {
    let Ok(mut answer) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    let before = answer.clone();
    prune(&mut answer, author, author, 0);
    if answer == before { text.to_owned() } else { answer.to_string() }
}

fn prune(value: &mut Value, schema: &Value, root: &Value, depth: u8) {
    let Some(map) = schema.as_object().filter(|_| depth < MAX_DEPTH) else { return };
    if let Some(target) = referred(map, root) {
        prune(value, target, root, depth + 1);
    }
    for branch in ["anyOf", "oneOf"].iter().filter_map(|word| map.get(*word)?.as_array()).flatten()
    {
        prune(value, branch, root, depth + 1);
    }
    if let (Value::Array(items), Some(schema)) = (&mut *value, map.get("items")) {
        for item in items {
            prune(item, schema, root, depth + 1);
        }
    }
    if let (Value::Object(members), Some(Value::Object(properties))) =
        (value, map.get("properties"))
    {
        for (name, schema) in properties {
            let filler = !is_required(map, name) && !accepts_null(schema, root, 0);
            if filler && members.get(name) == Some(&Value::Null) {
                members.remove(name);
            } else if let Some(member) = members.get_mut(name) {
                prune(member, schema, root, depth + 1);
            }
        }
    }
}

fn accepts_null(schema: &Value, root: &Value, depth: u8) -> bool {
    let Some(map) = schema.as_object().filter(|_| depth < MAX_DEPTH) else {
        return schema == &json!(true);
    };
    let holds_null = |word: &str| map.get(word).and_then(Value::as_array);
    if let Some(values) = holds_null("enum") {
        return values.contains(&Value::Null);
    }
    if let Some(value) = map.get("const") {
        return value.is_null();
    }
    if let Some(branches) = holds_null("anyOf").or_else(|| holds_null("oneOf")) {
        return branches.iter().any(|branch| accepts_null(branch, root, depth + 1));
    }
    if map.contains_key("$ref") {
        return referred(map, root).is_some_and(|target| accepts_null(target, root, depth + 1));
    }
    !map.contains_key("type") || has_type(map, "null")
}

fn referred<'a>(schema: &Map<String, Value>, root: &'a Value) -> Option<&'a Value> {
    root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
}

fn is_required(schema: &Map<String, Value>, name: &str) -> bool {
    schema
        .get("required")
        .and_then(Value::as_array)
        .is_some_and(|names| names.iter().any(|required| required == name))
}

fn has_type(schema: &Map<String, Value>, name: &str) -> bool {
    match schema.get("type") {
        Some(Value::Array(types)) => types.iter().any(|word| word == name),
        Some(word) => word == name,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_closed_and_all_members_required() {
        let author = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "T",
            "type": "object",
            "properties": {
                "category": { "type": "string", "enum": ["bug", "question"] },
                "summary": { "type": "string", "minLength": 1, "maxLength": 80 },
                "tags": { "type": "array", "uniqueItems": true, "items": { "type": "string" } },
                "place": { "oneOf": [{ "$ref": "#/$defs/place" }, { "type": "null" }] }
            },
            "required": ["category"],
            "$defs": { "place": { "type": "object", "properties": { "city": { "type": "string" } } } }
        });
        let nothing = json!({ "type": "null" });
        let expected = json!({
            "type": "object", "additionalProperties": false,
            "required": ["category", "place", "summary", "tags"],
            "properties": {
                "category": { "type": "string", "enum": ["bug", "question"] },
                "summary": { "anyOf": [{ "type": "string" }, nothing] },
                "tags": { "anyOf": [{ "type": "array", "items": { "type": "string" } }, nothing] },
                "place": { "anyOf": [{ "$ref": "#/$defs/place" }, nothing] }
            },
            "$defs": { "place": {
                "type": "object", "additionalProperties": false, "required": ["city"],
                "properties": { "city": { "anyOf": [{ "type": "string" }, nothing] } }
            } }
        });
        assert_eq!(rewrite(&author), Some(expected));
    }

    #[test]
    fn what_the_subset_cannot_say_is_not_rewritten() {
        let schemas = [
            json!(true),
            json!({ "type": "array", "items": { "type": "string" } }),
            json!({ "type": "object" }),
            json!({ "type": "object", "properties": { "any": {} } }),
            json!({ "type": "object", "properties": { "map": { "type": "object" } } }),
            json!({ "type": "object", "properties": { "list": { "type": "array" } } }),
            json!({ "type": "object", "properties": {}, "allOf": [] }),
        ];
        for schema in schemas {
            assert_eq!(rewrite(&schema), None, "{schema}");
        }
    }

    #[test]
    fn nulls_that_only_fill_a_place_leave_the_answer() {
        let author = json!({
            "type": "object",
            "properties": {
                "a": { "type": "string" },
                "b": { "type": ["string", "null"] },
                "c": { "type": "string" },
                "list": { "type": "array", "items": { "$ref": "#/$defs/item" } }
            },
            "required": ["c"],
            "$defs": { "item": { "type": "object", "properties": { "x": { "type": "number" } } } }
        });
        let text = r#"{"a":null,"b":null,"c":null,"list":[{"x":null},{"x":1}]}"#;
        assert_eq!(undo(text, &author), r#"{"b":null,"c":null,"list":[{},{"x":1}]}"#);
        assert_eq!(undo("not {json", &author), "not {json");
        assert_eq!(undo(r#"{ "c": "x" }"#, &author), r#"{ "c": "x" }"#, "nothing to take out");
    }

    #[test]
    fn a_schema_that_leads_in_circles_ends() {
        let circle = json!({ "$ref": "#" });
        assert_eq!(undo(r#"{"a":null}"#, &circle), r#"{"a":null}"#);
    }
}
