//! What witnesses have said of this log's checkpoints.

use sqlx::PgPool;
use uuid::Uuid;

use super::notary::tree_of;
use super::trees::{CheckpointRow, Sealed, Trees};
use crate::Error;
use crate::deployment::deployment;
use crate::postgres::LOG;
use crate::tlog::{
    Checkpoint, CheckpointError, Note, Verifier, WitnessRequest, consistency_tiles,
    prove_consistency,
};

/// Why a cosignature is not kept.
#[derive(Debug, thiserror::Error)]
pub enum CosignatureError {
    /// The key is not a witness's.
    #[error("the key {0} is not that of a witness")]
    NoWitness(Box<Verifier>),
    /// It is not a checkpoint, or the witness has not cosigned it.
    #[error("the witness has not cosigned it: {0}")]
    Unsigned(#[from] CheckpointError),
    /// The checkpoint is none that this log has signed.
    #[error("this log has no such checkpoint: '{origin}' at size {size}")]
    OtherLog {
        /// Of which log it says it is.
        origin: String,
        /// At which size.
        size: u64,
    },
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Trees {
    /// What a witness is asked that has cosigned the tree at size `old`, or never (0): to cosign the
    /// newest checkpoint. None if there is no checkpoint of that size or more.
    pub async fn request(&self, tree: Uuid, old: u64) -> Result<Option<WitnessRequest>, Error> {
        let newest = self.latest(tree).await?.filter(|sealed| sealed.head.size >= old);
        let Some(sealed) = newest else { return Ok(None) };
        let (new, damaged) = (sealed.head.size, |error: &dyn std::fmt::Display| {
            Error::Damaged(format!("cannot prove the tree {tree}: {error}"))
        });
        let mut proof = vec![];
        if old > 0 {
            let ids = consistency_tiles(old, new).map_err(|error| damaged(&error))?;
            let tiles = self.tiles(tree, &ids).await?;
            proof = prove_consistency(old, new, &tiles).map_err(|error| damaged(&error))?;
        }
        let checkpoint = Note::parse(sealed.note.as_bytes()).map_err(|error| damaged(&error))?;
        Ok(Some(WitnessRequest { old, proof, checkpoint }))
    }

    /// The newest checkpoint of a tree that a witness has cosigned.
    pub async fn cosigned(&self, tree: Uuid, witness: &Verifier) -> Result<Option<Sealed>, Error> {
        let row: Option<CheckpointRow> = sqlx::query_as(
            "SELECT c.tree, c.size, c.position, c.note, s.line AS cosigned
             FROM es.cosignature s
             JOIN es.checkpoint c ON c.log_id = $1 AND c.tree = $2 AND c.size = s.size
             WHERE s.log_id = $1 AND s.tree = $2 AND s.witness = $3 ORDER BY s.size DESC LIMIT 1",
        )
        .bind(self.log)
        .bind(tree)
        .bind(witness.to_string())
        .fetch_optional(&self.pool)
        .await?;
        row.map(Sealed::try_from).transpose()
    }
}

/// Keeps what a witness has made of a checkpoint, on a pool of [`crate::Role::Worker`]; it is shown
/// with the checkpoint from then on. Tells the size of the tree.
pub async fn keep_cosignature(
    pool: &PgPool,
    note: &Note,
    witness: &Verifier,
) -> Result<u64, CosignatureError> {
    if !witness.is_cosigner() {
        return Err(CosignatureError::NoWitness(Box::new(witness.clone())));
    }
    note.verify(std::slice::from_ref(witness)).map_err(CheckpointError::from)?;
    let checkpoint: Checkpoint = note.text().parse()?;
    let (origin, size) = (checkpoint.origin(), checkpoint.head().size);
    let other = || CosignatureError::OtherLog { origin: origin.to_owned(), size };
    let name = deployment(pool, LOG).await?;
    let tree = tree_of(&name, origin).ok_or_else(other)?;
    let own: Option<String> = sqlx::query_scalar(
        "SELECT note FROM es.checkpoint WHERE log_id = $1 AND tree = $2 AND size = $3",
    )
    .bind(LOG)
    .bind(tree)
    .bind(size.cast_signed())
    .fetch_optional(pool)
    .await?;
    let own = own.and_then(|own| Note::parse(own.as_bytes()).ok());
    let signature = note.signature_by(witness);
    let (Some(signature), true) = (signature, own.is_some_and(|own| own.text() == note.text()))
    else {
        return Err(other());
    };
    sqlx::query(
        "INSERT INTO es.cosignature (log_id, tree, size, witness, line)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(LOG)
    .bind(tree)
    .bind(size.cast_signed())
    .bind(witness.to_string())
    .bind(format!("{signature}\n"))
    .execute(pool)
    .await?;
    Ok(size)
}
