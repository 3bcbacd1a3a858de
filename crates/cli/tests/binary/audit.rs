//! Proving the log: in the database, and in a bundle without it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventstore::audit::{Notary, Trees, entry, origin};
use eventstore::tlog::{ProofFile, Signer, leaf};
use eventstore::{EventStore, PgEventStore};
use sqlx::PgPool;
use tempfile::TempDir;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::database::{fill, url_of};
use super::{Ended, run, text};

const TENANT: Uuid = Uuid::from_u128(1);
const SEED: [u8; 32] = [3; 32];
const EVENTS: i64 = 600;

/// Everything that is needed to check the tenant's events, beside the database they come from.
struct Audit {
    url: String,
    key: String,
    files: TempDir,
    bundle: PathBuf,
}

async fn sealed(pool: &PgPool) -> Audit {
    fill(pool, EVENTS).await;
    let signer = Signer::new(&origin(TENANT), &SEED).unwrap();
    sqlx::query("INSERT INTO es.signing_key (secret, fingerprint, public) VALUES ($1, '', $2)")
        .bind(Uuid::nil())
        .bind(signer.verifier().public().as_slice())
        .execute(pool)
        .await
        .unwrap();
    let log = Arc::new(PgEventStore::new(pool.clone()));
    let notary = Notary::new(pool.clone(), log, Zeroizing::new(SEED));
    let now = chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    assert_eq!(notary.seal(now).await.unwrap(), usize::try_from(EVENTS).unwrap());
    let (url, files) = (url_of(pool).await, tempfile::tempdir().unwrap());
    let bundle = files.path().join("bundle");
    let tenant = TENANT.to_string();
    run(&[
        "audit",
        "export",
        "--database-url",
        &url,
        "--tenant",
        &tenant,
        "--bundle",
        text(&bundle),
    ])
    .expect(0);
    Audit { url, key: signer.verifier().to_string(), files, bundle }
}

impl Audit {
    fn live(&self) -> Ended {
        run(&["audit", "verify", "--live", "--database-url", &self.url])
    }

    /// Checks a copy of the bundle in which one file was changed.
    fn changed(&self, file: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> Ended {
        let copy = self.files.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        copy_tree(&self.bundle, &copy);
        let path = copy.join(file);
        fs::write(&path, change(fs::read(&path).unwrap())).unwrap();
        run(&["audit", "verify", text(&copy), "--key", &self.key])
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy_tree(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

fn lines(change: impl Fn(&mut Vec<String>)) -> impl Fn(Vec<u8>) -> Vec<u8> {
    move |bytes| {
        let mut lines: Vec<String> =
            String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect();
        change(&mut lines);
        lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
    }
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn an_untouched_log_and_its_bundle_verify(pool: PgPool) {
    let audit = sealed(&pool).await;
    let live = audit.live().expect(0);
    assert!(live.out.starts_with("600 events of 1 tenant are what was sealed"), "{live:?}");
    let bundle = text(&audit.bundle);
    let own = run(&["audit", "verify", bundle, "-o", "json"]).expect(0).json();
    assert_eq!((&own["events"], &own["result"]), (&600.into(), &"verified".into()));
    run(&["audit", "verify", bundle, "--key", &audit.key]).expect(0);
    let other = Signer::new(&origin(TENANT), &[4; 32]).unwrap().verifier().to_string();
    run(&["audit", "verify", bundle, "--key", &other]).expect(8);
    run(&["audit", "verify", bundle, "--key", "nonsense"]).expect(2);
    run(&["audit", "verify"]).expect(2);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn whatever_is_changed_in_a_bundle_is_found(pool: PgPool) {
    let audit = sealed(&pool).await;
    audit.changed("manifest.json", |bytes| bytes).expect(0);
    for number in [1, 300, 600] {
        let changed = lines(|lines| lines[number - 1] = lines[number - 1].replace("read", "rEad"));
        let ended = audit.changed("events.ndjson", changed).expect(8);
        assert!(ended.err.contains(&format!("line {number}:")), "{ended:?}");
    }
    let actor = lines(|lines| lines[6] = lines[6].replace(r#""system""#, r#""api_key""#));
    let ended = audit.changed("events.ndjson", actor).expect(8);
    assert!(ended.err.contains("line 7: it is not what was sealed"), "{ended:?}");
    let removed = audit.changed("events.ndjson", lines(|lines| drop(lines.remove(41)))).expect(8);
    assert!(removed.err.contains("line 42: an event is missing"), "{removed:?}");
    let cut = audit.changed("events.ndjson", lines(|lines| lines.truncate(599))).expect(8);
    assert!(cut.err.contains("599 events, and 600 were sealed"), "{cut:?}");
    for tile in ["tile/0/000", "tile/0/001", "tile/0/002.p/88"] {
        let flip = |mut bytes: Vec<u8>| {
            bytes[33] ^= 1;
            bytes
        };
        audit.changed(tile, flip).expect(8);
    }
    let smaller = |bytes| String::from_utf8(bytes).unwrap().replace("\n600\n", "\n599\n").into();
    audit.changed("checkpoint", smaller).expect(8);
    let claim = |bytes| String::from_utf8(bytes).unwrap().replace("600", "601").into();
    audit.changed("manifest.json", claim).expect(8);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_flipped_byte_in_the_database_is_named(pool: PgPool) {
    let audit = sealed(&pool).await;
    let mut db = pool.acquire().await.unwrap();
    for statement in [
        "SET session_replication_role = replica",
        "UPDATE es.event SET body = set_byte(body, 12, get_byte(body, 12) # 1)
         WHERE position = 417",
        "RESET session_replication_role",
    ] {
        sqlx::query(statement).execute(&mut *db).await.unwrap();
    }
    let ended = audit.live().expect(8);
    assert!(ended.err.contains("417"), "{ended:?}");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn an_event_is_proved_to_whoever_has_only_the_proof(pool: PgPool) {
    let audit = sealed(&pool).await;
    let shown = run(&["audit", "proof", "417", "--database-url", &audit.url]).expect(0);
    let proof = ProofFile::parse(shown.out.as_bytes()).unwrap();
    let event = PgEventStore::new(pool.clone()).read(416, 1).await.unwrap().remove(0);
    let keys = Trees::new(pool.clone()).keys(&origin(TENANT)).await.unwrap();
    proof.verify(leaf(entry(&event).as_bytes()), &origin(TENANT), &keys).unwrap();
    run(&["audit", "proof", "601", "--database-url", &audit.url]).expect(3);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn an_export_has_only_what_was_asked_for(pool: PgPool) {
    let audit = sealed(&pool).await;
    let export = |more: &[&str]| {
        let ended = run(&[&["audit", "export", "--database-url", &audit.url], more].concat());
        ended.expect(0).out.lines().count()
    };
    assert_eq!(export(&["--type", "api_key.created"]), 600);
    assert_eq!(export(&["--type", "api_key.revoked"]), 0);
    assert_eq!(export(&["--tenant", &TENANT.to_string(), "--from", "10", "--to", "19"]), 10);
    assert_eq!(export(&["--tenant", &Uuid::from_u128(2).to_string()]), 0);
    assert_eq!(export(&["--actor", &Uuid::from_u128(2).to_string()]), 0);
}
