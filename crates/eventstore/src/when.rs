//! Times as positions.

use domain::Timestamp;

use crate::{Error, EventStore, Position};

/// The position that the log had reached at a time: that of the last event recorded by then; 0 if it
/// was empty.
///
/// Times follow positions, so the place is found by halving. Events of releases that did not note when
/// they were recorded are taken for recorded when they were decided, which differs by moments.
pub async fn position_at(log: &dyn EventStore, time: Timestamp) -> Result<Position, Error> {
    let (mut reached, mut later) = (0, log.head().await? + 1);
    while later - reached > 1 {
        let middle = reached + (later - reached) / 2;
        let found = log.read(middle - 1, 1).await?;
        if found.first().is_some_and(|event| event.recorded_at.unwrap_or(event.meta.at) <= time) {
            reached = middle;
        } else {
            later = middle;
        }
    }
    Ok(reached)
}
