//! The keys of the log, its name, and its witnesses.

use connectors::vault::Vault;
use domain::Id;
use domain::integration::SecretRef;
use secrecy::{ExposeSecret, SecretString};

use super::super::database::fill_after;
use super::super::everstep;
use super::*;

const MASTER: [u8; 32] = [8; 32];

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_log_that_has_events_is_not_served_under_another_name(pool: PgPool) {
    let audit = sealed(&pool).await;
    let args = ["serve", "--port", "0", "--database-url", &audit.url, "--data-dir"];
    let args = [&args[..], &[text(audit.files.path())]].concat();
    let ended = Ended::of(everstep(&args).env("EVERSTEP_DEPLOYMENT", "acme")).expect(2);
    assert!(
        ended.err.contains("'acme': this installation has been called 'everstep'"),
        "{ended:?}"
    );
}

/// Puts the secret half of the key into the vault, as the notary does.
async fn keep(pool: &PgPool) -> Vault {
    let vault = Vault::new(pool.clone(), MASTER);
    vault.verify().await.unwrap();
    let (owner, secret) = (Id::from_uuid(Uuid::nil()), SecretString::from(hex::encode(SEED)));
    let kept = vault.put(owner, Uuid::nil(), &secret).await.unwrap();
    sqlx::query("UPDATE es.signing_key SET fingerprint = $1")
        .bind(&kept.fingerprint)
        .execute(pool)
        .await
        .unwrap();
    vault
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_key_is_replaced_and_whoever_knew_the_old_one_believes_the_new_one(pool: PgPool) {
    let audit = sealed(&pool).await;
    let vault = keep(&pool).await;
    let rotate = |master: [u8; 32]| {
        let args = ["audit", "rotate-key", "--database-url", &audit.url, "-o", "json"];
        Ended::of(everstep(&args).env("EVERSTEP_MASTER_KEY", hex::encode(master)))
    };
    rotate([1; 32]).expect(1);
    let shown = rotate(MASTER).expect(0).json();

    fill_after(&pool, EVENTS, 400).await;
    let (secret, fingerprint): (Uuid, String) =
        sqlx::query_as("SELECT secret, fingerprint FROM es.signing_key WHERE retired_at IS NULL")
            .fetch_one(&pool)
            .await
            .unwrap();
    let reference = SecretRef { id: secret, fingerprint };
    let seed = vault.get(Id::from_uuid(Uuid::nil()), &reference).await.unwrap();
    let seed: [u8; 32] = hex::decode(seed.expose_secret()).unwrap().try_into().unwrap();
    let new = Signer::new(&origin("everstep", TENANT), &seed).unwrap();
    assert_eq!(shown["new"], hex::encode(new.verifier().public()));
    let log = Arc::new(PgEventStore::new(pool.clone()));
    let now = DateTime::from_timestamp(1_700_000_001, 0).unwrap();
    let notary = Notary::new(pool.clone(), log, Zeroizing::new(seed));
    let notary = notary.after(vec![Zeroizing::new(SEED)]);
    // The first checkpoint after the change has both signatures, the second one has not.
    assert_eq!(notary.seal(now).await.unwrap(), 400);
    fill_after(&pool, EVENTS + 400, 1).await;
    assert_eq!(notary.seal(now).await.unwrap(), 1);

    run(&["audit", "verify", "--live", "--key", &audit.key, "--database-url", &audit.url])
        .expect(0);
    let bundle = audit.archive("rotated.tar.zst");
    let bundle = text(&bundle);
    run(&["audit", "verify", bundle]).expect(0);
    run(&["audit", "verify", bundle, "--key", &audit.key]).expect(0);
    run(&["audit", "verify", bundle, "--key", &new.verifier().to_string()]).expect(0);
    let other = Signer::new(&origin("everstep", TENANT), &[4; 32]).unwrap().verifier().to_string();
    run(&["audit", "verify", bundle, "--key", &other]).expect(8);
    sqlx::query("UPDATE es.signing_key SET word = NULL").execute(&pool).await.unwrap();
    let live = ["audit", "verify", "--live", "--key", &audit.key, "--database-url", &audit.url];
    run(&live).expect(8);
}

/// What a command of an installation with a vault prints.
fn vaulted(url: &str, args: &[&str]) -> Ended {
    let args = [&["audit"], args, &["--database-url", url]].concat();
    Ended::of(everstep(&args).env("EVERSTEP_MASTER_KEY", hex::encode(MASTER)))
}

/// The log and its witness are on one database here; each knows of the other only what it is told.
#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_witness_cosigns_what_follows_and_no_fork(pool: PgPool) {
    let audit = sealed(&pool).await;
    let (url, tenant) = (&audit.url, TENANT.to_string());
    let file = |name: &str, text: &str| {
        let path = audit.files.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let shown = vaulted(url, &["witness", "-o", "json"]).expect(0).json();
    let witness = shown["key"].as_str().unwrap();
    let first = vaulted(url, &["checkpoint", "--tenant", &tenant, "--old", "0"]).expect(0);
    let first = file("first", &first.out);
    vaulted(url, &["witness", &first]).expect(2);
    let note = vaulted(url, &["witness", &first, "--key", &audit.key]).expect(0);
    let note = file("note", &note.out);
    let live = ["verify", "--live", "--witness", witness];
    let ended = vaulted(url, &live).expect(8);
    assert!(ended.err.contains("has cosigned no checkpoint"), "{ended:?}");
    let add = ["checkpoint", "--tenant", &tenant, "--add", &note, "--witness"];
    vaulted(url, &[&add[..], &[&audit.key]].concat()).expect(8);
    vaulted(url, &[&add[..], &[witness]].concat()).expect(0);
    vaulted(url, &live).expect(0);

    let head = TreeHead { size: 601, root: EMPTY };
    let signer = Signer::new(&origin("everstep", TENANT), &SEED).unwrap();
    let fork = Checkpoint::new(signer.verifier().name(), head).unwrap().sign(&signer).unwrap();
    let fork = file("fork", &format!("old 600\n{EMPTY}\n\n{fork}"));
    let ended = vaulted(url, &["witness", &fork]).expect(8);
    assert!(ended.err.contains("does not follow from what was cosigned at size 600"), "{ended:?}");
    vaulted(url, &["witness", &file("none", "old x")]).expect(2);

    fill_after(&pool, EVENTS, 3).await;
    let notary =
        Notary::new(pool.clone(), Arc::new(PgEventStore::new(pool.clone())), Zeroizing::new(SEED));
    assert_eq!(notary.seal(DateTime::UNIX_EPOCH).await.unwrap(), 3);
    let ended = vaulted(url, &["witness", &first]).expect(5);
    assert!(ended.err.contains("at size 600: give the proof from there"), "{ended:?}");
    let newest = audit.archive("newest.tar.zst");
    run(&["audit", "verify", text(&newest)]).expect(0);
    run(&["audit", "verify", text(&newest), "--witness", witness]).expect(8);
    let path = audit.files.path().join("cosigned.tar.zst");
    let bundle = ["export", "--tenant", &tenant, "--bundle", text(&path), "--witness", witness];
    vaulted(url, &bundle).expect(0);
    let verified = run(&["audit", "verify", text(&path), "--witness", witness, "-o", "json"]);
    assert_eq!(verified.expect(0).json()["events"], 600, "up to what was cosigned");
    let logs = vaulted(url, &["witness", "-o", "json"]).expect(0).json();
    assert_eq!(logs["items"][0]["size"], 600);
    let next = vaulted(url, &["checkpoint", "--tenant", &tenant, "--old", "600"]).expect(0);
    vaulted(url, &["witness", &file("next", &next.out)]).expect(0);
    vaulted(url, &["checkpoint", "--tenant", &tenant, "--old", "700"]).expect(3);
}
