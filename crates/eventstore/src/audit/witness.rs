//! Witnesses: whoever cosigns the checkpoints of a log, having seen that each follows from the last,
//! so that nobody can show two histories.

use domain::Timestamp;
use sqlx::{PgConnection, PgPool};

use crate::tlog::{
    Checkpoint, CheckpointError, Cosigner, Note, ProofError, TreeHead, Verifier, WitnessRequest,
    verify_consistency,
};

/// The installation as a witness of others' logs.
#[derive(Debug)]
pub struct Witness {
    pool: PgPool,
    cosigner: Cosigner,
}

/// A log that is witnessed, and how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessed {
    /// Which log.
    pub origin: String,
    /// The newest size that was cosigned.
    pub size: u64,
    /// When.
    pub at: Timestamp,
}

/// Why a witness does not cosign.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// It is asked for the first time, and nobody has said whose word to take for the log's.
    #[error("no key of the log '{0}' is known; name one")]
    UnknownLog(String),
    /// A key is not one that signs checkpoints of the log.
    #[error("the key {key} is not one of the log '{origin}'")]
    OtherKey {
        /// Which key.
        key: Box<Verifier>,
        /// Of which log it should be.
        origin: String,
    },
    /// There is nothing in it yet.
    #[error("the log '{0}' is empty")]
    Empty(String),
    /// The checkpoint is none, or no known key of the log has signed it.
    #[error("the checkpoint is not to be believed: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The proof does not begin with what was cosigned last.
    #[error("the witness knows the log '{origin}' at size {known}: give the proof from there")]
    Elsewhere {
        /// Which log.
        origin: String,
        /// The size that was cosigned last; 0 if none was.
        known: u64,
    },
    /// The log shows another history than before, or cannot prove that it does not.
    #[error(
        "the log '{origin}' does not follow from what was cosigned at size {}: {reason}", known.size
    )]
    Forked {
        /// Which log.
        origin: String,
        /// What was cosigned last.
        known: TreeHead,
        /// What is wrong with the proof.
        reason: ProofError,
    },
    /// Another request for the same log came first.
    #[error("the log '{0}' was cosigned just now, by another request")]
    Beaten(String),
    /// What the database says of the log is garbled.
    #[error("what is stored of the log '{0}' is garbled")]
    Garbled(String),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

#[derive(sqlx::FromRow)]
struct Row {
    size: i64,
    root: Vec<u8>,
    keys: Vec<String>,
}

/// What is known of a log.
#[derive(Default)]
struct Known {
    head: Option<TreeHead>,
    keys: Vec<Verifier>,
}

impl Witness {
    /// The witness that cosigns with this key, on a pool of [`crate::Role::Worker`].
    #[must_use]
    pub fn new(pool: PgPool, cosigner: Cosigner) -> Self {
        Self { pool, cosigner }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &Verifier {
        self.cosigner.verifier()
    }

    /// The logs that it has cosigned.
    pub async fn logs(&self) -> Result<Vec<Witnessed>, WitnessError> {
        let rows: Vec<(String, i64, Timestamp)> =
            sqlx::query_as("SELECT origin, size, at FROM es.witnessed ORDER BY origin")
                .fetch_all(&self.pool)
                .await?;
        let witnessed =
            |(origin, size, at): (_, i64, _)| Witnessed { origin, size: size.cast_unsigned(), at };
        Ok(rows.into_iter().map(witnessed).collect())
    }

    /// Cosigns a checkpoint at a time, if it follows from the last one of its log that was cosigned.
    /// The new one is remembered before the note is given away.
    ///
    /// `keys` are believed to be the log's from now on, besides those named earlier. Of a log that
    /// was never seen, any checkpoint is the first.
    pub async fn cosign(
        &self,
        request: &WitnessRequest,
        keys: &[Verifier],
        at: Timestamp,
    ) -> Result<Note, WitnessError> {
        let checkpoint: Checkpoint = request.checkpoint.text().parse()?;
        let origin = checkpoint.origin();
        let mut tx = self.pool.begin().await?;
        let mut known = known(&mut tx, origin).await?;
        known.believe(origin, keys)?;
        let opened = Checkpoint::open(&request.checkpoint, origin, &known.keys)?;
        let head = opened.checkpoint.head();
        if head.size == 0 {
            return Err(WitnessError::Empty(origin.to_owned()));
        }
        follows(request, origin, known.head, head)?;
        let mut note = request.checkpoint.clone();
        let time = u64::try_from(at.timestamp()).unwrap_or_default();
        note.cosign(&self.cosigner, time).map_err(CheckpointError::from)?;
        remember(&mut tx, origin, head, &known, at).await?;
        tx.commit().await?;
        Ok(note)
    }
}

impl Known {
    fn believe(&mut self, origin: &str, keys: &[Verifier]) -> Result<(), WitnessError> {
        for key in keys {
            if key.name() != origin || key.is_cosigner() {
                let (key, origin) = (Box::new(key.clone()), origin.to_owned());
                return Err(WitnessError::OtherKey { key, origin });
            }
            if !self.keys.contains(key) {
                self.keys.push(key.clone());
            }
        }
        if self.keys.is_empty() {
            return Err(WitnessError::UnknownLog(origin.to_owned()));
        }
        Ok(())
    }
}

/// That the new head has only added to the one that is known.
fn follows(
    request: &WitnessRequest,
    origin: &str,
    known: Option<TreeHead>,
    new: TreeHead,
) -> Result<(), WitnessError> {
    let size = known.map_or(0, |head| head.size);
    if request.old != size || known.is_none() && !request.proof.is_empty() {
        return Err(WitnessError::Elsewhere { origin: origin.to_owned(), known: size });
    }
    let Some(known) = known else { return Ok(()) };
    verify_consistency(known, new, &request.proof).map_err(|reason| WitnessError::Forked {
        origin: origin.to_owned(),
        known,
        reason,
    })
}

/// What is known of a log, locked until the end of the transaction.
async fn known(db: &mut PgConnection, origin: &str) -> Result<Known, WitnessError> {
    let row: Option<Row> =
        sqlx::query_as("SELECT size, root, keys FROM es.witnessed WHERE origin = $1 FOR UPDATE")
            .bind(origin)
            .fetch_optional(db)
            .await?;
    let Some(Row { size, root, keys }) = row else { return Ok(Known::default()) };
    let garbled = || WitnessError::Garbled(origin.to_owned());
    let root: [u8; 32] = root.try_into().map_err(|_| garbled())?;
    let keys = keys.iter().map(|key| key.parse().map_err(|_| garbled()));
    let head = TreeHead { size: size.cast_unsigned(), root: root.into() };
    Ok(Known { head: Some(head), keys: keys.collect::<Result<_, _>>()? })
}

async fn remember(
    db: &mut PgConnection,
    origin: &str,
    head: TreeHead,
    known: &Known,
    at: Timestamp,
) -> Result<(), WitnessError> {
    let keys: Vec<String> = known.keys.iter().map(ToString::to_string).collect();
    let statement = match known.head {
        Some(_) => {
            "UPDATE es.witnessed SET size = $2, root = $3, keys = $4, at = $5 WHERE origin = $1"
        }
        None => {
            "INSERT INTO es.witnessed (origin, size, root, keys, at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT DO NOTHING"
        }
    };
    let done = sqlx::query(statement)
        .bind(origin)
        .bind(head.size.cast_signed())
        .bind(head.root.as_bytes().as_slice())
        .bind(keys)
        .bind(at)
        .execute(db)
        .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(WitnessError::Beaten(origin.to_owned())) }
}
