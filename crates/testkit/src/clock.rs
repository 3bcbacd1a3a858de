//! Wall clocks that can be set wrong.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::everstep::Setup;

/// What Debian's package `libfaketime` has below its directory of libraries.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

/// A clock that can be stepped.
#[derive(Debug, Clone)]
pub struct SteppedClock {
    library: PathBuf,
    /// What it is off by is in there.
    file: PathBuf,
}

impl SteppedClock {
    /// One that is right, with its file in `home`; none where clocks cannot be stepped, and that is told.
    pub fn make(home: &Path) -> Result<Option<Self>> {
        let places = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let mut libraries = places.map(|place| place.path().join(FAKETIME));
        let Some(library) = libraries.find(|path| path.is_file()) else {
            eprintln!(
                "SKIPPED, NOT TESTED: stepped clocks, which need Debian's package libfaketime"
            );
            return Ok(None);
        };
        let clock = Self { library, file: home.join("clock") };
        std::fs::write(&clock.file, "+0")?;
        Ok(Some(clock))
    }

    /// What a process needs in its environment whose wall clock this is. Its other clocks are right, as
    /// they are when somebody sets the clock of a machine.
    fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        ]
    }

    /// A process whose wall clock this is.
    #[must_use]
    pub fn of(&self, setup: Setup) -> Setup {
        self.environment().into_iter().fold(setup, |setup, (name, value)| setup.env(name, &value))
    }

    /// A process that has the right time, and whose own Postgres has this clock.
    pub fn of_postgres(&self, setup: Setup) -> Result<Setup> {
        let home = self.file.with_file_name("bin");
        std::fs::create_dir_all(&home)?;
        let real = "real=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)";
        let clock = self.environment().map(|(name, value)| format!("export {name}='{value}'\n"));
        for (program, clock) in [("initdb", String::new()), ("postgres", clock.concat())] {
            let path = home.join(program);
            let script = format!("#!/bin/sh\n{real}\n{clock}exec \"$real/{program}\" \"$@\"\n");
            std::fs::write(&path, script)?;
            // Postgres may run as another user.
            std::fs::set_permissions(path, Permissions::from_mode(0o755))?;
        }
        for place in [self.file.parent(), Some(home.as_path())].into_iter().flatten() {
            std::fs::set_permissions(place, Permissions::from_mode(0o755))?;
        }
        let path = std::env::var("PATH").unwrap_or_default();
        Ok(setup.env("PATH", &format!("{}:{path}", home.display())))
    }

    /// What it is off by, in seconds, such as `+3600`.
    pub fn is_off(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.file)?)
    }

    /// Sets it. Those who have it notice within a second.
    pub fn set(&self, off: &str) -> Result<()> {
        // At once: it is read all the time.
        let beside = self.file.with_extension("new");
        std::fs::write(&beside, off)?;
        Ok(std::fs::rename(&beside, &self.file)?)
    }
}
