//! `everstep dev` on its own Postgres: what it refuses, what it survives, what it leaves behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::{Ended, everstep, run, text};

/// How long stopping may take, by the book.
const STOP: Duration = Duration::from_secs(5);

/// A data directory that the database's account can enter.
pub(crate) fn data_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// A running instance, ready. What is left of it goes when it is dropped.
pub(crate) struct Dev {
    child: Child,
    greeting: Value,
}

impl Dev {
    pub(crate) fn start(data: &Path) -> Self {
        let mut dev = everstep(&["dev", "--port", "0", "-o", "json", "--data-dir", text(data)]);
        let mut child = dev.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut greeting = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            greeting.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let Ok(greeting) = serde_json::from_str(&greeting) else {
            let output = child.wait_with_output().unwrap();
            panic!("it did not start: {}", String::from_utf8_lossy(&output.stderr));
        };
        Self { child, greeting }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn postgres(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data.join("postgres/postmaster.pid")).ok()?;
    text.lines().next()?.parse().ok().map(Pid::from_raw)
}

fn announced(data: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(data.join("dev.json")).unwrap()).unwrap()
}

#[test]
fn it_tells_where_it_is_and_stops_everything_in_time_when_asked() {
    let data = data_dir();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut dev = Dev::start(data.path());
        let file = announced(data.path());
        for field in ["api_url", "token", "database_url"] {
            assert_eq!(file[field], dev.greeting[field], "{field}");
        }
        let mode = fs::metadata(data.path().join("dev.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let server = postgres(data.path()).unwrap();
        let asked = Instant::now();
        dev.signal(signal);
        assert!(dev.child.wait().unwrap().success());
        assert!(asked.elapsed() < STOP, "{:?}", asked.elapsed());
        assert!(kill(server, None).is_err(), "its Postgres is still there");
    }
}

#[test]
fn killed_it_comes_back_with_the_same_data_and_the_same_token() {
    let data = data_dir();
    let first = Dev::start(data.path());
    let orphan = postgres(data.path()).unwrap();
    first.signal(Signal::SIGKILL);
    let (token, tenant) = (first.greeting["token"].clone(), instance(data.path()));
    drop(first);
    assert!(kill(orphan, None).is_ok(), "nothing to take over");
    let mut second = Dev::start(data.path());
    assert_eq!(second.greeting["token"], token);
    assert_eq!(instance(data.path()), tenant);
    assert_ne!(postgres(data.path()), Some(orphan));
    second.signal(Signal::SIGTERM);
    assert!(second.child.wait().unwrap().success());
}

fn instance(data: &Path) -> String {
    fs::read_to_string(data.join("instance.json")).unwrap()
}

#[test]
fn a_killed_postgres_comes_back_and_the_log_with_it() {
    let data = data_dir();
    let mut dev = Dev::start(data.path());
    let export = || {
        let args = ["audit", "export", "--data-dir", text(data.path())];
        Ended::of(&mut everstep(&args))
    };
    let mut before = export().expect(0).out;
    assert!(before.contains("api_key.created"), "{before}");
    while !before.contains("leafindex") {
        before = export().expect(0).out;
    }
    let first = postgres(data.path()).unwrap();
    kill(first, Signal::SIGKILL).unwrap();
    while postgres(data.path()).is_none_or(|now| now == first) || export().code != 0 {
        std::thread::yield_now();
    }
    assert_eq!(export().expect(0).out, before);
    dev.signal(Signal::SIGTERM);
    assert!(dev.child.wait().unwrap().success());
}

#[test]
fn one_directory_serves_one_instance() {
    let data = data_dir();
    let mut dev = Dev::start(data.path());
    let ended = run(&["dev", "--port", "0", "--data-dir", text(data.path())]).expect(2);
    assert!(ended.err.contains(&format!("(process {})", dev.child.id())), "{ended:?}");
    dev.signal(Signal::SIGTERM);
    assert!(dev.child.wait().unwrap().success());
}

#[test]
fn a_busy_port_is_refused_before_anything_is_made() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port().to_string();
    let dir = data_dir();
    let data = dir.path().join("data");
    let ended = run(&["dev", "--port", &port, "--data-dir", text(&data)]).expect(1);
    assert!(ended.err.contains(&port) && ended.err.contains("--port"), "{ended:?}");
    assert!(!data.exists());
}

#[test]
fn a_directory_of_somebody_else_is_refused_and_left_alone() {
    let data = data_dir();
    fs::write(data.path().join("thesis.tex"), "mine").unwrap();
    let ended = run(&["dev", "--port", "0", "--data-dir", text(data.path())]).expect(2);
    assert!(ended.err.contains("thesis.tex"), "{ended:?}");
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
}

#[test]
fn interrupted_while_it_starts_it_leaves_nothing_running() {
    let data = data_dir();
    let mut dev = everstep(&["dev", "--port", "0", "--data-dir", text(data.path())]);
    let mut child = dev.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while postgres(data.path()).is_none() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    let server = postgres(data.path()).unwrap();
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(kill(server, None).is_err(), "its Postgres is still there");
}
