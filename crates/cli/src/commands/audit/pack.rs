//! What a bundle is written into: a directory, or one file.

use std::fs::{self, File};
use std::io::{BufWriter, IntoInnerError, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tar::{Builder, EntryType, Header};
use zstd::Encoder;

use super::export::beside;
use crate::failure::Failure;

/// How a bundle that is one file ends.
const ENDING: &str = ".tar.zst";
/// How much it is compressed. It is part of what makes its bytes always the same.
const LEVEL: i32 = 6;

/// Whether a bundle of this name is one file.
pub(super) fn is_archive(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ENDING))
}

/// A bundle that is being written. The same files give the same bytes: neither time nor owner is
/// noted.
pub(super) enum Pack {
    /// Into a directory.
    Directory(PathBuf),
    /// Into a file beside the one that is wanted.
    Archive {
        /// Where it will be.
        path: PathBuf,
        /// Where it is.
        new: PathBuf,
        /// The file.
        tar: Box<Builder<Encoder<'static, BufWriter<File>>>>,
    },
}

impl Pack {
    /// A bundle at a path where nothing is yet.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let making = || format!("making {}", path.display());
        if !is_archive(path) {
            fs::create_dir(path).with_context(making)?;
            return Ok(Self::Directory(path.to_owned()));
        }
        if path.exists() {
            return Err(Failure::Conflict(format!("{} is there already", path.display())));
        }
        let (new, file) = beside(path)?;
        let encoder = Encoder::new(file, LEVEL).with_context(making)?;
        let tar = Box::new(Builder::new(encoder));
        Ok(Self::Archive { path: path.to_owned(), new, tar })
    }

    /// Adds a file with these bytes.
    pub(super) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.copy(name, bytes.len() as u64, bytes)
    }

    /// Adds a file with what another one holds.
    pub(super) fn put_file(&mut self, name: &str, mut file: File) -> Result<(), Failure> {
        let size = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        self.copy(name, size, file)
    }

    fn copy(&mut self, name: &str, size: u64, mut from: impl Read) -> Result<(), Failure> {
        match self {
            Self::Directory(directory) => {
                let path = directory.join(name);
                fs::create_dir_all(path.parent().unwrap_or(directory))?;
                let file = File::create(&path);
                let mut file = file.with_context(|| format!("writing {}", path.display()))?;
                std::io::copy(&mut from, &mut file)?;
            }
            Self::Archive { tar, .. } => {
                let mut header = Header::new_ustar();
                header.set_entry_type(EntryType::Regular);
                header.set_mode(0o644);
                header.set_size(size);
                tar.append_data(&mut header, name, from)?;
            }
        }
        Ok(())
    }

    /// The bundle is whole: now it stands where it was wanted.
    pub(super) fn finish(self) -> Result<(), Failure> {
        if let Self::Archive { path, new, tar } = self {
            let file = tar.into_inner()?.finish()?;
            file.into_inner().map_err(IntoInnerError::into_error)?.sync_all()?;
            fs::rename(new, path)?;
        }
        Ok(())
    }
}
