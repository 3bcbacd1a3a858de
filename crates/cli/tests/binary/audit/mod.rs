//! Proving the log: in the database, and in a bundle without it.

mod keys;
mod selected;
mod since;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::DateTime;
use eventstore::audit::{Line, Notary, Trees, entry, origin, verifiers};
use eventstore::tlog::{Checkpoint, EMPTY, ProofFile, Signer, TreeHead, leaf};
use eventstore::{EventStore, PgEventStore};
use sqlx::PgPool;
use tar::{Builder, EntryType, Header};
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
    let signer = Signer::new(&origin("everstep", TENANT), &SEED).unwrap();
    sqlx::query("INSERT INTO es.signing_key (secret, fingerprint, public) VALUES ($1, '', $2)")
        .bind(Uuid::nil())
        .bind(signer.verifier().public().as_slice())
        .execute(pool)
        .await
        .unwrap();
    let log = Arc::new(PgEventStore::new(pool.clone()));
    let notary = Notary::new(pool.clone(), log, Zeroizing::new(SEED));
    let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
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

impl Audit {
    /// Checks a copy of the bundle that lacks one file.
    fn without(&self, file: &str) -> Ended {
        let copy = self.files.path().join("less");
        let _ = fs::remove_dir_all(&copy);
        copy_tree(&self.bundle, &copy);
        fs::remove_file(copy.join(file)).unwrap();
        run(&["audit", "verify", text(&copy)])
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
    let other = Signer::new(&origin("everstep", TENANT), &[4; 32]).unwrap().verifier().to_string();
    run(&["audit", "verify", bundle, "--key", &other]).expect(8);
    run(&["audit", "verify", bundle, "--key", "nonsense"]).expect(2);
    run(&["audit", "verify", "/nowhere"]).expect(3);
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
    let above =
        audit.changed("tile/1/000.p/2", |bytes| bytes.iter().map(|byte| byte ^ 1).collect());
    assert!(above.expect(8).err.contains("the one above the tiles before it"));
    let smaller = |bytes| String::from_utf8(bytes).unwrap().replace("\n600\n", "\n599\n").into();
    audit.changed("checkpoint", smaller).expect(8);
    let claim = |bytes| String::from_utf8(bytes).unwrap().replace("600", "601").into();
    audit.changed("manifest.json", claim).expect(8);
    let digest = |bytes| String::from_utf8(bytes).unwrap().replace("sha256\": \"", "sha256\": \"0");
    let digest = audit.changed("manifest.json", |bytes| digest(bytes).into()).expect(8);
    assert!(digest.err.contains("SHA-256"), "{digest:?}");
    for file in ["manifest.json", "checkpoint", "keys.txt", "tile/0/000", "events.ndjson"] {
        let ended = audit.without(file).expect(8);
        assert!(ended.err.contains(&format!("{file} is missing")), "{ended:?}");
    }
}

/// Whoever changes an event can change its leaf as well, but not what was signed.
#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn an_event_that_was_changed_together_with_its_leaf_is_found(pool: PgPool) {
    let audit = sealed(&pool).await;
    let path = audit.bundle.join("events.ndjson");
    let forged = fs::read_to_string(&path).unwrap();
    let (before, last) = forged.trim_end().rsplit_once('\n').unwrap();
    let last = last.replace(r#""system""#, r#""api_key""#);
    fs::write(&path, format!("{before}\n{last}\n")).unwrap();
    let leaf = Line::read(&last).unwrap().leaf_hash();
    let ended = audit
        .changed("tile/0/002.p/88", |bytes| [&bytes[..bytes.len() - 32], leaf.as_bytes()].concat());
    assert!(ended.expect(8).err.contains("the tiles do not give the root"));
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
    let keys = Trees::new(pool.clone()).keys().await.unwrap().publics;
    let keys = verifiers(&origin("everstep", TENANT), &keys).unwrap();
    proof.verify(leaf(entry(&event).as_bytes()), &origin("everstep", TENANT), &keys).unwrap();
    run(&["audit", "proof", "601", "--database-url", &audit.url]).expect(3);
    let id = event.id.to_string();
    let by_id = run(&["audit", "proof", &id, "--database-url", &audit.url]).expect(0);
    assert_eq!(by_id.out, shown.out);
    let other = Uuid::from_u128(1 << 100).to_string();
    let unknown = run(&["audit", "proof", &other, "--database-url", &audit.url]).expect(3);
    assert!(unknown.err.contains(&other), "{unknown:?}");
    run(&["audit", "proof", "0", "--database-url", &audit.url]).expect(2);
    run(&["audit", "proof", "first", "--database-url", &audit.url]).expect(2);
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
    assert_eq!(export(&["--format", "csv", "--from", "10", "--to", "19"]), 11, "with its header");
    assert_eq!(export(&["--format", "ocsf"]), 600);
    // All were decided at this time.
    assert_eq!(
        export(&["--from", "2023-11-14T22:13:20Z", "--to", "2023-11-14T23:13:20+01:00"]),
        600
    );
    assert_eq!(export(&["--from", "2023-11-14T22:13:20.000001Z"]), 0);
    assert_eq!(export(&["--to", "2023-11-14T22:13:19.999999Z"]), 0);
    for bad in [["yesterday", "5"], ["5", "4"], ["0", "4"]] {
        let args =
            ["audit", "export", "--database-url", &audit.url, "--from", bad[0], "--to", bad[1]];
        run(&args).expect(2);
    }
}

impl Audit {
    fn archive(&self, name: &str) -> PathBuf {
        let path = self.files.path().join(name);
        let tenant = TENANT.to_string();
        let bundle = ["--tenant", &tenant, "--bundle", text(&path)];
        run(&[&["audit", "export", "--database-url", &self.url], &bundle[..]].concat()).expect(0);
        path
    }

    /// Checks an archive that somebody made of these files.
    fn made(&self, make: impl FnOnce(&mut Builder<Vec<u8>>)) -> Ended {
        let mut tar = Builder::new(vec![]);
        make(&mut tar);
        let path = self.files.path().join("made.tar.zst");
        fs::write(&path, zstd::encode_all(&tar.into_inner().unwrap()[..], 3).unwrap()).unwrap();
        run(&["audit", "verify", text(&path)])
    }
}

/// The files of an archive.
fn unpacked(path: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = zstd::decode_all(File::open(path).unwrap()).unwrap();
    let mut tar = tar::Archive::new(&bytes[..]);
    let files = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = vec![];
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().to_string_lossy().into_owned(), bytes)
    });
    files.collect()
}

fn put(tar: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, bytes: &[u8]) {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    // As it stands: the library would refuse to write what the attacker would.
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    tar.append(&header, bytes).unwrap();
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn one_file_holds_a_bundle_and_is_the_same_each_time(pool: PgPool) {
    let audit = sealed(&pool).await;
    let (one, two) = (audit.archive("one.tar.zst"), audit.archive("two.tar.zst"));
    assert_eq!(fs::read(&one).unwrap(), fs::read(two).unwrap());
    let own = run(&["audit", "verify", text(&one), "-o", "json"]).expect(0).json();
    assert_eq!((&own["events"], &own["result"]), (&600.into(), &"verified".into()));
    run(&["audit", "verify", text(&one), "--key", &audit.key]).expect(0);
    for (name, bytes) in unpacked(&one) {
        assert_eq!(fs::read(audit.bundle.join(&name)).unwrap(), bytes, "{name} as in a directory");
    }
    // What is there is not written over.
    let tenant = TENANT.to_string();
    let again = ["--tenant", &tenant, "--bundle", text(&one)];
    run(&[&["audit", "export", "--database-url", &audit.url], &again[..]].concat()).expect(5);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_hostile_archive_is_refused_and_the_first_bad_line_named(pool: PgPool) {
    let audit = sealed(&pool).await;
    let files = unpacked(&audit.archive("good.tar.zst"));
    let whole = |tar: &mut Builder<Vec<u8>>, change: &dyn Fn(&str, Vec<u8>) -> Vec<u8>| {
        for (name, bytes) in &files {
            put(tar, name, EntryType::Regular, &change(name, bytes.clone()));
        }
    };
    audit.made(|tar| whole(tar, &|_, bytes| bytes)).expect(0);
    let flipped = audit.made(|tar| {
        whole(tar, &|name, bytes| match name {
            "events.ndjson" => {
                String::from_utf8(bytes).unwrap().replace("\"417\"", "\"418\"").into()
            }
            _ => bytes,
        });
    });
    let flipped = flipped.expect(8);
    assert!(flipped.err.contains("events.ndjson, line 417:"), "{flipped:?}");
    for (name, kind) in [
        ("../manifest.json", EntryType::Regular),
        ("/etc/passwd", EntryType::Regular),
        ("manifest.json", EntryType::Symlink),
        ("manifest.json", EntryType::Link),
        ("manifest.json", EntryType::Directory),
        ("manifest.json", EntryType::GNULongName),
        ("manifest.json", EntryType::XHeader),
        ("checkpoint", EntryType::Regular),
    ] {
        let ended = audit.made(|tar| {
            put(tar, name, kind, b"");
            whole(tar, &|_, bytes| bytes);
        });
        assert!(ended.expect(8).err.contains("stands where manifest.json is expected"), "{name}");
    }
    let more = audit.made(|tar| {
        whole(tar, &|_, bytes| bytes);
        put(tar, "more", EntryType::Regular, b"");
    });
    assert!(more.expect(8).err.contains("'more' does not belong"));
    audit.made(|tar| put(tar, "manifest.json", EntryType::Regular, &vec![b' '; 2 << 20])).expect(8);
    audit.made(|_| ()).expect(8);
    let mut behind = fs::read(audit.archive("behind.tar.zst")).unwrap();
    behind.extend(zstd::encode_all(&b"something"[..], 3).unwrap());
    let path = audit.files.path().join("behind.tar.zst");
    fs::write(&path, behind).unwrap();
    run(&["audit", "verify", text(&path)]).expect(8);
    let line = audit.made(|tar| {
        whole(tar, &|name, bytes| {
            if name == "events.ndjson" { vec![b' '; 64 << 20] } else { bytes }
        });
    });
    assert!(line.expect(8).err.contains("line 1: it is longer"), "a line without an end");
}

/// A checkpoint that anybody can sign does not make the checker set space aside for its events.
#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn an_archive_that_claims_more_than_it_can_hold_is_refused(pool: PgPool) {
    let audit = sealed(&pool).await;
    let files = unpacked(&audit.archive("good.tar.zst"));
    let head = TreeHead { size: 1 << 40, root: EMPTY };
    let signer = Signer::new(&origin("everstep", TENANT), &SEED).unwrap();
    let note = Checkpoint::new(&origin("everstep", TENANT), head)
        .unwrap()
        .sign(&signer)
        .unwrap()
        .to_string();
    let ended = audit.made(|tar| {
        for (name, bytes) in &files {
            let bytes = if name == "checkpoint" { note.as_bytes() } else { bytes };
            put(tar, name, EntryType::Regular, bytes);
        }
    });
    assert!(ended.expect(8).err.contains("which are not here"));
}
