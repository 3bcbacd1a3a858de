//! Functions of text, and the formats behind `@`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::access::indices as places_of;
use super::budget::{Budget, ITEM, Outcome, Stop};
use super::json;
use super::tools::Tools;
use super::value::Value;

/// The pieces between separators; the characters, if the separator is empty.
pub(super) fn split(whole: &str, separator: &str, budget: &Budget) -> Outcome<Value> {
    budget.spend(whole.len() / 16)?;
    let mut pieces = Vec::new();
    let mut add = |piece: &str| {
        budget.allocate(ITEM)?;
        pieces.push(Value::text(piece, budget)?);
        Ok(())
    };
    if whole.is_empty() {
    } else if separator.is_empty() {
        let mut buffer = [0; 4];
        whole.chars().try_for_each(|char| add(char.encode_utf8(&mut buffer)))?;
    } else {
        whole.split(separator).try_for_each(add)?;
    }
    Value::array(pieces)
}

/// `split($separator)`.
pub(super) fn split_by(tools: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    split(input.as_text("split")?, arguments[0].as_text("split")?, &tools.budget)
}

/// `tostring`, and `@text`: text stays, everything else becomes JSON.
pub(super) fn to_string(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    if matches!(input, Value::Text(_)) {
        return Ok(input.clone());
    }
    to_json(tools, input, &[])
}

/// `tojson`, and `@json`.
pub(super) fn to_json(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    Value::text(json::write(input, &tools.budget)?, &tools.budget)
}

/// `fromjson`.
pub(super) fn from_json(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    let text = input.as_text("fromjson")?;
    tools.budget.allocate(2 * text.len())?;
    // What a document of n bytes can grow to in memory, before it is counted piece by piece.
    tools.budget.allocate(text.bytes().filter(|byte| b",[{".contains(byte)).count() * ITEM)?;
    let parsed: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| Stop::error(format!("cannot parse text as JSON: {error}")))?;
    Value::from_json(&parsed, &tools.budget)
}

/// `tonumber`.
pub(super) fn to_number(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    if input.number().is_some() {
        return Ok(input.clone());
    }
    let text = input.as_text("tonumber")?.trim();
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let number = match text.parse::<i128>() {
        Ok(integer) if plain => Some(Value::integer(integer)),
        Ok(_) | Err(_) if plain => text.parse::<f64>().ok().map(Value::Float),
        Ok(_) | Err(_) => None,
    };
    number
        .filter(|number| number.number().is_some_and(f64::is_finite))
        .ok_or_else(|| Stop::error("cannot parse the text as a number"))
}

/// `ascii_downcase`.
pub(super) fn downcase(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    tools.budget.allocate(input.as_text("ascii_downcase")?.len())?;
    Value::text(input.as_text("ascii_downcase")?.to_ascii_lowercase(), &tools.budget)
}

/// `ascii_upcase`.
pub(super) fn upcase(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    tools.budget.allocate(input.as_text("ascii_upcase")?.len())?;
    Value::text(input.as_text("ascii_upcase")?.to_ascii_uppercase(), &tools.budget)
}

/// `startswith($text)`.
pub(super) fn starts_with(_: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    let start = arguments[0].as_text("startswith")?;
    Ok(Value::Bool(input.as_text("startswith")?.starts_with(start.as_str())))
}

/// `endswith($text)`.
pub(super) fn ends_with(_: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    let end = arguments[0].as_text("endswith")?;
    Ok(Value::Bool(input.as_text("endswith")?.ends_with(end.as_str())))
}

/// The text without what `strip` takes off; anything else as it is.
fn stripped(
    tools: &Tools<'_>,
    input: &Value,
    fix: &Value,
    strip: for<'t> fn(&'t str, &str) -> Option<&'t str>,
) -> Outcome<Value> {
    let (Value::Text(text), Value::Text(fix)) = (input, fix) else { return Ok(input.clone()) };
    match strip(text, fix) {
        Some(rest) => Value::text(rest, &tools.budget),
        None => Ok(input.clone()),
    }
}

/// `ltrimstr($text)`.
pub(super) fn strip_start(tools: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    stripped(tools, input, &arguments[0], |text, fix| text.strip_prefix(fix))
}

/// `rtrimstr($text)`.
pub(super) fn strip_end(tools: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    stripped(tools, input, &arguments[0], |text, fix| text.strip_suffix(fix))
}

/// `trim`.
pub(super) fn trim(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    Value::text(input.as_text("trim")?.trim(), &tools.budget)
}

/// `ltrim`.
pub(super) fn trim_start(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    Value::text(input.as_text("ltrim")?.trim_start(), &tools.budget)
}

/// `rtrim`.
pub(super) fn trim_end(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    Value::text(input.as_text("rtrim")?.trim_end(), &tools.budget)
}

/// `explode`: the code points.
pub(super) fn explode(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    let text = input.as_text("explode")?;
    tools.budget.allocate_many(text.len(), ITEM)?;
    Value::array(text.chars().map(|char| Value::Int(u32::from(char).into())).collect())
}

/// `implode`: the text of code points.
pub(super) fn implode(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    let points = &input.as_array("implode")?.items;
    tools.budget.allocate_many(points.len(), 4)?;
    let point = |value: &Value| {
        let Value::Int(point) = value else { return None };
        u32::try_from(*point).ok().and_then(char::from_u32)
    };
    let text: Option<String> = points.iter().map(point).collect();
    Value::text(text.ok_or_else(|| Stop::error("implode wants code points"))?, &tools.budget)
}

/// `join($separator)`: `null` is empty, numbers and booleans are written.
pub(super) fn join(tools: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    let separator = arguments[0].as_text("join")?;
    let mut joined = String::new();
    for (at, item) in input.as_array("join")?.items.iter().enumerate() {
        let length = joined.len();
        if at > 0 {
            joined.push_str(separator);
        }
        match item {
            Value::Null => {}
            Value::Text(text) => joined.push_str(text),
            Value::Array(_) | Value::Object(_) => {
                return Err(Stop::error(format!("join cannot join {}", item.kind())));
            }
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                joined.push_str(&json::write(item, &tools.budget)?);
            }
        }
        tools.budget.allocate(joined.len() - length)?;
    }
    Value::text(joined, &tools.budget)
}

/// `utf8bytelength`.
pub(super) fn byte_length(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    Ok(Value::count(input.as_text("utf8bytelength")?.len()))
}

/// `indices($part)`: where a part begins, or where an element is.
pub(super) fn indices(tools: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    let budget = &tools.budget;
    match (input, &arguments[0]) {
        (Value::Null, _) => Ok(Value::Null),
        (Value::Text(text), Value::Text(part)) => {
            budget.allocate_many(text.len() + part.len(), 4)?;
            let text: Vec<char> = text.chars().collect();
            let part: Vec<char> = part.chars().collect();
            let mut found = Vec::new();
            for at in 0..text.len().saturating_sub(part.len().max(1) - 1) {
                budget.spend(1 + part.len() / 64)?;
                if !part.is_empty() && text[at..].starts_with(&part) {
                    found.push(Value::count(at));
                }
            }
            Value::paid_array(found, budget)
        }
        (Value::Array(array), Value::Array(part)) => places_of(&array.items, &part.items, budget),
        (Value::Array(array), item) => places_of(&array.items, std::slice::from_ref(item), budget),
        (input, part) => {
            Err(Stop::error(format!("cannot look for {} in {}", part.kind(), input.kind())))
        }
    }
}

/// `index($part)`.
pub(super) fn first_index(tools: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    let found = indices(tools, input, arguments)?;
    Ok(found
        .as_array("index")
        .ok()
        .and_then(|found| found.items.first().cloned())
        .unwrap_or_default())
}

/// `rindex($part)`.
pub(super) fn last_index(tools: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    let found = indices(tools, input, arguments)?;
    Ok(found
        .as_array("rindex")
        .ok()
        .and_then(|found| found.items.last().cloned())
        .unwrap_or_default())
}

/// The input as text, with some characters replaced.
fn escaped(
    tools: &Tools<'_>,
    input: &Value,
    escape: fn(char) -> Option<&'static str>,
) -> Outcome<Value> {
    let shown = to_string(tools, input, &[])?;
    let text = shown.as_text("a format")?;
    tools.budget.allocate_many(text.len(), 2)?;
    let mut result = String::with_capacity(text.len());
    for char in text.chars() {
        match escape(char) {
            Some(replacement) => {
                tools.budget.allocate(replacement.len())?;
                result.push_str(replacement);
            }
            None => result.push(char),
        }
    }
    Value::text(result, &tools.budget)
}

/// `@html`.
pub(super) fn html(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    escaped(tools, input, |char| match char {
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '&' => Some("&amp;"),
        '\'' => Some("&#39;"),
        '"' => Some("&quot;"),
        _ => None,
    })
}

/// `@uri`.
pub(super) fn uri(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    let shown = to_string(tools, input, &[])?;
    let text = shown.as_text("a format")?;
    tools.budget.allocate_many(text.len(), 3)?;
    let mut result = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            result.push(char::from(byte));
        } else {
            let digit = |half: u8| char::from(b"0123456789ABCDEF"[usize::from(half)]);
            result.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    Value::text(result, &tools.budget)
}

/// `@sh`: quoted for a shell; the elements of an array one by one.
pub(super) fn sh(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    cells(tools, input, " ", |tools, item| match item {
        Value::Text(_) => {
            let quoted = escaped(tools, item, |char| (char == '\'').then_some("'\\''"))?;
            Ok(format!("'{}'", quoted.as_text("@sh")?))
        }
        Value::Array(_) | Value::Object(_) => {
            Err(Stop::error(format!("{} cannot be quoted for a shell", item.kind())))
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            json::write(item, &tools.budget)
        }
    })
}

/// `@csv`.
pub(super) fn csv(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    input.as_array("@csv")?;
    cells(tools, input, ",", |tools, item| match item {
        Value::Text(_) => {
            let quoted = escaped(tools, item, |char| (char == '"').then_some("\"\""))?;
            Ok(format!("\"{}\"", quoted.as_text("@csv")?))
        }
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Array(_)
        | Value::Object(_) => cell(tools, item),
    })
}

/// `@tsv`.
pub(super) fn tsv(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    input.as_array("@tsv")?;
    cells(tools, input, "\t", |tools, item| match item {
        Value::Text(_) => {
            let quoted = escaped(tools, item, |char| match char {
                '\t' => Some("\\t"),
                '\n' => Some("\\n"),
                '\r' => Some("\\r"),
                '\\' => Some("\\\\"),
                _ => None,
            })?;
            Ok(quoted.as_text("@tsv")?.to_string())
        }
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Array(_)
        | Value::Object(_) => cell(tools, item),
    })
}

fn cell(tools: &Tools<'_>, item: &Value) -> Outcome<String> {
    match item {
        Value::Null => Ok(String::new()),
        Value::Array(_) | Value::Object(_) => {
            Err(Stop::error(format!("{} is no cell of a table", item.kind())))
        }
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
            json::write(item, &tools.budget)
        }
    }
}

/// The elements, each as `show` writes it, with a separator.
fn cells(
    tools: &Tools<'_>,
    input: &Value,
    separator: &str,
    show: fn(&Tools<'_>, &Value) -> Outcome<String>,
) -> Outcome<Value> {
    let items = match input {
        Value::Array(array) => array.items.as_slice(),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Object(_) => std::slice::from_ref(input),
    };
    let mut line = String::new();
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            line.push_str(separator);
        }
        let shown = show(tools, item)?;
        tools.budget.allocate(shown.len() + 2)?;
        line.push_str(&shown);
    }
    Value::text(line, &tools.budget)
}

/// `@base64`.
pub(super) fn base64(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    let shown = to_string(tools, input, &[])?;
    let text = shown.as_text("@base64")?;
    tools.budget.allocate_many(text.len(), 2)?;
    Value::text(STANDARD.encode(text.as_bytes()), &tools.budget)
}

/// `@base64d`.
pub(super) fn from_base64(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    let text = input.as_text("@base64d")?.trim_end_matches('=');
    tools.budget.allocate(text.len())?;
    let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| Stop::error("the text is not Base64"))?;
    Value::text(String::from_utf8_lossy(&bytes), &tools.budget)
}

/// `@urid`.
pub(super) fn from_uri(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    let text = input.as_text("@urid")?.as_bytes();
    tools.budget.allocate(text.len())?;
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        if let (b'%', Some(high), Some(low)) = (byte, digit(at + 1), digit(at + 2)) {
            bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
            at += 3;
        } else {
            bytes.push(*byte);
            at += 1;
        }
    }
    Value::text(String::from_utf8_lossy(&bytes), &tools.budget)
}
