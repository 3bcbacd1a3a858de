//! What a text must be before jaq may parse it, so that parsing cannot exhaust the stack.
//!
//! jaq's lexer and parser call themselves for each bracket, prefix and operator. All of these are
//! counted here first: brackets as text, the rest as tokens.

use jaq_core::load::lex::{Lexer, StrPart, Tok, Token};
use jaq_core::load::parse::{Parser, Term};

use super::CompileError;
use super::item::shorten;

/// The longest expression, in bytes.
pub(super) const LONGEST: usize = 16 << 10;

/// How many brackets may lie in each other.
pub(super) const BRACKETS: usize = 48;

/// How many words and signs that stand before a term there may be.
const PREFIXES: usize = 150;

/// How many operators there may be.
const OPERATORS: usize = 600;

/// An error with this detail and hint.
pub(super) fn refuse(detail: impl Into<String>, hint: Option<&str>) -> CompileError {
    CompileError { detail: detail.into(), hint: hint.map(str::to_owned) }
}

/// Parses an expression and hands it to `use_it`.
pub(super) fn with_parsed<T>(
    source: &str,
    use_it: impl FnOnce(Term<&str>) -> Result<T, CompileError>,
) -> Result<T, CompileError> {
    if source.len() > LONGEST {
        return Err(refuse(
            format!("the expression is longer than {} KiB", LONGEST >> 10),
            Some("split the work over several tasks"),
        ));
    }
    check_brackets(source)?;
    let tokens = Lexer::new(source).lex().map_err(|errors| {
        let found = errors.first().map_or("", |(_, found)| *found);
        unexpected(source, found, "the expression cannot be read")
    })?;
    let mut counts = Counts::default();
    counts.add(&tokens)?;
    let term = Parser::new(&tokens).parse(Parser::term).map_err(|errors| {
        let Some((expected, found)) = errors.first() else {
            return refuse("the expression cannot be read", None);
        };
        let found = Token::opt_as_str(*found, source);
        unexpected(source, found, &format!("{} is expected", expected.as_str()))
    })?;
    use_it(term)
}

/// The error for something unexpected, with its place.
fn unexpected(source: &str, found: &str, expected: &str) -> CompileError {
    let start = (found.as_ptr() as usize).saturating_sub(source.as_ptr() as usize);
    let place = source.get(..start).map_or(0, |before| before.chars().count());
    if found.is_empty() {
        return refuse(format!("{expected} at the end of the expression"), None);
    }
    let found = shorten(found, 20);
    refuse(format!("{expected} at character {}, not {found:?}", place + 1), None)
}

/// What is open at a place of the text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// A bracket that this character closes.
    Bracket(char),
    /// A text.
    Text,
}

/// Checks that brackets match and do not lie in each other too deeply; reads texts and comments
/// as jaq does.
fn check_brackets(source: &str) -> Result<(), CompileError> {
    let mut open: Vec<Open> = Vec::new();
    let mut chars = source.char_indices();
    while let Some((at, char)) = chars.next() {
        let inside_text = open.last() == Some(&Open::Text);
        match char {
            '"' if inside_text => drop(open.pop()),
            '\\' if inside_text => {
                if let Some((_, '(')) = chars.next() {
                    open.push(Open::Bracket(')'));
                }
            }
            _ if inside_text => {}
            '"' => open.push(Open::Text),
            '(' => open.push(Open::Bracket(')')),
            '[' => open.push(Open::Bracket(']')),
            '{' => open.push(Open::Bracket('}')),
            ')' | ']' | '}' if open.pop() == Some(Open::Bracket(char)) => {}
            ')' | ']' | '}' => {
                let place = source[..at].chars().count() + 1;
                return Err(refuse(format!("{char:?} at character {place} closes nothing"), None));
            }
            '#' => skip_comment(&mut chars),
            _ => {}
        }
        if open.len() > BRACKETS {
            let detail = format!("the expression nests deeper than {BRACKETS} brackets");
            return Err(refuse(
                detail,
                Some("bind parts of it to variables, or use several tasks"),
            ));
        }
    }
    match open.last() {
        None => Ok(()),
        Some(Open::Text) => Err(refuse("a text is not closed", Some("add a closing \""))),
        Some(Open::Bracket(close)) => Err(refuse(format!("{close:?} is missing at the end"), None)),
    }
}

/// Skips to the end of the line; a backslash before it makes the comment go on.
fn skip_comment(chars: &mut std::str::CharIndices<'_>) {
    let mut backslashes = 0;
    while let Some((_, char)) = chars.next() {
        match char {
            '\\' => backslashes += 1,
            '\n' if backslashes % 2 == 0 => return,
            '\r' if chars.as_str().starts_with('\n') => {}
            _ => backslashes = 0,
        }
    }
}

/// What was counted.
#[derive(Default)]
struct Counts {
    prefixes: usize,
    operators: usize,
}

impl Counts {
    /// Counts tokens; as deep as brackets lie in each other.
    fn add(&mut self, tokens: &[Token<&str>]) -> Result<(), CompileError> {
        for Token(text, kind) in tokens {
            match kind {
                Tok::Word => match *text {
                    "try" | "catch" | "if" | "then" | "else" | "reduce" | "foreach" | "label"
                    | "def" => self.prefixes += 1,
                    "as" | "and" | "or" => self.operators += 1,
                    _ => {}
                },
                Tok::Sym => match *text {
                    "-" => {
                        self.prefixes += 1;
                        self.operators += 1;
                    }
                    ":" | ";" | "?" | ")" | "]" | "}" => {}
                    sign => self.operators += usize::from(!sign.starts_with('.')),
                },
                Tok::Str(parts) => {
                    for part in parts {
                        match part {
                            StrPart::Term(token) => self.add(std::slice::from_ref(token))?,
                            StrPart::Str(_) | StrPart::Char(_) => {}
                        }
                    }
                }
                Tok::Block(tokens) => self.add(tokens)?,
                Tok::Var | Tok::Fmt | Tok::Num => {}
            }
        }
        if self.prefixes > PREFIXES || self.operators > OPERATORS {
            return Err(refuse(
                "the expression has too many operators and keywords",
                Some("split the work over several tasks"),
            ));
        }
        Ok(())
    }
}
