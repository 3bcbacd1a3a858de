//! The lines of an export, held against the leaves of a tree.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use eventstore::audit::Line;
use eventstore::tlog::Hash;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::offline::bad;
use crate::failure::Failure;

/// The most bytes a line may have: an event is at most 256 KiB.
const LINE: u64 = 1 << 20;

/// A file of lines, one after the other and hashed on the way.
pub(super) struct Lines<R> {
    name: String,
    file: BufReader<R>,
    digest: Sha256,
    text: String,
    number: u64,
}

/// A line that has the form, and the data that its hash says.
pub(super) struct Numbered<'a> {
    name: &'a str,
    number: u64,
    text: &'a str,
    /// What it says.
    pub(super) line: Line<'a>,
}

/// What is asked of a line beside what [`Line`] tells.
#[derive(Deserialize)]
pub(super) struct Envelope {
    source: String,
    /// Where the event is in the log; as text, like every number that JSON might round.
    position: String,
}

impl Envelope {
    /// Whose event it is: the source without the category.
    pub(super) fn owner(&self) -> &str {
        self.source.rsplit_once('/').map_or("", |(owner, _)| owner)
    }

    pub(super) fn position(&self) -> Option<i64> {
        self.position.parse().ok()
    }
}

impl Numbered<'_> {
    /// What is wrong with it, and where it stands.
    pub(super) fn wrong(&self, what: &str) -> Failure {
        wrong(self.name, self.number, what)
    }

    pub(super) fn envelope(&self) -> Result<Envelope, Failure> {
        serde_json::from_str(self.text).map_err(|error| self.wrong(&error.to_string()))
    }
}

fn wrong(name: &str, number: u64, what: &str) -> Failure {
    bad(format!("{name}, line {number}: {what}"))
}

impl<R: Read> Lines<R> {
    pub(super) fn new(name: &str, file: R) -> Self {
        let (file, text) = (BufReader::new(file), String::new());
        Self { name: name.to_owned(), file, digest: Sha256::new(), text, number: 0 }
    }

    /// The next line; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Numbered<'_>>, Failure> {
        self.number += 1;
        let (name, number) = (self.name.as_str(), self.number);
        self.text.clear();
        let read = (&mut self.file).take(LINE).read_line(&mut self.text);
        let read = read.map_err(|error| wrong(name, number, &error.to_string()))?;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 == LINE && !self.text.ends_with('\n') {
            return Err(wrong(name, number, "it is longer than a line can be"));
        }
        self.digest.update(self.text.as_bytes());
        let text = self.text.strip_suffix('\n').unwrap_or(&self.text);
        let line = Line::read(text).map_err(|error| wrong(name, number, &error.to_string()))?;
        Ok(Some(Numbered { name, number, text, line }))
    }

    /// The SHA-256 of all that was read, in hex.
    pub(super) fn sha256(self) -> String {
        hex::encode(self.digest.finalize())
    }
}

/// The leaves of a tree whose root is signed, in a file.
pub(super) struct Leaves {
    file: BufReader<File>,
    next: u64,
    /// How many there are.
    pub(super) size: u64,
}

impl Leaves {
    pub(super) fn new(file: File, size: u64) -> Self {
        Self { file: BufReader::new(file), next: 0, size }
    }

    /// The leaf at an index, which comes after those that were asked for before.
    fn at(&mut self, index: u64) -> Result<Hash, Failure> {
        let skipped = (index - self.next) * Hash::BYTES as u64;
        self.file.seek_relative(skipped.cast_signed())?;
        let mut leaf = [0; Hash::BYTES];
        self.file.read_exact(&mut leaf)?;
        self.next = index + 1;
        Ok(leaf.into())
    }
}

/// Which leaves a file must have.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// Every one from an index on, as far as it goes.
    EveryFrom(u64),
    /// Some, in order.
    Some,
    /// Some, in order, all of this tenant.
    Of(&'a str),
}

/// Which leaves a file has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Met {
    /// How many.
    pub(super) count: u64,
    /// The first and the last.
    pub(super) ends: Option<(u64, u64)>,
}

impl Met {
    fn add(&mut self, leaf: u64) {
        self.count += 1;
        self.ends = Some((self.ends.map_or(leaf, |(first, _)| first), leaf));
    }

    /// How many are missing between the first and the last.
    pub(super) fn missing(&self) -> u64 {
        self.ends.map_or(0, |(first, last)| last - first + 1 - self.count)
    }

    /// Whether a leaf may be the next.
    fn allows(&self, leaf: u64, wanted: Wanted<'_>) -> bool {
        let after = self.ends.map(|(_, last)| last + 1);
        match wanted {
            Wanted::EveryFrom(first) => leaf == after.unwrap_or(first),
            Wanted::Some | Wanted::Of(_) => leaf >= after.unwrap_or(0),
        }
    }
}

/// Checks that each line is the leaf that it says.
pub(super) fn against<R: Read>(
    lines: &mut Lines<R>,
    leaves: &mut Leaves,
    wanted: Wanted<'_>,
) -> Result<Met, Failure> {
    let mut met = Met::default();
    while let Some(read) = lines.next()? {
        if let Wanted::Of(owner) = wanted
            && read.envelope()?.owner() != owner
        {
            return Err(read.wrong("it is of another tenant than the tree"));
        }
        let sealed = read.line.leaf.filter(|leaf| *leaf < leaves.size);
        let leaf = sealed.ok_or_else(|| read.wrong("it was not sealed"))?;
        if !met.allows(leaf, wanted) {
            return Err(read.wrong("an event is missing before it, or it stands elsewhere"));
        }
        if leaves.at(leaf)? != read.line.leaf_hash() {
            return Err(read.wrong("it is not what was sealed"));
        }
        met.add(leaf);
    }
    Ok(met)
}
