//! A document's text as a tree that remembers its lines. YAML 1.2, of which JSON is a subset,
//! without what makes it dangerous: aliases, tags, duplicate members, bottomless nesting.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value};

use crate::Fault;

/// The longest document, in bytes.
const LONGEST: usize = 1024 * 1024;

/// How deep a document may nest.
const DEPTH: usize = 64;

/// A value and the line it begins on.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: u32,
    pub(super) inner: Inner,
}

#[derive(Debug)]
pub(super) enum Inner {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value as JSON.
    pub(super) fn to_json(&self) -> Value {
        match &self.inner {
            Inner::Scalar(value) => value.clone(),
            Inner::List(items) => items.iter().map(Self::to_json).collect(),
            Inner::Map(members) => Value::Object(
                members
                    .iter()
                    .map(|(name, node)| (name.clone(), node.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }
}

/// Reads a document.
pub(super) fn read(text: &str) -> Result<Node, Vec<Fault>> {
    if text.len() > LONGEST {
        let detail = format!("the document is longer than {LONGEST} bytes");
        return Err(vec![Fault::new("", "document_too_large", detail)]);
    }
    let mut reader = Reader { events: Parser::new_from_str(text), faults: vec![] };
    let root = reader.document().map_err(|fault| vec![fault])?;
    if reader.faults.is_empty() { Ok(root) } else { Err(reader.faults) }
}

struct Reader<I> {
    events: I,
    faults: Vec<Fault>,
}

impl<'t, I> Reader<I>
where
    I: Iterator<Item = Result<(Event<'t>, Span), saphyr_parser::ScanError>>,
{
    fn next(&mut self) -> Result<(Event<'t>, u32), Fault> {
        match self.events.next() {
            Some(Ok((event, span))) => Ok((event, line(span.start.line()))),
            Some(Err(error)) => {
                let detail = format!("it is no YAML: {}", error.info());
                Err(Fault::new("", "malformed_yaml", detail).at_line(line(error.marker().line())))
            }
            None => Ok((Event::StreamEnd, 1)),
        }
    }

    fn document(&mut self) -> Result<Node, Fault> {
        let root = loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                (Event::StreamEnd | Event::DocumentEnd, line) => {
                    let fault = Fault::new("", "empty_document", "the document is empty");
                    return Err(fault.at_line(line));
                }
                (event, line) => break self.node(event, line, "", 0)?,
            }
        };
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(root),
                (Event::DocumentStart(_), line) => {
                    let detail = "one document at a time, please: a second one begins here";
                    return Err(Fault::new("", "several_documents", detail).at_line(line));
                }
                _ => {}
            }
        }
    }

    fn node(
        &mut self,
        event: Event<'t>,
        line: u32,
        pointer: &str,
        depth: usize,
    ) -> Result<Node, Fault> {
        if depth > DEPTH {
            let detail = format!("the document nests deeper than {DEPTH} levels");
            return Err(Fault::new(pointer, "nested_too_deep", detail).at_line(line));
        }
        let inner = match event {
            Event::Scalar(text, style, _, tag) => {
                self.refuse_tag(tag.is_some(), pointer, line);
                Inner::Scalar(self.scalar(&text, style, pointer, line))
            }
            Event::SequenceStart(_, tag) => {
                self.refuse_tag(tag.is_some(), pointer, line);
                self.list(pointer, depth)?
            }
            Event::MappingStart(_, tag) => {
                self.refuse_tag(tag.is_some(), pointer, line);
                self.map(pointer, depth)?
            }
            Event::Alias(_) => {
                let fault = Fault::new(pointer, "alias", "aliases are not taken: write it out");
                self.faults.push(fault.at_line(line));
                Inner::Scalar(Value::Null)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => {
                let detail = "the document ends in the middle";
                return Err(Fault::new(pointer, "malformed_yaml", detail).at_line(line));
            }
        };
        Ok(Node { line, inner })
    }

    fn list(&mut self, pointer: &str, depth: usize) -> Result<Inner, Fault> {
        let mut items = vec![];
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Inner::List(items)),
                (event, line) => {
                    let pointer = format!("{pointer}/{}", items.len());
                    items.push(self.node(event, line, &pointer, depth + 1)?);
                }
            }
        }
    }

    fn map(&mut self, pointer: &str, depth: usize) -> Result<Inner, Fault> {
        let mut members: Vec<(String, Node)> = vec![];
        loop {
            let (name, line) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Inner::Map(members)),
                (Event::Scalar(name, ..), line) => (name.into_owned(), line),
                (_, line) => {
                    let detail = "names of members must be text";
                    return Err(Fault::new(pointer, "malformed_name", detail).at_line(line));
                }
            };
            let pointer = format!("{pointer}/{}", escaped(&name));
            let (event, value_line) = self.next()?;
            let mut node = self.node(event, value_line, &pointer, depth + 1)?;
            // Block values begin below their name; people look for the name.
            node.line = line;
            if let Some((_, first)) = members.iter().find(|(known, _)| *known == name) {
                let detail = format!("`{name}` stands twice: first on line {}", first.line);
                self.faults.push(Fault::new(pointer, "duplicate_field", detail).at_line(line));
            } else {
                members.push((name, node));
            }
        }
    }

    fn refuse_tag(&mut self, tagged: bool, pointer: &str, line: u32) {
        if tagged {
            let fault = Fault::new(pointer, "tag", "tags are not taken: write the plain value");
            self.faults.push(fault.at_line(line));
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, pointer: &str, line: u32) -> Value {
        if text.contains('\0') {
            let fault = Fault::new(pointer, "malformed_text", "U+0000 cannot be stored");
            self.faults.push(fault.at_line(line));
        }
        if style != ScalarStyle::Plain {
            return Value::String(text.to_owned());
        }
        match plain(text) {
            Ok(value) => value,
            Err(detail) => {
                self.faults.push(Fault::new(pointer, "malformed_number", detail).at_line(line));
                Value::Null
            }
        }
    }
}

/// A plain scalar by the core schema of YAML 1.2 (10.3.2).
fn plain(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if let Ok(whole) = text.strip_prefix('+').unwrap_or(text).parse::<i64>() {
        return Ok(Value::Number(whole.into()));
    }
    let based = |prefix: &str, base: u32| {
        text.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, base).ok())
    };
    if let Some(whole) = based("0x", 16).or_else(|| based("0o", 8)) {
        return Ok(Value::Number(whole.into()));
    }
    let unsigned = text.trim_start_matches(['+', '-']);
    if unsigned.eq_ignore_ascii_case(".inf") || text.eq_ignore_ascii_case(".nan") {
        return Err(format!("`{text}` is no number that JSON knows"));
    }
    let numeric = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    match text.parse::<f64>() {
        Ok(number) if numeric => Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| format!("`{text}` is too large a number")),
        Ok(_) | Err(_) => Ok(Value::String(text.to_owned())),
    }
}

/// A name as a segment of a JSON Pointer (RFC 6901, 3).
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn line(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
