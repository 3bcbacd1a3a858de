//! From jaq's parsed term to a program: names are resolved, and what may not run is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern as ParsedPattern, Term};
use jaq_core::path::{Opt, Part as ParsedPart, Path};

use super::CompileError;
use super::guard::refuse;
use super::item::shorten;
use super::pattern::Pattern as Regex;
use super::program::{
    Assignment, Constant, Fold, Kind, Node, Part, Pattern, Piece, Plain, Program, Step,
};
use super::vocabulary::{self, Meaning};

/// How many parts of an expression may lie in each other.
const DEPTH: usize = 80;

/// A result, or why the expression is refused.
pub(super) type Lowered<T> = Result<T, CompileError>;

/// The compiler's state.
pub(super) struct Lowering<'s> {
    /// The names that the surroundings offer.
    offered: &'s [&'s str],
    /// Those of them that are used, with their slots.
    globals: BTreeMap<String, usize>,
    /// The variables in force, the innermost last.
    locals: Vec<(&'s str, usize)>,
    slots: usize,
    depth: usize,
    patterns: BTreeMap<(String, String), Arc<Regex>>,
}

/// Compiles a parsed term.
pub(super) fn lower<'s>(term: &Term<&'s str>, offered: &'s [&'s str]) -> Lowered<Program> {
    let mut lowering = Lowering {
        offered,
        globals: BTreeMap::new(),
        locals: Vec::new(),
        slots: 0,
        depth: 0,
        patterns: BTreeMap::new(),
    };
    let root = lowering.term(term)?;
    Ok(Program {
        root,
        globals: lowering.globals.into_iter().collect(),
        slots: lowering.slots,
        patterns: lowering.patterns,
    })
}

/// A function that may not be called, or that nobody knows.
fn unknown(name: &str, arguments: usize) -> CompileError {
    let shown = shorten(name, 40);
    match vocabulary::instead(name) {
        Some(instead) => refuse(format!("{shown} may not be used in an expression"), Some(instead)),
        None => refuse(
            format!("unknown function {shown}/{arguments}"),
            vocabulary::suggestion(name, arguments).as_deref(),
        ),
    }
}

impl<'s> Lowering<'s> {
    /// Compiles a term one level deeper.
    pub(super) fn term(&mut self, term: &Term<&'s str>) -> Lowered<Node> {
        if self.depth == DEPTH {
            let detail = format!("the expression nests deeper than {DEPTH} levels");
            return Err(refuse(
                detail,
                Some("bind parts of it to variables, or use several tasks"),
            ));
        }
        self.depth += 1;
        let node = self.kind(term);
        self.depth -= 1;
        node
    }

    fn boxed(&mut self, term: &Term<&'s str>) -> Lowered<Box<Node>> {
        self.term(term).map(Box::new)
    }

    fn all(&mut self, terms: &[Term<&'s str>]) -> Lowered<Vec<Node>> {
        terms.iter().map(|term| self.term(term)).collect()
    }

    fn kind(&mut self, term: &Term<&'s str>) -> Lowered<Node> {
        let kind = match term {
            Term::Id => Kind::Identity,
            Term::Recurse => Kind::Recurse,
            Term::Num(digits) => Kind::Constant(number(digits)?),
            Term::Str(format, parts) => self.text(*format, parts)?,
            Term::Arr(items) => {
                Kind::Array(items.as_deref().map(|items| self.boxed(items)).transpose()?)
            }
            Term::Obj(entries) => self.object(entries)?,
            Term::Neg(term) => {
                if let Term::Num(digits) = &**term {
                    Kind::Constant(negative(number(digits)?))
                } else {
                    Kind::Negate(self.boxed(term)?)
                }
            }
            Term::BinOp(left, operator, right) => return self.operator(left, operator, right),
            Term::Label(..) => return Err(unknown("label", 0)),
            Term::Break(_) => return Err(unknown("break", 0)),
            Term::Fold(word, source, pattern, arguments) => {
                self.fold(word, source, pattern, arguments)?
            }
            Term::TryCatch(body, handler) => Kind::Try(
                self.boxed(body)?,
                handler.as_deref().map(|handler| self.boxed(handler)).transpose()?,
            ),
            Term::IfThenElse(branches, otherwise) => {
                let branch = |(condition, then): &(Term<&'s str>, Term<&'s str>)| {
                    Ok((self.term(condition)?, self.term(then)?))
                };
                let branches = branches.iter().map(branch).collect::<Lowered<_>>()?;
                let otherwise = otherwise.as_deref().map(|term| self.boxed(term)).transpose()?;
                Kind::If(branches, otherwise)
            }
            Term::Def(..) => return Err(unknown("def", 0)),
            Term::Call(name, arguments) => return self.call(name, arguments),
            Term::Var(name) => Kind::Variable(self.variable(name)?),
            Term::Path(base, Path(steps)) => Kind::Path(self.boxed(base)?, self.steps(steps)?),
        };
        Ok(kind.node())
    }

    fn variable(&mut self, name: &str) -> Lowered<usize> {
        if let Some((_, slot)) = self.locals.iter().rev().find(|(known, _)| *known == name) {
            return Ok(*slot);
        }
        let bare = name.trim_start_matches('$');
        if let Some(slot) = self.globals.get(bare) {
            return Ok(*slot);
        }
        if self.offered.contains(&bare) {
            let slot = self.slot();
            self.globals.insert(bare.to_owned(), slot);
            return Ok(slot);
        }
        let shown = shorten(name, 40);
        if let Some(instead) = vocabulary::instead(name) {
            return Err(refuse(format!("{shown} may not be used in an expression"), Some(instead)));
        }
        let known: Vec<String> = self.offered.iter().map(|name| format!("${name}")).collect();
        let hint = (!known.is_empty()).then(|| format!("known here: {}", known.join(", ")));
        Err(refuse(format!("unknown variable {shown}"), hint.as_deref()))
    }

    fn slot(&mut self) -> usize {
        self.slots += 1;
        self.slots - 1
    }

    /// Compiles with the variables of a pattern in force.
    fn bound<T>(
        &mut self,
        pattern: &ParsedPattern<&'s str>,
        inside: impl FnOnce(&mut Self) -> Lowered<T>,
    ) -> Lowered<(Pattern, T)> {
        let outer = self.locals.len();
        let pattern = self.pattern(pattern)?;
        let inside = inside(self)?;
        self.locals.truncate(outer);
        Ok((pattern, inside))
    }

    fn pattern(&mut self, pattern: &ParsedPattern<&'s str>) -> Lowered<Pattern> {
        let parts = match pattern {
            ParsedPattern::Var(name) => {
                let slot = self.slot();
                self.locals.push((name, slot));
                return Ok(Pattern::Variable(slot));
            }
            ParsedPattern::Arr(parts) => {
                let part = |(at, part)| {
                    let at = i128::try_from(at).unwrap_or(i128::MAX);
                    Ok((Kind::Constant(Constant::Int(at)).node(), self.pattern(part)?))
                };
                parts.iter().enumerate().map(part).collect::<Lowered<_>>()?
            }
            ParsedPattern::Obj(parts) => {
                let part = |(key, part): &(Term<&'s str>, ParsedPattern<&'s str>)| {
                    let key = self.term(key)?;
                    if !key.single {
                        return Err(refuse("a key of a pattern must give one value", None));
                    }
                    Ok((key, self.pattern(part)?))
                };
                parts.iter().map(part).collect::<Lowered<_>>()?
            }
        };
        Ok(Pattern::Parts(parts))
    }

    fn text(
        &mut self,
        format: Option<&'s str>,
        parts: &[StrPart<&'s str, Term<&'s str>>],
    ) -> Lowered<Kind> {
        let format = format.map(|name| self.format(name)).transpose()?;
        let mut pieces = Vec::new();
        let mut holes = Vec::new();
        let mut literal = String::new();
        for part in parts {
            match part {
                StrPart::Str(text) => literal.push_str(text),
                StrPart::Char(char) => literal.push(*char),
                StrPart::Term(term) => {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    pieces.push(Piece::Hole);
                    holes.push(self.term(term)?);
                }
            }
        }
        if holes.is_empty() {
            return Ok(Kind::Constant(Constant::Text(Arc::new(literal))));
        }
        pieces.push(Piece::Literal(literal));
        Ok(Kind::Text(format, pieces, holes))
    }

    #[expect(clippy::unused_self, reason = "a part of the compiler like its neighbours")]
    fn format(&self, name: &str) -> Lowered<Plain> {
        match vocabulary::find(name, 0) {
            Some(Meaning::Plain(format)) => Ok(format),
            Some(Meaning::Special(_) | Meaning::Written(_)) | None => Err(unknown(name, 0)),
        }
    }

    fn object(&mut self, entries: &[(Term<&'s str>, Option<Term<&'s str>>)]) -> Lowered<Kind> {
        let mut nodes = Vec::new();
        for (key, value) in entries {
            let (key, value) = match (key, value) {
                (key, Some(value)) => (self.term(key)?, self.term(value)?),
                (Term::Var(name), None) => {
                    let key = Constant::Text(Arc::new(name.trim_start_matches('$').to_owned()));
                    (Kind::Constant(key).node(), Kind::Variable(self.variable(name)?).node())
                }
                (key, None) => {
                    let step = Step { part: Part::Index(self.term(key)?), optional: false };
                    (self.term(key)?, from_input(vec![step]))
                }
            };
            nodes.extend([key, value]);
        }
        Ok(Kind::Object(nodes))
    }

    fn operator(
        &mut self,
        left: &Term<&'s str>,
        operator: &BinaryOp<&'s str>,
        right: &Term<&'s str>,
    ) -> Lowered<Node> {
        let kind = match operator {
            BinaryOp::Pipe(None) => return self.pipe(left, right),
            BinaryOp::Pipe(Some(pattern)) => {
                let source = self.boxed(left)?;
                let (pattern, body) = self.bound(pattern, |lowering| lowering.boxed(right))?;
                Kind::Bind(source, pattern, body)
            }
            BinaryOp::Comma => return self.comma(left, right),
            BinaryOp::Alt => Kind::Alternative(self.boxed(left)?, self.boxed(right)?),
            BinaryOp::Or => Kind::Logic(self.boxed(left)?, true, self.boxed(right)?),
            BinaryOp::And => Kind::Logic(self.boxed(left)?, false, self.boxed(right)?),
            BinaryOp::Math(operator) => {
                Kind::Math(*operator, Box::new([self.term(right)?, self.term(left)?]))
            }
            BinaryOp::Cmp(comparison) => {
                Kind::Compare(*comparison, Box::new([self.term(right)?, self.term(left)?]))
            }
            BinaryOp::Assign => self.assign(left, Assignment::Set, right)?,
            BinaryOp::Update => self.assign(left, Assignment::Update, right)?,
            BinaryOp::UpdateMath(operator) => {
                self.assign(left, Assignment::Math(*operator), right)?
            }
            BinaryOp::UpdateAlt => self.assign(left, Assignment::Alternative, right)?,
        };
        Ok(kind.node())
    }

    fn assign(
        &mut self,
        left: &Term<&'s str>,
        assignment: Assignment,
        right: &Term<&'s str>,
    ) -> Lowered<Kind> {
        Ok(Kind::Assign(self.boxed(left)?, assignment, self.boxed(right)?))
    }

    /// `a | b | c`, however long it is.
    fn pipe(&mut self, first: &Term<&'s str>, rest: &Term<&'s str>) -> Lowered<Node> {
        let mut stages = vec![self.term(first)?];
        let mut rest = rest;
        while let Term::BinOp(left, BinaryOp::Pipe(None), right) = rest {
            stages.push(self.term(left)?);
            rest = right;
        }
        let last = self.term(rest)?;
        Ok(stages.into_iter().rev().fold(last, |rest, stage| pipe(stage, rest)))
    }

    /// `a, b, c`, however long it is.
    fn comma(&mut self, first: &Term<&'s str>, last: &Term<&'s str>) -> Lowered<Node> {
        let mut terms = vec![last];
        let mut first = first;
        while let Term::BinOp(left, BinaryOp::Comma, right) = first {
            terms.push(right);
            first = left;
        }
        terms.push(first);
        let nodes = terms.into_iter().rev().map(|term| self.term(term));
        Ok(Kind::Comma(nodes.collect::<Lowered<_>>()?).node())
    }

    fn fold(
        &mut self,
        word: &str,
        source: &Term<&'s str>,
        pattern: &ParsedPattern<&'s str>,
        arguments: &[Term<&'s str>],
    ) -> Lowered<Kind> {
        let (init, update, extract) = match (word, arguments) {
            ("reduce" | "foreach", [init, update]) => (init, update, None),
            ("foreach", [init, update, extract]) => (init, update, Some(extract)),
            _ => {
                let wanted = "(start; step), and foreach perhaps a third";
                return Err(refuse(format!("{word} takes {wanted}"), None));
            }
        };
        let source = self.term(source)?;
        let init = self.term(init)?;
        let (pattern, (update, extract)) = self.bound(pattern, |lowering| {
            let update = lowering.term(update)?;
            let extract = extract.map(|extract| lowering.term(extract)).transpose()?;
            Ok((update, extract))
        })?;
        let itself = || (word == "foreach").then(|| Kind::Identity.node());
        let extract = extract.or_else(itself);
        Ok(Kind::Fold(Box::new(Fold { source, pattern, init, update, extract })))
    }

    fn steps(&mut self, steps: &[(ParsedPart<Term<&'s str>>, Opt)]) -> Lowered<Vec<Step>> {
        let mut bound = |bound: &Option<Term<&'s str>>| match bound {
            Some(bound) => self.term(bound),
            None => Ok(Kind::Constant(Constant::Null).node()),
        };
        let mut lowered = Vec::new();
        for (part, optional) in steps {
            let part = match part {
                ParsedPart::Index(key) => Part::Index(bound(&Some(key.clone()))?),
                ParsedPart::Range(None, None) => Part::Each,
                ParsedPart::Range(start, end) => {
                    Part::Slice(Box::new([bound(start)?, bound(end)?]))
                }
            };
            lowered.push(Step { part, optional: matches!(optional, Opt::Optional) });
        }
        Ok(lowered)
    }

    fn call(&mut self, name: &str, arguments: &[Term<&'s str>]) -> Lowered<Node> {
        let meaning = vocabulary::find(name, arguments.len());
        let meaning = meaning.ok_or_else(|| unknown(name, arguments.len()))?;
        let nodes = self.all(arguments)?;
        self.remember_pattern(name, &nodes)?;
        Ok(match meaning {
            Meaning::Plain(function) => Kind::Plain(function, nodes).node(),
            Meaning::Special(special) => Kind::Special(special, nodes).node(),
            Meaning::Written(written) => super::written::write_out(written, nodes),
        })
    }

    /// Compiles a regular expression that is spelled out, so that a mistake shows now.
    fn remember_pattern(&mut self, name: &str, nodes: &[Node]) -> Lowered<()> {
        let (flags, more) = match name {
            "test" | "match" | "capture" => (nodes.get(1), ""),
            "scan" | "splits" => (nodes.get(1), "g"),
            "split" if nodes.len() == 2 => (nodes.get(1), "g"),
            "sub" => (nodes.get(2), ""),
            "gsub" => (nodes.get(2), "g"),
            _ => return Ok(()),
        };
        let spelled_out = |node: &Node| {
            let Kind::Constant(Constant::Text(text)) = &node.kind else { return None };
            Some(text.to_string())
        };
        let Some(text) = nodes.first().and_then(spelled_out) else { return Ok(()) };
        let flags = match flags {
            None => String::new(),
            Some(flags) => match spelled_out(flags) {
                Some(flags) => flags,
                None => return Ok(()),
            },
        };
        let flags = flags + more;
        let regex = Regex::compile(&text, &flags).map_err(|detail| refuse(detail, None))?;
        self.patterns.insert((text, flags), Arc::new(regex));
        Ok(())
    }
}

/// `left | right`.
pub(super) fn pipe(left: Node, right: Node) -> Node {
    Kind::Pipe(Box::new(left), Box::new(right)).node()
}

/// `.` followed by steps.
pub(super) fn from_input(steps: Vec<Step>) -> Node {
    Kind::Path(Box::new(Kind::Identity.node()), steps).node()
}

fn number(digits: &str) -> Lowered<Constant> {
    let float = || digits.parse::<f64>().ok().filter(|float| float.is_finite());
    match digits.parse::<i128>() {
        Ok(integer) if integer <= i128::from(u64::MAX) => Ok(Constant::Int(integer)),
        Ok(_) | Err(_) => float().map(Constant::Float).ok_or_else(|| {
            refuse(format!("{} is too large for a number", shorten(digits, 20)), None)
        }),
    }
}

fn negative(number: Constant) -> Constant {
    match number {
        Constant::Int(integer) if -integer >= i128::from(i64::MIN) => Constant::Int(-integer),
        #[expect(clippy::cast_precision_loss, reason = "too small for an integer here")]
        Constant::Int(integer) => Constant::Float(-(integer as f64)),
        Constant::Float(float) => Constant::Float(-float),
        other @ (Constant::Null | Constant::Bool(_) | Constant::Text(_)) => other,
    }
}
