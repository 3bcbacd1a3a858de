//! Processes of this machine, seen through `/proc`: who descends from whom, and who still lives.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A TCP port of loopback that nobody used a moment ago.
pub fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// All descendants of `ancestor` that live now.
#[must_use]
pub fn descendants(ancestor: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = numbers_in_proc().filter_map(parent).collect();
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(parents.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| *child));
        next += 1;
    }
    found.split_off(1)
}

/// Whether `pid` lives; a zombie does not.
#[must_use]
pub fn lives(pid: u32) -> bool {
    status_fields(pid).is_some_and(|fields| fields.state != 'Z')
}

/// Sends `signal` to `pid`, which may be gone.
pub fn signal(pid: u32, signal: Signal) {
    if let Ok(number) = i32::try_from(pid) {
        // The only failure that matters is that it is gone, and gone is what callers are after.
        let _ = kill(Pid::from_raw(number), signal);
    }
}

/// Waits until none of `pids` lives, for at most `limit`; those that still do.
pub async fn wait_until_gone(pids: &[u32], limit: Duration) -> Vec<u32> {
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        let left: Vec<u32> = pids.iter().copied().filter(|pid| lives(*pid)).collect();
        if left.is_empty() || tokio::time::Instant::now() >= deadline {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The process id of the Postgres whose cluster lies somewhere below `dir`, if one runs there.
#[must_use]
pub fn postmaster(dir: &Path) -> Option<u32> {
    let text = fs::read_to_string(find(dir, "postmaster.pid", 3)?).ok()?;
    let pid = text.lines().next()?.trim().parse().ok()?;
    lives(pid).then_some(pid)
}

fn find(dir: &Path, name: &str, depth: u8) -> Option<PathBuf> {
    let file = dir.join(name);
    if file.is_file() {
        return Some(file);
    }
    let folders = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    let mut folders = folders.filter(|path| depth > 0 && path.is_dir());
    folders.find_map(|folder| find(&folder, name, depth - 1))
}

struct Status {
    state: char,
    parent: u32,
}

fn status_fields(pid: u32) -> Option<Status> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it stands in parentheses and may hold anything, parentheses too.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some(Status { state, parent: fields.next()?.parse().ok()? })
}

fn parent(pid: u32) -> Option<(u32, u32)> {
    Some((pid, status_fields(pid)?.parent))
}

fn numbers_in_proc() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_of_a_child_is_a_descendant_until_it_is_gone() {
        let mut child = Command::new("sh")
            .args(["-c", "cat & echo; wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("its output");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)
            .expect("it said that cat runs");
        let below = descendants(std::process::id());
        assert!(below.contains(&child.id()), "the shell");
        child.kill().expect("killed");
        child.wait().expect("gone");
        assert!(!lives(child.id()));
        for pid in below {
            signal(pid, Signal::SIGKILL);
        }
    }
}
