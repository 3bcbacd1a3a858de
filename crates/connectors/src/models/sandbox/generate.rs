//! An instance of a JSON Schema, drawn by hashes of where each part stands.

use serde_json::{Map, Number, Value, json};
use sha2::{Digest, Sha256};

use super::pattern::{matching, pick};
use super::{MARK, excerpt};

/// Deeper than this there is no instance: the schema demands itself for ever.
const MAX_DEPTH: u8 = 24;
/// Deeper than this only what must be there is there.
const FRUGAL_DEPTH: u8 = 6;
/// No list or padding grows beyond this, whatever the schema asks for.
const MAX_LENGTH: usize = 10_000;

pub(super) struct Generator<'a> {
    root: &'a Value,
    /// The input in lower case, words apart by one space.
    words: String,
    excerpt: String,
    seed: [u8; 32],
    attempt: u8,
}

impl<'a> Generator<'a> {
    pub(super) fn new(root: &'a Value, input: &str, seed: [u8; 32], attempt: u8) -> Self {
        Self { root, words: spaced(input), excerpt: excerpt(input), seed, attempt }
    }

    /// An instance that follows the schema's plain keywords; others need the caller's check.
    pub(super) fn generate(&self) -> Option<Value> {
        self.value(self.root, "", 0)
    }

    fn value(&self, schema: &Value, path: &str, depth: u8) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        if schema == &Value::Bool(true) {
            return self.text(&Map::new(), path);
        }
        let map = schema.as_object()?;
        if let Some(value) = map.get("const") {
            return Some(value.clone());
        }
        if let Some(values) = array(map, "enum") {
            return self.choose(values, path).first().copied().cloned();
        }
        if let Some(reference) = map.get("$ref") {
            let target = self.root.pointer(reference.as_str()?.strip_prefix('#')?)?;
            return self.value(target, path, depth + 1);
        }
        if let Some(parts) = array(map, "allOf") {
            return self.value(&self.merged(map, "allOf", parts)?, path, depth + 1);
        }
        for word in ["anyOf", "oneOf"] {
            if let Some(branches) = array(map, word) {
                let branch = pick(branches, self.draw(path))?;
                let branch = std::slice::from_ref(branch);
                return self.value(&self.merged(map, word, branch)?, path, depth + 1);
            }
        }
        match type_of(map) {
            "object" => self.object(map, path, depth),
            "array" => self.list(map, path, depth),
            "integer" => self.integer(map, path),
            "number" => self.number(map, path),
            "boolean" => Some(json!(self.draw(path) & 1 == 1)),
            "null" => Some(Value::Null),
            _ => self.text(map, path),
        }
    }

    /// The values in order of choice: those whose words occur in the input, the most frequent
    /// first, then the others; equals in an order drawn by hash.
    fn choose<'v>(&self, values: &'v [Value], path: &str) -> Vec<&'v Value> {
        let mut ranked: Vec<_> = values.iter().enumerate().collect();
        let rank = |(index, value): &(usize, &Value)| {
            let hits = self.hits(value);
            (std::cmp::Reverse(hits), self.draw(&format!("{path}={index}")))
        };
        ranked.sort_by_cached_key(rank);
        ranked.into_iter().map(|(_, value)| value).collect()
    }

    fn hits(&self, value: &Value) -> usize {
        value.as_str().map_or(0, |text| {
            let wanted = spaced(text);
            if wanted.trim().is_empty() { 0 } else { self.words.matches(&wanted).count() }
        })
    }

    fn object(&self, map: &Map<String, Value>, path: &str, depth: u8) -> Option<Value> {
        let required: Vec<_> =
            array(map, "required").into_iter().flatten().filter_map(Value::as_str).collect();
        let rest = match map.get("additionalProperties") {
            None => &Value::Bool(true),
            Some(schema) => schema,
        };
        let mut members = Map::new();
        let known = map.get("properties").and_then(Value::as_object);
        for (name, schema) in known.into_iter().flatten() {
            let needed = required.contains(&name.as_str());
            if !needed && depth >= FRUGAL_DEPTH {
                continue;
            }
            match self.value(schema, &format!("{path}/{name}"), depth + 1) {
                Some(value) => {
                    members.insert(name.clone(), value);
                }
                None if needed => return None,
                None => {}
            }
        }
        let least = size(map, "minProperties").unwrap_or(0).min(MAX_LENGTH);
        let extra = (1..=least).map(|nth| format!("sandbox_{nth}"));
        for name in required.into_iter().map(str::to_owned).chain(extra) {
            let full = name.starts_with("sandbox_") && members.len() >= least;
            if !full && !members.contains_key(&name) {
                let value = self.value(rest, &format!("{path}/{name}"), depth + 1)?;
                members.insert(name, value);
            }
        }
        Some(members.into())
    }

    fn list(&self, map: &Map<String, Value>, path: &str, depth: u8) -> Option<Value> {
        let least = size(map, "minItems").unwrap_or(0);
        let most = size(map, "maxItems").unwrap_or(usize::MAX).min(MAX_LENGTH);
        let wanted = if depth < FRUGAL_DEPTH { least.max(1) } else { least }.min(most);
        let first = array(map, "prefixItems").unwrap_or_default();
        let items = map.get("items").unwrap_or(&Value::Bool(true));
        let values = self.resolved(items).and_then(|items| array(items, "enum"));
        if let (true, Some(values)) = (first.is_empty(), values) {
            let hits = values.iter().filter(|value| self.hits(value) > 0).count();
            let chosen = self.choose(values, path);
            let distinct = chosen.into_iter().take(wanted.max(hits.min(most))).cloned();
            return Some(distinct.collect());
        }
        let unique = map.get("uniqueItems") == Some(&json!(true));
        let mut list: Vec<Value> = Vec::new();
        for nth in 0..wanted.saturating_mul(4) {
            if list.len() == wanted {
                break;
            }
            let schema = first.get(list.len()).unwrap_or(items);
            let value = self.value(schema, &format!("{path}/{nth}"), depth + 1)?;
            if !(unique && list.contains(&value)) {
                list.push(value);
            }
        }
        Some(list.into())
    }

    fn text(&self, map: &Map<String, Value>, path: &str) -> Option<Value> {
        let least = size(map, "minLength").unwrap_or(0).min(MAX_LENGTH);
        let most = size(map, "maxLength").unwrap_or(usize::MAX);
        if let Some(pattern) = map.get("pattern").and_then(Value::as_str) {
            let extra = [0, 1, u32::try_from(least).ok()?][usize::from(self.attempt % 3)];
            let mut nth = 0;
            let draw = || {
                nth += 1;
                self.draw(&format!("{path}~{nth}"))
            };
            return matching(pattern, extra, draw).map(Value::String);
        }
        if let Some(example) = map.get("format").and_then(Value::as_str).and_then(example) {
            return Some(json!(example));
        }
        let mut text = match label(path) {
            name if name.is_empty() => format!("{MARK} {}", self.excerpt),
            name => format!("{MARK} {name}: {}", self.excerpt),
        };
        while text.chars().count() < least {
            text.push_str(" ...");
        }
        Some(text.chars().take(most).collect::<String>().into())
    }

    #[expect(clippy::cast_possible_truncation, reason = "bounds beyond i64 are cut to it")]
    fn integer(&self, map: &Map<String, Value>, path: &str) -> Option<Value> {
        let step = map.get("multipleOf").and_then(Value::as_f64).unwrap_or(1.0).ceil().max(1.0);
        let bound = |word: &str| map.get(word).and_then(Value::as_f64);
        let above = bound("exclusiveMinimum").map(|low| low.floor() + 1.0);
        let below = bound("exclusiveMaximum").map(|high| high.ceil() - 1.0);
        let low = tighter(bound("minimum"), above, f64::max);
        let high = tighter(bound("maximum"), below, f64::min);
        let low = low.map(|low| (low / step).ceil() as i64);
        let high = high.map(|high| (high / step).floor() as i64);
        let (low, high) = match (low, high) {
            (Some(low), Some(high)) => (low, high),
            (Some(low), None) => (low, low.saturating_add(9)),
            (None, Some(high)) => (high.saturating_sub(9), high),
            (None, None) => (1, 10),
        };
        let count = u64::try_from(high.checked_sub(low)?.checked_add(1)?).ok()?;
        let nth = i64::try_from(self.draw(path).checked_rem(count)?).ok()?;
        Some(json!(low.checked_add(nth)?.checked_mul(step as i64)?))
    }

    fn number(&self, map: &Map<String, Value>, path: &str) -> Option<Value> {
        if map.contains_key("multipleOf") {
            return self.multiple(map, path);
        }
        let bound = |word: &str| map.get(word).and_then(Value::as_f64);
        let low = tighter(bound("minimum"), bound("exclusiveMinimum"), f64::max);
        let high = tighter(bound("maximum"), bound("exclusiveMaximum"), f64::min);
        let (low, high) = match (low, high) {
            (Some(low), Some(high)) => (low, high),
            (Some(low), None) => (low, low + 10.0),
            (None, Some(high)) => (high - 10.0, high),
            (None, None) => (0.0, 10.0),
        };
        // Never an end itself, which may be excluded; unless there is nothing in between.
        let nth = u8::try_from(self.draw(path) % 99).ok()? + 1;
        let value = low + (high - low) * f64::from(nth) / 100.0;
        Number::from_f64(value).map(Value::Number)
    }

    fn multiple(&self, map: &Map<String, Value>, path: &str) -> Option<Value> {
        let step = map.get("multipleOf")?.as_f64().filter(|step| *step > 0.0)?;
        let bound = |word: &str| map.get(word).and_then(Value::as_f64);
        let low = tighter(bound("minimum"), bound("exclusiveMinimum"), f64::max);
        let high = tighter(bound("maximum"), bound("exclusiveMaximum"), f64::min);
        let nth = f64::from(u8::try_from(self.draw(path) % 10).ok()?);
        let first = match (low, high) {
            (Some(low), _) => (low / step).ceil(),
            (None, Some(high)) => (high / step).floor() - 9.0,
            (None, None) => 0.0,
        };
        let value = (first + nth) * step;
        let value = high.map_or(value, |high| value.min((high / step).floor() * step));
        Number::from_f64(value).map(Value::Number)
    }

    /// The schema without this keyword, and with what these say besides.
    fn merged(&self, map: &Map<String, Value>, word: &str, parts: &[Value]) -> Option<Value> {
        let mut merged = map.clone();
        merged.remove(word);
        for part in parts {
            for (keyword, value) in self.resolved(part)? {
                match (merged.get_mut(keyword), value) {
                    (Some(Value::Object(old)), Value::Object(new)) => old.extend(new.clone()),
                    (Some(Value::Array(old)), Value::Array(new)) if keyword == "required" => {
                        old.extend(new.iter().cloned());
                    }
                    _ => {
                        merged.insert(keyword.clone(), value.clone());
                    }
                }
            }
        }
        Some(merged.into())
    }

    fn resolved<'s>(&'s self, schema: &'s Value) -> Option<&'s Map<String, Value>> {
        static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        let mut schema = schema;
        for _ in 0..MAX_DEPTH {
            let Some(map) = schema.as_object() else {
                return (schema == &Value::Bool(true)).then_some(&EMPTY);
            };
            let Some(reference) = map.get("$ref") else { return Some(map) };
            schema = self.root.pointer(reference.as_str()?.strip_prefix('#')?)?;
        }
        None
    }

    fn draw(&self, path: &str) -> u64 {
        let hash = Sha256::new()
            .chain_update(self.seed)
            .chain_update([self.attempt])
            .chain_update(path)
            .finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        u64::from_be_bytes(first)
    }
}

/// What kind of value is meant, also where the schema only implies it.
fn type_of(map: &Map<String, Value>) -> &str {
    let implied = || {
        let any = |words: &[&str]| words.iter().any(|word| map.contains_key(*word));
        if any(&["properties", "required", "additionalProperties", "minProperties"]) {
            "object"
        } else if any(&["items", "prefixItems", "minItems", "maxItems", "uniqueItems"]) {
            "array"
        } else if any(&["minimum", "maximum", "multipleOf"]) {
            "number"
        } else {
            "string"
        }
    };
    match map.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => {
            let names = || names.iter().filter_map(Value::as_str);
            names().find(|name| *name != "null").unwrap_or("null")
        }
        _ => implied(),
    }
}

/// What a text at this place is called: the member's name, and which item of a list it is.
fn label(path: &str) -> String {
    let (rest, last) = path.rsplit_once('/').unwrap_or_default();
    match last.parse::<usize>() {
        Ok(0) => label(rest),
        Ok(nth) => format!("{} {}", label(rest), nth + 1).trim_start().to_owned(),
        Err(_) => last.to_owned(),
    }
}

fn example(format: &str) -> Option<&'static str> {
    Some(match format {
        "date-time" => "2000-01-01T00:00:00Z",
        "date" => "2000-01-01",
        "time" => "00:00:00Z",
        "duration" => "PT1S",
        "email" | "idn-email" => "sandbox@sandbox.invalid",
        "hostname" | "idn-hostname" => "sandbox.invalid",
        "uri" | "iri" | "uri-reference" | "iri-reference" => "https://sandbox.invalid/",
        "uuid" => "00000000-0000-4000-8000-000000000000",
        "ipv4" => "192.0.2.1",
        "ipv6" => "2001:db8::1",
        "json-pointer" => "/sandbox",
        "regex" => "sandbox",
        _ => return None,
    })
}

/// Lower case, words apart by one space, a space at both ends: phrases match on whole words.
fn spaced(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(" ".to_owned(), |text, word| text + word + " ")
}

fn array<'m>(map: &'m Map<String, Value>, word: &str) -> Option<&'m [Value]> {
    map.get(word)?.as_array().map(Vec::as_slice)
}

fn size(map: &Map<String, Value>, word: &str) -> Option<usize> {
    map.get(word)?.as_u64().map(|size| usize::try_from(size).unwrap_or(usize::MAX))
}

/// The tighter of two bounds; one that is missing does not bound.
fn tighter(a: Option<f64>, b: Option<f64>, choose: fn(f64, f64) -> f64) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(choose(a, b)),
        (a, b) => a.or(b),
    }
}
