//! Checking a bundle: with the files in it and, best, a key that was known before.
//!
//! A bundle comes from somebody else. Nothing of it is unpacked, its files must be exactly those
//! that its checkpoint asks for, in this order, and of their sizes; what is kept of it is one tile,
//! one line, and 32 bytes an event in a file that is gone afterwards.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Read, Seek, Write};
use std::path::Path;

use anyhow::Context as _;
use eventstore::audit::{Trust, followed, origin, verifiers};
use eventstore::tlog::{Checkpoint, Frontier, Hash, Note, Tile, TileId, TreeHead, Verifier};

use super::archive;
use super::bundle::{CHECKPOINT, EVENTS, KEYS, MANIFEST, Manifest, Selection};
use super::lines::{Leaves, Lines, Met, Wanted, against};
use super::pack::is_archive;
use crate::failure::Failure;

/// The most bytes the small files of a bundle may have.
const SMALL: u64 = 1 << 20;

/// Where the files of a bundle come from, in order.
pub(super) trait Source {
    /// The next file, which must have this name and at most so many bytes.
    fn next(&mut self, name: &str, limit: u64) -> Result<Box<dyn Read + '_>, Failure>;
    /// That the bundle can have so many leaves.
    fn holds(&self, leaves: u64) -> bool;
    /// That nothing follows.
    fn end(&mut self) -> Result<(), Failure>;
}

/// What a bundle proves.
#[derive(Debug)]
pub(super) struct Proved {
    /// What it says of itself, as far as that could be checked.
    pub(super) manifest: Manifest,
    /// How many leaves the tree has.
    pub(super) size: u64,
    /// Which of them have their events in it.
    pub(super) met: Met,
}

/// Checks a bundle.
pub(super) fn verify(path: &Path, trust: Trust<'_>) -> Result<Proved, Failure> {
    if is_archive(path) {
        return archive::read(path, |source| check(source, trust));
    }
    check(&mut directory(path)?, trust)
}

/// Whose tree a bundle has, and the tree; its events are not looked at.
pub(super) fn tree(path: &Path, trust: Trust<'_>) -> Result<(Manifest, Leaves), Failure> {
    if is_archive(path) {
        return archive::beginning(path, |source| begin(source, trust));
    }
    begin(&mut directory(path)?, trust)
}

/// The checkpoint of a bundle, as it stands there.
pub(super) fn checkpoint(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = |source: &mut dyn Source| {
        small(source, MANIFEST)?;
        small(source, CHECKPOINT)
    };
    if is_archive(path) { archive::beginning(path, read) } else { read(&mut directory(path)?) }
}

fn directory(path: &Path) -> Result<Directory<'_>, Failure> {
    if path.is_dir() {
        return Ok(Directory(path));
    }
    Err(Failure::NotFound(format!("there is no bundle at {}", path.display())))
}

struct Directory<'a>(&'a Path);

impl Source for Directory<'_> {
    fn next(&mut self, name: &str, limit: u64) -> Result<Box<dyn Read + '_>, Failure> {
        let path = self.0.join(name);
        let reading = || format!("reading {}", path.display());
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(bad(format!("{name} is missing")));
            }
            opened => opened.with_context(reading)?,
        };
        if file.metadata().with_context(reading)?.len() > limit {
            return Err(bad(format!("{name} is larger than it can be")));
        }
        Ok(Box::new(file))
    }

    fn holds(&self, _leaves: u64) -> bool {
        // Each tile is a file that is there, of its size, or the first that is not ends the check.
        true
    }

    fn end(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// The manifest and the leaves of the tree whose root is signed.
fn begin(source: &mut dyn Source, trust: Trust<'_>) -> Result<(Manifest, Leaves), Failure> {
    let manifest: Manifest = serde_json::from_slice(&small(source, MANIFEST)?)
        .map_err(|error| bad(format!("{MANIFEST}: {error}")))?;
    let name = origin(&manifest.deployment, manifest.tenant);
    let note = small(source, CHECKPOINT)?;
    let known = keys(&manifest, &small(source, KEYS)?, trust.keys)?;
    let note = Note::parse(&note).map_err(|error| bad(error.to_string()))?;
    let known = [known.as_slice(), trust.witnesses].concat();
    let opened = Checkpoint::open(&note, &name, &known).map_err(|error| bad(error.to_string()))?;
    if let Some(silent) = trust.witnesses.iter().find(|witness| !note.is_signed_by(witness)) {
        return Err(bad(format!("the witness {silent} has not cosigned {CHECKPOINT}")));
    }
    let head = opened.checkpoint.head();
    if !source.holds(head.size) {
        return Err(bad(format!("{CHECKPOINT} says {} events, which are not here", head.size)));
    }
    let leaves = Leaves::new(tiles(source, head)?, head.size);
    Ok((manifest, leaves))
}

fn check(source: &mut dyn Source, trust: Trust<'_>) -> Result<Proved, Failure> {
    let (manifest, mut leaves) = begin(source, trust)?;
    let selection = manifest.selection.as_ref();
    let mut lines = Lines::new(EVENTS, source.next(EVENTS, u64::MAX)?);
    let met = against(&mut lines, &mut leaves, wanted(selection))?;
    let sha256 = lines.sha256();
    source.end()?;
    let (count, size) = (met.count, leaves.size);
    if selection.is_none() && count != size {
        return Err(bad(format!("{EVENTS} has {count} events, and {size} were sealed")));
    }
    if let Some(selection) = selection.filter(|selection| selection.ends() != met.ends) {
        let says = selection.ends().map_or("none".to_owned(), |(a, b)| format!("{a} to {b}"));
        return Err(bad(format!("{EVENTS} has other leaves than {MANIFEST} says: {says}")));
    }
    if count != manifest.events {
        return Err(bad(format!("{MANIFEST} says {} events", manifest.events)));
    }
    if sha256 != manifest.events_sha256 {
        return Err(bad(format!("{EVENTS} has not the SHA-256 that {MANIFEST} says")));
    }
    Ok(Proved { manifest, size, met })
}

/// Which leaves the events of a bundle must be.
fn wanted(selection: Option<&Selection>) -> Wanted<'static> {
    match selection {
        None => Wanted::EveryFrom(0),
        Some(stretch) if stretch.is_stretch() => {
            Wanted::EveryFrom(stretch.first_leaf.unwrap_or_default())
        }
        Some(_) => Wanted::Some,
    }
}

pub(super) fn bad(what: String) -> Failure {
    Failure::Verification(what)
}

pub(super) fn unreadable(name: &str, error: &std::io::Error) -> Failure {
    bad(format!("{name} cannot be read: {error}"))
}

fn small(source: &mut dyn Source, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = vec![];
    let read = source.next(name, SMALL)?.take(SMALL).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(name, &error))?;
    Ok(bytes)
}

/// The keys that are believed: those of the bundle, else pinned ones and what follows by their word.
fn keys(manifest: &Manifest, stored: &[u8], pinned: &[[u8; 32]]) -> Result<Vec<Verifier>, Failure> {
    if !pinned.is_empty() {
        let known = followed(&manifest.deployment, pinned, &manifest.key_words);
        let name = origin(&manifest.deployment, manifest.tenant);
        return verifiers(&name, &known).map_err(|error| bad(format!("--key: {error}")));
    }
    let lines = std::str::from_utf8(stored).map_err(|_| bad(format!("{KEYS} is no text")))?;
    let keys = lines.lines().map(str::parse);
    keys.collect::<Result<_, _>>().map_err(|error| bad(format!("{KEYS}: {error}")))
}

/// A file with the leaves of the tree one after the other, if its tiles give the root of the checkpoint and
/// each other.
fn tiles(source: &mut dyn Source, head: TreeHead) -> Result<File, Failure> {
    let mut leaves = BufWriter::new(tempfile::tempfile().context("making room for the tree")?);
    let mut root = Frontier::default();
    let mut above = vec![];
    for level in 0_u8.. {
        let mut expected = std::mem::take(&mut above).into_iter();
        let mut count = 0;
        for index in 0.. {
            let Some(id) = TileId::within(level, index, head.size) else { break };
            let tile = stored(source, id)?;
            count += 1;
            if level == 0 {
                root.extend(tile.hashes().iter().copied());
                leaves.write_all(&tile.to_bytes())?;
            } else if !tile.hashes().iter().all(|hash| expected.next() == Some(*hash)) {
                return Err(bad(format!("{id} is not the one above the tiles before it")));
            }
            if id.is_full() {
                let mut subtree = Frontier::default();
                subtree.extend(tile.hashes().iter().copied());
                above.push(subtree.root());
            }
        }
        if level == 0 && root.head() != head {
            return Err(bad(format!("the tiles do not give the root of {CHECKPOINT}")));
        }
        if count == 0 {
            break;
        }
    }
    let mut file = leaves.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

fn stored(source: &mut dyn Source, id: TileId) -> Result<Tile, Failure> {
    let size = u64::from(id.width) * Hash::BYTES as u64;
    let mut bytes = vec![];
    let read = source.next(&id.path(), size)?.take(size).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(&id.path(), &error))?;
    let tile = Tile::from_bytes(id.level, id.index, &bytes).ok();
    tile.filter(|tile| tile.id() == id).ok_or_else(|| bad(format!("{id} has not its hashes")))
}
