//! Checking an export that is lines and nothing else: against the tree of a bundle, or, without one,
//! as far as lines can be checked alone.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use anyhow::Context as _;

use super::bundle::Manifest;
use super::lines::{Leaves, Lines, Met, Wanted, against};
use crate::failure::Failure;

fn open(path: &Path) -> Result<Lines<File>, Failure> {
    let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Lines::new(&path.display().to_string(), file))
}

/// Checks that each line is a leaf of the tenant's tree.
pub(super) fn proved(
    path: &Path,
    manifest: &Manifest,
    leaves: &mut Leaves,
) -> Result<Met, Failure> {
    let owner = format!("/{}/{}", manifest.deployment, manifest.tenant);
    against(&mut open(path)?, leaves, Wanted::Of(&owner))
}

/// Checks that lines have the form, that their data is what their hashes say, and that they stand in
/// order; how many there are. Whoever wrote them can have made them up.
pub(super) fn alone(path: &Path) -> Result<u64, Failure> {
    let mut lines = open(path)?;
    let (mut count, mut before) = (0, 0);
    let mut leaves = HashMap::<String, u64>::new();
    while let Some(read) = lines.next()? {
        let envelope = read.envelope()?;
        let position = envelope.position().filter(|position| *position > before);
        before = position.ok_or_else(|| read.wrong("it does not come after the line before it"))?;
        if let Some(leaf) = read.line.leaf {
            let last = leaves.insert(envelope.owner().to_owned(), leaf);
            if last.is_some_and(|last| last >= leaf) {
                return Err(read.wrong("its leaf does not come after the one before it"));
            }
        }
        count += 1;
    }
    Ok(count)
}
