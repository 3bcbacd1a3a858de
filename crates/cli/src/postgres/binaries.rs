//! Finds the server binaries that are installed and chooses among them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::{Error, OLDEST};

/// Where packages put server binaries: a directory that holds one directory a version.
const PACKAGES: &[&str] = &["/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt"];

/// Server binaries of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    /// The directory that holds them.
    pub(super) dir: PathBuf,
    /// Their major version.
    pub(super) major: u32,
}

impl Binaries {
    /// The binaries to use: of the version that wrote the cluster `existing`, else the newest.
    pub(super) fn find(existing: Option<(&Path, u32)>) -> Result<Self, Error> {
        choose(installed(&places()), existing)
    }

    /// The program that makes clusters.
    pub(super) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }

    /// The server.
    pub(super) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }
}

/// Every directory that may hold server binaries, PATH first.
fn places() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let packages = PACKAGES.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
    env::split_paths(&path).chain(packages.map(|entry| entry.path().join("bin"))).collect()
}

/// What is installed in `places`, one directory a major version; the first place wins.
fn installed(places: &[PathBuf]) -> BTreeMap<u32, PathBuf> {
    let mut found = BTreeMap::new();
    for place in places {
        // A link such as /usr/local/bin/postgres leads to where its companions are.
        let Ok(server) = place.join("postgres").canonicalize() else { continue };
        let Some(dir) = server.parent().filter(|dir| dir.join("initdb").is_file()) else {
            continue;
        };
        if found.values().any(|known: &PathBuf| known == dir) {
            continue;
        }
        if let Some(major) = version(&server) {
            found.entry(major).or_insert_with(|| dir.to_owned());
        }
    }
    found
}

/// The major version of a server binary, by its own word.
fn version(server: &Path) -> Option<u32> {
    let output = Command::new(server).arg("--version").output().ok()?;
    major(&String::from_utf8(output.stdout).ok()?)
}

/// The major version in an answer such as `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major(answer: &str) -> Option<u32> {
    let number = answer.split_whitespace().nth(2)?;
    let digits = number.split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn choose(
    mut installed: BTreeMap<u32, PathBuf>,
    existing: Option<(&Path, u32)>,
) -> Result<Binaries, Error> {
    let Some((dir, wanted)) = existing else {
        let newest = installed.pop_last().filter(|(major, _)| *major >= OLDEST);
        return newest.map(|(major, dir)| Binaries { dir, major }).ok_or(Error::NotInstalled);
    };
    if let Some(found) = installed.remove(&wanted) {
        return Ok(Binaries { dir: found, major: wanted });
    }
    let found: Vec<String> = installed.keys().map(u32::to_string).collect();
    let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    Err(Error::WrongVersion { dir: dir.to_owned(), wanted, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(majors: &[u32]) -> BTreeMap<u32, PathBuf> {
        majors.iter().map(|major| (*major, PathBuf::from(format!("/pg/{major}/bin")))).collect()
    }

    #[test]
    fn the_newest_version_makes_a_new_cluster() {
        let chosen = choose(machine(&[15, 17, 16]), None).unwrap();
        assert_eq!(chosen, Binaries { dir: "/pg/17/bin".into(), major: 17 });
    }

    #[test]
    fn the_version_that_wrote_a_cluster_goes_on_with_it() {
        let chosen = choose(machine(&[15, 17]), Some((Path::new("/data"), 15))).unwrap();
        assert_eq!(chosen.major, 15);
    }

    #[test]
    fn a_cluster_of_a_version_that_is_not_installed_is_left_alone() {
        let error = choose(machine(&[15, 17]), Some((Path::new("/data"), 16))).unwrap_err();
        assert!(error.to_string().contains("written by PostgreSQL 16"), "{error}");
        assert!(error.to_string().contains("found: 15, 17"), "{error}");
    }

    #[test]
    fn a_machine_without_a_server_gets_advice() {
        for found in [machine(&[]), machine(&[OLDEST - 1])] {
            let error = choose(found, None).unwrap_err();
            assert!(error.to_string().contains("apt-get install postgresql"), "{error}");
        }
    }

    #[test]
    fn versions_are_read_from_what_servers_say() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("BusyBox"), None);
    }

    #[test]
    fn a_server_that_is_linked_into_path_is_found_with_its_companions() {
        let real = Binaries::find(None).unwrap();
        let links = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(real.postgres(), links.path().join("postgres")).unwrap();
        let found = installed(&[links.path().to_owned()]);
        assert_eq!(found, BTreeMap::from([(real.major, real.dir)]));
    }
}
