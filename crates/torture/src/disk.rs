//! A disk that can lose its power: ext4 on an image file, which lies on XFS. A copy of the image by
//! reflink takes milliseconds and has what reached the disk until then; what the file system still
//! held in memory is not in it, as after a power cut. It needs root, loop devices and xfsprogs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::posix_fallocate;
use nix::unistd::Uid;
use tempfile::TempDir;

/// How large the disk is; what it takes of the machine's is what is written.
const SIZE: &str = "1536M";
/// How large the file system below it is, with room for the copies.
const BELOW: &str = "8G";
/// How long whoever has files open on it may take to end.
const END: Duration = Duration::from_secs(10);

/// The disk. Dropping it unmounts and removes everything; whoever uses it must have ended.
#[derive(Debug)]
pub(crate) struct Disk {
    // Unmounted in this order, and before the directory they are in is removed.
    root: Mount,
    below: Mount,
    home: TempDir,
}

/// A disk as a power cut left it. Dropping it unmounts and removes it.
#[derive(Debug)]
pub(crate) struct Image {
    mount: Mount,
    file: PathBuf,
}

/// A file system that is mounted until this is dropped.
#[derive(Debug)]
struct Mount(PathBuf);

/// Why there can be no such disk on this machine; nothing if there can.
pub(crate) fn lacking() -> Option<String> {
    if !Uid::effective().is_root() {
        return Some("root".to_owned());
    }
    Disk::make().err().map(|error| format!("loop devices and xfsprogs: {error:#}"))
}

impl Disk {
    /// Makes one, empty.
    pub(crate) fn make() -> Result<Self> {
        let home = tempfile::tempdir()?;
        super::world::open(home.path())?;
        let image = home.path().join("below.img");
        run("truncate", &["-s".as_ref(), BELOW.as_ref(), &image])?;
        run("mkfs.xfs", &["-q".as_ref(), "-m".as_ref(), "reflink=1".as_ref(), &image])?;
        let below = Mount::new(&image, home.path().join("below"))?;
        let image = below.0.join("disk.img");
        run("truncate", &["-s".as_ref(), SIZE.as_ref(), &image])?;
        run("mkfs.ext4", &["-q".as_ref(), &image])?;
        let root = Mount::new(&image, home.path().join("root"))?;
        Ok(Self { root, below, home })
    }

    /// Where its files are.
    pub(crate) fn root(&self) -> &Path {
        &self.root.0
    }

    /// Has everything written so far reach the disk.
    pub(crate) fn sync(&self) -> Result<()> {
        run("sync", &["-f".as_ref(), self.root()])
    }

    /// What is left of it if the power is cut now.
    pub(crate) fn cut(&self) -> Result<Image> {
        let file = self.below.0.join("cut.img");
        run("cp", &["--reflink=always".as_ref(), &self.below.0.join("disk.img"), &file])?;
        let mount = Mount::new(&file, self.home.path().join("cut"))?;
        Ok(Image { mount, file })
    }

    /// Fills it up; what fills it.
    pub(crate) fn fill(&self) -> Result<PathBuf> {
        let ballast = self.root().join("ballast");
        let file = fs::File::create(&ballast)?;
        let (mut size, mut at) = (1_i64 << 28, 0);
        while size >= 4_096 {
            match posix_fallocate(&file, at, size) {
                Ok(()) => at += size,
                Err(Errno::ENOSPC) => size /= 2,
                Err(error) => return Err(error).context("filling the disk"),
            }
        }
        Ok(ballast)
    }
}

impl Image {
    /// Where its files are.
    pub(crate) fn root(&self) -> &Path {
        &self.mount.0
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        self.mount.end();
        let _ = fs::remove_file(&self.file);
    }
}

impl Mount {
    /// Mounts an image; its loop device goes when it is unmounted.
    fn new(image: &Path, at: PathBuf) -> Result<Self> {
        fs::create_dir_all(&at)?;
        run("mount", &["-o".as_ref(), "loop".as_ref(), image, &at])?;
        Ok(Self(at))
    }

    /// Unmounts it, once nobody has files open there any more.
    fn end(&self) {
        let deadline = Instant::now() + END;
        while self.is_mounted() {
            match run("umount", &[&self.0]) {
                Ok(()) => return,
                Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(50)),
                Err(error) => {
                    eprintln!("torture: {} stays mounted: {error:#}", self.0.display());
                    return;
                }
            }
        }
    }

    fn is_mounted(&self) -> bool {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        mounts.lines().any(|line| line.split(' ').nth(1).map(Path::new) == Some(&self.0))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(program: &str, args: &[&Path]) -> Result<()> {
    let done = Command::new(program).args(args).stdin(Stdio::null()).output();
    let done = done.with_context(|| format!("running {program}"))?;
    let told = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{program}: {}", told.trim());
    Ok(())
}
