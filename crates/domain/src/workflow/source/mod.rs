//! A document's text as a tree that remembers its lines. YAML 1.2, of which JSON is a subset,
//! without what makes it dangerous: aliases, tags, duplicate members, bottomless nesting.

mod scalar;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};

use crate::Fault;
use crate::storable::clipped;

/// The longest document, in bytes.
const LONGEST: usize = 1024 * 1024;

/// How deep a document may nest; it bounds how deep lists of tasks nest, too.
const DEPTH: usize = 64;

/// The longest name of a member, in bytes.
const LONGEST_NAME: usize = 1024;

/// The most faults that are worth collecting.
const FAULTS: usize = 1_000;

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

/// Reads a document; if that fails, everything that is wrong with its form.
pub(super) fn read(text: &str) -> Result<Node, Vec<Fault>> {
    if text.len() > LONGEST {
        let detail = format!("the document is longer than {LONGEST} bytes");
        return Err(vec![Fault::new("", "document_too_large", detail)]);
    }
    if let Some((before, _)) = text.split_once('\0') {
        let fault = Fault::new("", "malformed_text", "U+0000 cannot be stored");
        return Err(vec![fault.at_line(line(before.split('\n').count()))]);
    }
    let text = scalar::without_surrogates(text);
    let mut reader = Reader {
        events: Parser::new_from_str(&text),
        lines: line(text.lines().count().max(1)),
        path: vec![],
        faults: vec![],
    };
    let root = reader.document();
    match root {
        Ok(root) if reader.faults.is_empty() => Ok(root),
        Ok(_) => Err(reader.faults),
        Err(last) => {
            reader.faults.push(last);
            Err(reader.faults)
        }
    }
}

/// A step from a value to one inside of it.
enum Step {
    Member(String),
    Item(usize),
}

struct Reader<I> {
    events: I,
    /// How many lines there are: what is missing at the end is missing on the last one.
    lines: u32,
    /// Where it reads.
    path: Vec<Step>,
    /// What is wrong and does not keep it from reading on.
    faults: Vec<Fault>,
}

impl<'t, I> Reader<I>
where
    I: Iterator<Item = Result<(Event<'t>, Span), saphyr_parser::ScanError>>,
{
    fn next(&mut self) -> Result<(Event<'t>, u32), Fault> {
        match self.events.next() {
            Some(Ok((event, span))) => Ok((event, line(span.start.line()).min(self.lines))),
            Some(Err(error)) => {
                let at = line(error.marker().line()).min(self.lines);
                if error.info().contains("recursion limit") {
                    return Err(self.too_deep(at));
                }
                let detail = format!("it is no YAML: {}", clipped(error.info(), 200));
                Err(Fault::new(self.pointer(), "malformed_yaml", detail).at_line(at))
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
                (event, line) => break self.node(event, line)?,
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

    fn node(&mut self, event: Event<'t>, line: u32) -> Result<Node, Fault> {
        if self.path.len() > DEPTH {
            return Err(self.too_deep(line));
        }
        let inner = match event {
            Event::Scalar(text, style, _, tag) => {
                self.refuse_tag(tag.is_some(), line);
                Inner::Scalar(self.scalar(text, style, line))
            }
            Event::SequenceStart(_, tag) => {
                self.refuse_tag(tag.is_some(), line);
                self.list()?
            }
            Event::MappingStart(_, tag) => {
                self.refuse_tag(tag.is_some(), line);
                self.map()?
            }
            Event::Alias(_) => {
                self.fault("alias", "aliases are not taken: write the value out", line);
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
                return Err(Fault::new(self.pointer(), "malformed_yaml", detail).at_line(line));
            }
        };
        Ok(Node { line, inner })
    }

    fn list(&mut self) -> Result<Inner, Fault> {
        let mut items = vec![];
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Inner::List(items)),
                (event, line) => {
                    self.path.push(Step::Item(items.len()));
                    items.push(self.node(event, line)?);
                    self.path.pop();
                }
            }
        }
    }

    fn map(&mut self) -> Result<Inner, Fault> {
        let mut members: Vec<(String, Node)> = vec![];
        let mut lines: HashMap<String, u32> = HashMap::new();
        loop {
            let (name, line) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Inner::Map(members)),
                (Event::Scalar(name, _, _, tag), line) => {
                    (self.name(name, tag.is_some(), line), line)
                }
                (_, line) => {
                    let detail = "names of members must be text";
                    return Err(Fault::new(self.pointer(), "malformed_name", detail).at_line(line));
                }
            };
            let (event, value_line) = self.next()?;
            self.path.push(Step::Member(name.clone()));
            let mut node = self.node(event, value_line)?;
            // Block values begin below their name; people look for the name.
            node.line = line;
            if let Some(first) = lines.get(&name) {
                let shown = clipped(&name, 80);
                let detail = format!("`{shown}` stands twice: first on line {first}");
                self.fault("duplicate_field", detail, line);
            } else {
                lines.insert(name.clone(), line);
                members.push((name, node));
            }
            self.path.pop();
        }
    }

    fn name(&mut self, name: Cow<'t, str>, tagged: bool, line: u32) -> String {
        self.refuse_tag(tagged, line);
        if name.contains('\0') {
            self.fault("malformed_text", "U+0000 cannot be stored", line);
        }
        if name.len() > LONGEST_NAME {
            let detail = format!("names of members have at most {LONGEST_NAME} bytes");
            self.fault("malformed_name", detail, line);
            return clipped(&name, LONGEST_NAME);
        }
        name.into_owned()
    }

    fn scalar(&mut self, text: Cow<'t, str>, style: ScalarStyle, line: u32) -> Value {
        if text.contains('\0') {
            self.fault("malformed_text", "U+0000 cannot be stored", line);
        }
        if style != ScalarStyle::Plain {
            return Value::String(text.into_owned());
        }
        match scalar::plain(&text) {
            Ok(value) => value,
            Err(detail) => {
                self.fault("malformed_number", detail, line);
                Value::Null
            }
        }
    }

    fn refuse_tag(&mut self, tagged: bool, line: u32) {
        if tagged {
            self.fault("tag", "tags are not taken: write the plain value", line);
        }
    }

    fn fault(&mut self, code: &str, detail: impl Into<String>, line: u32) {
        if self.faults.len() < FAULTS {
            self.faults.push(Fault::new(self.pointer(), code, detail).at_line(line));
        }
    }

    fn too_deep(&self, line: u32) -> Fault {
        let detail = format!("the document nests deeper than {DEPTH} levels");
        Fault::new(self.pointer(), "nested_too_deep", detail).at_line(line)
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.path {
            pointer.push('/');
            match step {
                Step::Member(name) => pointer.push_str(&escaped(name)),
                Step::Item(at) => pointer.push_str(&at.to_string()),
            }
        }
        pointer
    }
}

/// A name as a segment of a JSON Pointer (RFC 6901, 3).
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn line(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
