//! Checking a bundle: with the files in it and, best, a key that was known before.
//!
//! A bundle comes from somebody else. Nothing of it is unpacked, its files must be exactly those
//! that its checkpoint asks for, in this order, and of their sizes; what is kept of it is one tile,
//! one line, and 32 bytes an event in a file that is gone afterwards.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::path::Path;

use anyhow::Context as _;
use eventstore::audit::{Line, Trust, followed, origin, verifiers};
use eventstore::tlog::{Checkpoint, Frontier, Hash, Note, Tile, TileId, TreeHead, Verifier};
use sha2::{Digest, Sha256};

use super::archive;
use super::bundle::{CHECKPOINT, EVENTS, KEYS, MANIFEST, Manifest};
use super::pack::is_archive;
use crate::failure::Failure;

/// The most bytes the small files of a bundle may have.
const SMALL: u64 = 1 << 20;
/// The most bytes a line may have: an event is at most 256 KiB.
const LINE: u64 = 1 << 20;

/// Where the files of a bundle come from, in order.
pub(super) trait Source {
    /// The next file, which must have this name and at most so many bytes.
    fn next(&mut self, name: &str, limit: u64) -> Result<Box<dyn Read + '_>, Failure>;
    /// That the bundle can have so many events.
    fn holds(&self, events: u64) -> bool;
    /// That nothing follows.
    fn end(&mut self) -> Result<(), Failure>;
}

/// Checks a bundle; says how many events it has.
pub(super) fn verify(path: &Path, trust: Trust<'_>) -> Result<Manifest, Failure> {
    if is_archive(path) {
        return archive::read(path, |source| check(source, trust));
    }
    if !path.is_dir() {
        return Err(Failure::NotFound(format!("there is no bundle at {}", path.display())));
    }
    check(&mut Directory(path), trust)
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

    fn holds(&self, events: u64) -> bool {
        let size = fs::metadata(self.0.join(EVENTS)).map_or(u64::MAX, |data| data.len());
        events <= size
    }

    fn end(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

fn check(source: &mut dyn Source, trust: Trust<'_>) -> Result<Manifest, Failure> {
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
    let leaves = tree(source, head)?;
    let (count, sha256) = events(source, leaves, head.size)?;
    source.end()?;
    if count != head.size {
        let size = head.size;
        return Err(bad(format!("{EVENTS} has {count} events, and {size} were sealed")));
    }
    if count != manifest.events {
        return Err(bad(format!("{MANIFEST} says {} events", manifest.events)));
    }
    if sha256 != manifest.events_sha256 {
        return Err(bad(format!("{EVENTS} has not the SHA-256 that {MANIFEST} says")));
    }
    Ok(manifest)
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

/// The leaves of the tree one after the other, if its tiles give the root of the checkpoint and
/// each other.
fn tree(source: &mut dyn Source, head: TreeHead) -> Result<BufReader<File>, Failure> {
    let mut leaves = BufWriter::new(tempfile::tempfile().context("making room for the tree")?);
    let mut root = Frontier::default();
    let mut above = vec![];
    for level in 0_u8.. {
        let mut expected = std::mem::take(&mut above).into_iter();
        let mut tiles = 0;
        for index in 0.. {
            let Some(id) = TileId::within(level, index, head.size) else { break };
            let tile = stored(source, id)?;
            tiles += 1;
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
        if tiles == 0 {
            break;
        }
    }
    let mut file = leaves.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(BufReader::new(file))
}

fn stored(source: &mut dyn Source, id: TileId) -> Result<Tile, Failure> {
    let size = u64::from(id.width) * Hash::BYTES as u64;
    let mut bytes = vec![];
    let read = source.next(&id.path(), size)?.take(size).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(&id.path(), &error))?;
    let tile = Tile::from_bytes(id.level, id.index, &bytes).ok();
    tile.filter(|tile| tile.id() == id).ok_or_else(|| bad(format!("{id} has not its hashes")))
}

/// Checks the events; how many there are, and the SHA-256 of the file in hex.
fn events(source: &mut dyn Source, leaves: impl Read, size: u64) -> Result<(u64, String), Failure> {
    let file = source.next(EVENTS, u64::MAX)?;
    let mut hashed = Hashed { file: BufReader::new(file), digest: Sha256::new() };
    let count = lines(&mut hashed, leaves, size)?;
    Ok((count, hex::encode(hashed.digest.finalize())))
}

/// What is read from a file, hashed on the way.
struct Hashed<R> {
    file: BufReader<R>,
    digest: Sha256,
}

impl<R: Read> Hashed<R> {
    /// Reads a line into `text`; how many bytes it has.
    fn line(&mut self, text: &mut String) -> std::io::Result<usize> {
        text.clear();
        let read = (&mut self.file).take(LINE).read_line(text)?;
        if read as u64 == LINE && !text.ends_with('\n') {
            return Err(std::io::Error::other("it is longer than a line can be"));
        }
        self.digest.update(text.as_bytes());
        Ok(read)
    }
}

/// Checks that each line is the next leaf; how many there are.
fn lines<R: Read>(file: &mut Hashed<R>, mut leaves: impl Read, size: u64) -> Result<u64, Failure> {
    let mut text = String::new();
    for count in 0.. {
        let wrong = |what: &str| bad(format!("{EVENTS}, line {}: {what}", count + 1));
        if file.line(&mut text).map_err(|error| wrong(&error.to_string()))? == 0 {
            return Ok(count);
        }
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = Line::read(line).map_err(|error| wrong(&error.to_string()))?;
        if count == size {
            return Err(wrong("it was not sealed"));
        }
        if line.leaf != Some(count) {
            return Err(wrong("an event is missing before it, or it stands elsewhere"));
        }
        let mut leaf = [0; Hash::BYTES];
        leaves.read_exact(&mut leaf)?;
        if Hash::from(leaf) != line.leaf_hash() {
            return Err(wrong("it is not what was sealed"));
        }
    }
    Ok(size)
}
