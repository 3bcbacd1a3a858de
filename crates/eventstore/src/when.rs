//! Times as positions.

use domain::Timestamp;

use crate::{Error, EventStore, Position};

/// The position that the log had reached at a time: that of the last event decided by then; 0 if it
/// was empty.
///
/// Times follow positions but for the moments that an append waits and the difference of clocks, and
/// there is no index of them: the place is found by halving.
pub async fn position_at(log: &dyn EventStore, time: Timestamp) -> Result<Position, Error> {
    let (mut reached, mut later) = (0, log.head().await? + 1);
    while later - reached > 1 {
        let middle = reached + (later - reached) / 2;
        let found = log.read(middle - 1, 1).await?;
        if found.first().is_some_and(|event| event.meta.at <= time) {
            reached = middle;
        } else {
            later = middle;
        }
    }
    Ok(reached)
}
