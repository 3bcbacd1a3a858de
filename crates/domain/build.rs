//! Names the folds of this build: snapshots of a state are only good for the code that made them.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=src");
    let mut files = vec![];
    collect(Path::new("src"), &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let text = fs::read(&file)?;
        hash.update(file.to_string_lossy().as_bytes());
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    }
    println!("cargo::rustc-env=EVERSTEP_FOLD={}", hex::encode(hash.finalize()));
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
