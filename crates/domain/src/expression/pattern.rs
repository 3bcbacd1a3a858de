//! Regular expressions whose every step is counted: a machine of parallel threads over characters.
//!
//! It takes time in proportion to text times pattern and never goes back; no other engine tells
//! how much of an allowance it used.

use std::rc::Rc;

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

use super::budget::{Budget, Outcome};

/// How many instructions a pattern may have.
const LONGEST: usize = 2_000;

/// How many ranges its character classes may have in all.
const RANGES: usize = 20_000;

/// How many groups may capture.
const GROUPS: usize = 32;

/// How many characters a pattern's text may have.
const TEXT: usize = 4_096;

/// A compiled regular expression.
#[derive(Debug)]
pub(super) struct Pattern {
    code: Vec<Op>,
    classes: Vec<Box<[(char, char)]>>,
    /// The names of the groups; group 0 is the whole.
    pub(super) groups: Vec<Option<String>>,
    /// Find all matches, not only the first.
    pub(super) all: bool,
    /// Empty matches do not count.
    pub(super) skip_empty: bool,
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Char(char),
    Class(usize),
    Look(Look),
    /// Go on at both, the first preferred.
    Split(usize, usize),
    Jump(usize),
    Save(usize),
    Match,
}

/// Where the groups of a match begin and end, in characters; `None` for a group without part.
pub(super) type Places = Vec<Option<(usize, usize)>>;

/// A thread: where it is in the code, and where its groups begin and end.
type Thread = (usize, Rc<[usize]>);

/// No place.
const NOWHERE: usize = usize::MAX;

impl Pattern {
    /// Steps that compiling costs.
    pub(super) const COST: usize = 4_000;

    /// Bytes that a compiled pattern may take.
    pub(super) const SIZE: usize = 64 << 10;

    /// Compiles a pattern; the flags are letters of `gnimslxp`.
    pub(super) fn compile(text: &str, flags: &str) -> Result<Self, String> {
        if text.len() > TEXT {
            return Err(format!("a regular expression is longer than {TEXT} bytes"));
        }
        if let Some(flag) = flags.chars().find(|flag| !"gnimslxp".contains(*flag)) {
            return Err(format!("{flag:?} is no flag of a regular expression"));
        }
        let has = |flag| flags.contains(flag);
        let hir = ParserBuilder::new()
            .nest_limit(40)
            .case_insensitive(has('i'))
            .multi_line(has('m') || has('p'))
            .dot_matches_new_line(has('s') || has('p'))
            .swap_greed(has('l'))
            .ignore_whitespace(has('x'))
            .build()
            .parse(text)
            .map_err(|error| format!("invalid regular expression: {}", reason(&error)))?;
        let mut pattern = Self {
            code: Vec::new(),
            classes: Vec::new(),
            groups: vec![None],
            all: has('g'),
            skip_empty: has('n'),
        };
        pattern.group(0, &hir)?;
        pattern.emit(Op::Match)?;
        Ok(pattern)
    }

    fn emit(&mut self, op: Op) -> Result<usize, String> {
        if self.code.len() >= LONGEST {
            return Err("a regular expression is too large".to_owned());
        }
        self.code.push(op);
        Ok(self.code.len() - 1)
    }

    fn group(&mut self, number: usize, inside: &Hir) -> Result<(), String> {
        self.emit(Op::Save(2 * number))?;
        self.add(inside)?;
        self.emit(Op::Save(2 * number + 1)).map(drop)
    }

    /// The code of a part; as deep as the parser lets patterns be.
    fn add(&mut self, hir: &Hir) -> Result<(), String> {
        match hir.kind() {
            HirKind::Empty => Ok(()),
            HirKind::Literal(literal) => String::from_utf8_lossy(&literal.0)
                .chars()
                .try_for_each(|char| self.emit(Op::Char(char)).map(drop)),
            HirKind::Class(class) => self.class(class),
            HirKind::Look(look) => self.emit(Op::Look(*look)).map(drop),
            HirKind::Repetition(repetition) => self.repeat(repetition),
            HirKind::Capture(capture) => {
                let number = capture.index as usize;
                if number > GROUPS {
                    return Err(format!("a regular expression has more than {GROUPS} groups"));
                }
                if self.groups.len() <= number {
                    self.groups.resize(number + 1, None);
                }
                self.groups[number] = capture.name.as_deref().map(str::to_owned);
                self.group(number, &capture.sub)
            }
            HirKind::Concat(parts) => parts.iter().try_for_each(|part| self.add(part)),
            HirKind::Alternation(parts) => self.alternate(parts),
        }
    }

    fn class(&mut self, class: &Class) -> Result<(), String> {
        let ranges: Box<[(char, char)]> = match class {
            Class::Unicode(class) => {
                class.ranges().iter().map(|range| (range.start(), range.end())).collect()
            }
            Class::Bytes(class) => class
                .ranges()
                .iter()
                .map(|range| (char::from(range.start()), char::from(range.end())))
                .collect(),
        };
        let known = self.classes.iter().position(|known| *known == ranges);
        let number = known.unwrap_or(self.classes.len());
        if known.is_none() {
            let total: usize = self.classes.iter().map(|class| class.len()).sum();
            if total + ranges.len() > RANGES {
                return Err("a regular expression is too large".to_owned());
            }
            self.classes.push(ranges);
        }
        self.emit(Op::Class(number)).map(drop)
    }

    fn repeat(&mut self, repetition: &Repetition) -> Result<(), String> {
        for _ in 0..repetition.min {
            let before = self.code.len();
            self.add(&repetition.sub)?;
            if self.code.len() == before {
                return Ok(());
            }
        }
        let Some(max) = repetition.max else {
            let fork = self.emit(Op::Match)?;
            self.add(&repetition.sub)?;
            let jump = self.emit(Op::Jump(fork))?;
            self.code[fork] = split(repetition.greedy, fork + 1, jump + 1);
            return Ok(());
        };
        let mut forks = Vec::new();
        for _ in repetition.min..max {
            forks.push(self.emit(Op::Match)?);
            self.add(&repetition.sub)?;
        }
        let end = self.code.len();
        for fork in forks {
            self.code[fork] = split(repetition.greedy, fork + 1, end);
        }
        Ok(())
    }

    fn alternate(&mut self, parts: &[Hir]) -> Result<(), String> {
        let mut jumps = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            if at + 1 == parts.len() {
                self.add(part)?;
                break;
            }
            let fork = self.emit(Op::Match)?;
            self.add(part)?;
            jumps.push(self.emit(Op::Match)?);
            self.code[fork] = Op::Split(fork + 1, self.code.len());
        }
        let end = self.code.len();
        for jump in jumps {
            self.code[jump] = Op::Jump(end);
        }
        Ok(())
    }

    /// All matches in a text: the first one only, unless it is to find all.
    pub(super) fn find(&self, text: &[char], budget: &Budget) -> Outcome<Vec<Places>> {
        let mut found = Vec::new();
        let mut start = 0;
        while start <= text.len() {
            let Some(places) = self.search(text, start, budget)? else { break };
            let Some((begin, end)) = places[0] else { break };
            start = if end == begin { end + 1 } else { end };
            if !(self.skip_empty && begin == end) {
                budget.allocate(24 * places.len() + 48)?;
                found.push(places);
            }
            if !self.all {
                break;
            }
        }
        Ok(found)
    }

    /// The first match at or after `start`.
    fn search(&self, text: &[char], start: usize, budget: &Budget) -> Outcome<Option<Places>> {
        budget.spend(1 + self.code.len() / 64)?;
        let mut search =
            Search { pattern: self, text, budget, seen: vec![NOWHERE; self.code.len()] };
        let found = search.run(start)?;
        Ok(found.map(|slots| {
            let place = |pair: &[usize]| (pair[1] != NOWHERE).then_some((pair[0], pair[1]));
            slots.chunks_exact(2).map(place).collect()
        }))
    }
}

/// One search through a text.
struct Search<'s> {
    pattern: &'s Pattern,
    text: &'s [char],
    budget: &'s Budget,
    /// Where each instruction last had a thread.
    seen: Vec<usize>,
}

impl Search<'_> {
    fn run(&mut self, start: usize) -> Outcome<Option<Rc<[usize]>>> {
        let slots: Rc<[usize]> = vec![NOWHERE; 2 * self.pattern.groups.len()].into();
        let mut best = None;
        let mut threads: Vec<Thread> = Vec::new();
        for at in start..=self.text.len() {
            if best.is_none() {
                self.spawn((0, Rc::clone(&slots)), at, &mut threads)?;
            }
            if threads.is_empty() && best.is_some() {
                break;
            }
            self.budget.spend(1 + threads.len())?;
            let mut next = Vec::new();
            for (place, slots) in threads {
                let goes_on = match self.pattern.code[place] {
                    Op::Match => {
                        best = Some(slots);
                        break;
                    }
                    Op::Char(char) => self.text.get(at) == Some(&char),
                    Op::Class(class) => {
                        let class = &self.pattern.classes[class];
                        self.text.get(at).is_some_and(|char| holds(class, *char))
                    }
                    Op::Look(_) | Op::Split(..) | Op::Jump(_) | Op::Save(_) => false,
                };
                if goes_on {
                    self.spawn((place + 1, slots), at + 1, &mut next)?;
                }
            }
            threads = next;
        }
        Ok(best)
    }

    /// Adds a thread and those it splits into, in order of preference.
    fn spawn(&mut self, thread: Thread, at: usize, threads: &mut Vec<Thread>) -> Outcome<()> {
        let mut waiting = vec![thread];
        let mut steps = 0;
        while let Some((place, mut slots)) = waiting.pop() {
            steps += 1;
            if self.seen[place] == at {
                continue;
            }
            self.seen[place] = at;
            match self.pattern.code[place] {
                Op::Split(first, second) => {
                    waiting.push((second, Rc::clone(&slots)));
                    waiting.push((first, slots));
                }
                Op::Jump(to) => waiting.push((to, slots)),
                Op::Save(slot) => {
                    // A change to a copy, if another thread has the same places.
                    Rc::make_mut(&mut slots)[slot] = at;
                    waiting.push((place + 1, slots));
                }
                Op::Look(look) if looks(look, self.text, at) => waiting.push((place + 1, slots)),
                Op::Look(_) => {}
                Op::Char(_) | Op::Class(_) | Op::Match => threads.push((place, slots)),
            }
        }
        self.budget.spend(steps / 2)
    }
}

/// Goes on inside a repetition or after it.
fn split(greedy: bool, inside: usize, outside: usize) -> Op {
    if greedy { Op::Split(inside, outside) } else { Op::Split(outside, inside) }
}

fn holds(class: &[(char, char)], char: char) -> bool {
    let after = class.partition_point(|(start, _)| *start <= char);
    after > 0 && char <= class[after - 1].1
}

fn looks(look: Look, text: &[char], at: usize) -> bool {
    let word = |char: &char| char.is_alphanumeric() || *char == '_';
    let before = at.checked_sub(1).and_then(|at| text.get(at));
    let after = text.get(at);
    let (inside, ahead) = (before.is_some_and(word), after.is_some_and(word));
    let breaks = |char: &char| *char == '\n' || *char == '\r';
    match look {
        Look::Start => at == 0,
        Look::End => at == text.len(),
        Look::StartLF => before.is_none_or(|char| *char == '\n'),
        Look::EndLF => after.is_none_or(|char| *char == '\n'),
        Look::StartCRLF => before.is_none_or(breaks),
        Look::EndCRLF => after.is_none_or(breaks),
        Look::WordAscii | Look::WordUnicode => inside != ahead,
        Look::WordAsciiNegate | Look::WordUnicodeNegate => inside == ahead,
        Look::WordStartAscii | Look::WordStartUnicode => !inside && ahead,
        Look::WordEndAscii | Look::WordEndUnicode => inside && !ahead,
        Look::WordStartHalfAscii | Look::WordStartHalfUnicode => !inside,
        Look::WordEndHalfAscii | Look::WordEndHalfUnicode => !ahead,
    }
}

/// The last line of the parser's complaint, which is the reason.
fn reason(error: &regex_syntax::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
