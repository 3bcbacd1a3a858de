//! `audit checkpoint` and `audit witness`: a log and the installation that cosigns it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use connectors::vault::Vault;
use eventstore::audit::{
    CosignatureError, Trees, Witness, WitnessError, Witnessed, keep_cosignature,
};
use eventstore::tlog::{Cosigner, NOTE_LIMIT, Note, Verifier, WitnessRequest};
use eventstore::{Clock, Role};
use serde_json::json;
use sqlx::PgPool;
use workers::signing::Signing;

use super::super::Context;
use super::open;
use crate::args::{Checkpoint, Cosign};
use crate::failure::Failure;
use crate::output::table;
use crate::platform::master_key;

/// Prints the newest checkpoint or the request to a witness, or keeps what a witness has answered.
pub(crate) async fn checkpoint(context: &Context, what: &Checkpoint) -> Result<(), Failure> {
    if let (Some(file), Some(witness)) = (&what.add, &what.witness) {
        return add(context, file, witness).await;
    }
    let (_, trees) = open(context).await?;
    match what.old {
        Some(old) => request(context, &trees, what, old).await,
        None => newest(context, &trees, what).await,
    }
}

async fn newest(context: &Context, trees: &Trees, what: &Checkpoint) -> Result<(), Failure> {
    let sealed = trees.latest(what.tenant).await.context("reading the checkpoint")?;
    let sealed = sealed.ok_or_else(|| {
        Failure::NotFound(format!("nothing of tenant {} is sealed yet", what.tenant))
    })?;
    show(context, "checkpoint", &sealed.note)
}

async fn request(
    context: &Context,
    trees: &Trees,
    what: &Checkpoint,
    old: u64,
) -> Result<(), Failure> {
    let request = trees.request(what.tenant, old).await.context("reading the tree")?;
    let request = request.ok_or_else(|| {
        let tenant = what.tenant;
        Failure::NotFound(format!("tenant {tenant} has no checkpoint of {old} events or more"))
    })?;
    show(context, "request", &request.to_string())
}

async fn add(context: &Context, file: &Path, witness: &Verifier) -> Result<(), Failure> {
    let bytes = read(file)?;
    let shown = file.display();
    let note =
        Note::parse(&bytes).map_err(|error| Failure::Verification(format!("{shown}: {error}")))?;
    let pool = worker(context).await?;
    let size = match keep_cosignature(&pool, &note, witness).await {
        Ok(size) => size,
        Err(CosignatureError::Database(error)) => {
            return Err(anyhow!(error).context("keeping the cosignature").into());
        }
        Err(
            error @ (CosignatureError::NoWitness(_)
            | CosignatureError::Unsigned(_)
            | CosignatureError::OtherLog { .. }),
        ) => return Err(Failure::Verification(format!("{shown}: {error}"))),
    };
    let name = witness.name();
    context.output.show(&json!({"size": size, "witness": witness.to_string()}), || {
        format!("{name} has cosigned the checkpoint at {size} events")
    })
}

/// Cosigns a checkpoint of another log if it follows from the last; without one, tells the
/// witness's key and the logs it knows.
pub(crate) async fn witness(context: &Context, what: &Cosign) -> Result<(), Failure> {
    let pool = worker(context).await?;
    let clock = Clock::of(&pool).await.context("asking the database for the time")?;
    let witness = as_witness(context, &pool, &clock).await?;
    let Some(file) = &what.request else {
        let logs = witness.logs().await.context("reading what was cosigned")?;
        return list(context, &witness, &logs);
    };
    let request = WitnessRequest::parse(&read(file)?)
        .map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
    let note = witness.cosign(&request, &what.key, clock.now()).await.map_err(failure)?;
    show(context, "checkpoint", &note.to_string())
}

fn failure(error: WitnessError) -> Failure {
    match error {
        WitnessError::UnknownLog(_) | WitnessError::OtherKey { .. } | WitnessError::Empty(_) => {
            Failure::Usage(error.to_string())
        }
        WitnessError::Checkpoint(_) | WitnessError::Forked { .. } => {
            Failure::Verification(error.to_string())
        }
        WitnessError::Elsewhere { .. } | WitnessError::Beaten(_) => {
            Failure::Conflict(error.to_string())
        }
        WitnessError::Garbled(_) | WitnessError::Database(_) => {
            anyhow!(error).context("cosigning").into()
        }
    }
}

fn list(context: &Context, witness: &Witness, logs: &[Witnessed]) -> Result<(), Failure> {
    let key = witness.key().to_string();
    let item = |log: &Witnessed| json!({"log": log.origin, "size": log.size, "at": log.at});
    let value = json!({"key": key, "items": logs.iter().map(item).collect::<Vec<_>>()});
    context.output.show(&value, || {
        let row = |log: &Witnessed| {
            [log.origin.clone(), log.size.to_string(), log.at.to_rfc3339()].to_vec()
        };
        let rows = logs.iter().map(row);
        format!("{key}\n{}", table(&["log", "size", "cosigned at"], rows))
    })
}

async fn as_witness(context: &Context, pool: &PgPool, clock: &Clock) -> Result<Witness, Failure> {
    let vault = Vault::new(pool.clone(), master_key(context)?);
    vault.verify().await.context("opening the vault")?;
    let seed = Signing { pool, vault: &vault, clock }.witness_key().await;
    let seed = seed.context("reading the key of the witness")?;
    let name = Trees::new(pool.clone()).deployment().await.context("reading the name")?;
    let cosigner = Cosigner::new(&format!("{name}/witness"), &seed);
    Ok(Witness::new(pool.clone(), cosigner.context("reading the key of the witness")?))
}

async fn worker(context: &Context) -> Result<PgPool, Failure> {
    let pool = eventstore::connect(&context.database_url()?, Role::Worker, 4).await;
    Ok(pool.context("connecting to the database")?)
}

/// What is in a file, or comes in if it is called `-`; not more than a request may have.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let from: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(file).with_context(|| format!("reading {}", file.display()))?)
    };
    let mut bytes = vec![];
    let limit = 2 * NOTE_LIMIT as u64 + 1;
    from.take(limit).read_to_end(&mut bytes).with_context(|| file.display().to_string())?;
    Ok(bytes)
}

fn show(context: &Context, name: &str, text: &str) -> Result<(), Failure> {
    context.output.show(&json!({name: text}), || text.trim_end().to_owned())
}
