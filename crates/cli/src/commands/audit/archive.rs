//! A bundle that is one file, read from its beginning to its end and never unpacked.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::Context as _;
use eventstore::tlog::Hash;
use tar::{Entries, EntryType};
use zstd::Decoder;

use super::offline::{Source, bad, unreadable};
use crate::failure::Failure;

/// The most memory that decompressing may take, as a power of two of bytes.
const WINDOW: u32 = 23;

/// How many zeros may stand at the end.
const END: u64 = 1024;

type Stream = Decoder<'static, BufReader<File>>;

/// Lets somebody read the files of a bundle; nothing may follow them.
pub(super) fn read<T>(
    path: &Path,
    check: impl FnOnce(&mut dyn Source) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (checked, rest) = visit(path, check)?;
    // An archive ends with blocks of zeros, of which not all may have been read.
    let mut more = vec![];
    let read = rest.take(END + 1).read_to_end(&mut more);
    read.map_err(|error| unreadable("the end", &error))?;
    if more.len() as u64 > END || more.iter().any(|byte| *byte != 0) {
        return Err(bad("something follows the end of the archive".to_owned()));
    }
    Ok(checked)
}

/// Lets somebody read the first files of a bundle, whatever follows them.
pub(super) fn beginning<T>(
    path: &Path,
    check: impl FnOnce(&mut dyn Source) -> Result<T, Failure>,
) -> Result<T, Failure> {
    visit(path, check).map(|(checked, _)| checked)
}

fn visit<T>(
    path: &Path,
    check: impl FnOnce(&mut dyn Source) -> Result<T, Failure>,
) -> Result<(T, Stream), Failure> {
    let reading = || format!("reading {}", path.display());
    let file = File::open(path).with_context(reading)?;
    let bytes = file.metadata().with_context(reading)?.len();
    let mut stream = Decoder::new(file).with_context(reading)?;
    stream.window_log_max(WINDOW).with_context(reading)?;
    let mut tar = tar::Archive::new(stream);
    // Raw: headers that rename what follows, as long as they like, are files of their own then.
    let entries = tar.entries().with_context(reading)?.raw(true);
    let checked = check(&mut Archive { entries, bytes })?;
    Ok((checked, tar.into_inner()))
}

/// The files of an archive, one after the other.
struct Archive<'a> {
    entries: Entries<'a, Stream>,
    bytes: u64,
}

impl Source for Archive<'_> {
    fn next(&mut self, name: &str, limit: u64) -> Result<Box<dyn Read + '_>, Failure> {
        let found = self.entries.next().transpose();
        let found = found.map_err(|error| unreadable(name, &error))?;
        let Some(entry) = found else { return Err(bad(format!("{name} is missing"))) };
        let kind = entry.header().entry_type();
        if kind != EntryType::Regular || *entry.path_bytes() != *name.as_bytes() {
            let path = String::from_utf8_lossy(&entry.path_bytes()).escape_debug().to_string();
            return Err(bad(format!("'{path}' stands where {name} is expected")));
        }
        if entry.size() > limit {
            return Err(bad(format!("{name} is larger than it can be")));
        }
        Ok(Box::new(entry))
    }

    fn holds(&self, leaves: u64) -> bool {
        // Hashes cannot be compressed: an archive has room for those of its tree, or lies.
        leaves.checked_mul(Hash::BYTES as u64).is_some_and(|hashes| hashes <= self.bytes)
    }

    fn end(&mut self) -> Result<(), Failure> {
        match self.entries.next() {
            None => Ok(()),
            Some(Ok(entry)) => {
                let path = String::from_utf8_lossy(&entry.path_bytes()).escape_debug().to_string();
                Err(bad(format!("'{path}' does not belong to a bundle")))
            }
            Some(Err(error)) => Err(unreadable("the end", &error)),
        }
    }
}
