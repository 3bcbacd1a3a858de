//! Wall clocks that can be set wrong.

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

    /// A process whose wall clock this is. Its other clocks are right, as they are when somebody sets
    /// the clock of a machine.
    #[must_use]
    pub fn of(&self, setup: Setup) -> Setup {
        setup
            .env("LD_PRELOAD", &self.library.display().to_string())
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_TIMESTAMP_FILE", &self.file.display().to_string())
            .env("FAKETIME_CACHE_DURATION", "1")
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
