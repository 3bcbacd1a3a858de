//! Sealing, proving, and finding whatever was changed.

mod finding;
mod keys;
mod removed;
mod since;
mod witness;

use std::sync::Arc;

use domain::scenario::NOON;
use domain::{Actor, Id};
use proptest::prelude::*;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Finding, Line, LineError, Notary, SealError, Trees, Trust, entry, origin, verifiers, verify,
};
use crate::tlog::{Checkpoint, Note, Signer, leaf};
use crate::{
    Append, Draft, EventStore, Expected, Metadata, PgEventStore, Recorded, StreamAppend, StreamId,
};

const SEED: [u8; 32] = [9; 32];

fn recorded(body: &str) -> Recorded {
    Recorded {
        deployment: "everstep".into(),
        position: 12,
        id: Uuid::from_u128(1),
        category: "execution".to_owned(),
        stream: Uuid::from_u128(2),
        version: 7,
        name: "execution.started".to_owned(),
        schema: 3,
        opened: None,
        fact: None,
        salt: [5; 32],
        body: RawValue::from_string(body.to_owned()).unwrap(),
        meta: Metadata {
            tenant: Id::from_uuid(Uuid::from_u128(3)),
            actor: Actor::ApiKey(Uuid::from_u128(6)),
            correlation: Uuid::from_u128(4),
            causation: Uuid::from_u128(5),
            traceparent: None,
            at: NOON,
        },
        recorded_at: None,
    }
}

/// The bytes that are hashed may never change: proofs that were given away rest on them.
#[test]
fn the_entry_of_an_event_is_these_bytes_for_ever() {
    let expected = concat!(
        r#"{"specversion":"1.0","id":"00000000-0000-0000-0000-000000000001","#,
        r#""source":"/everstep/00000000-0000-0000-0000-000000000003/execution","#,
        r#""type":"execution.started","#,
        r#""subject":"execution/00000000-0000-0000-0000-000000000002@7","#,
        r#""time":"2026-01-01T12:00:00.000000Z","datacontenttype":"application/json","#,
        r#""position":"12","streamversion":"7","schemaversion":3,"#,
        r#""correlationid":"00000000-0000-0000-0000-000000000004","#,
        r#""causationid":"00000000-0000-0000-0000-000000000005","#,
        r#""authtype":"api_key","authid":"00000000-0000-0000-0000-000000000006","#,
        r#""datahash":"VWrC/+GQo/X7K1PSIE/HKxozQG2AhHeetlLqmVjjjAQ="}"#
    );
    let early = recorded(r#"{"a":1}"#);
    assert_eq!(entry(&early), expected);
    let noted = concat!(
        r#""time":"2026-01-01T12:00:00.000000Z","recordedtime":"2026-01-01T12:00:00.000000Z","#,
        r#""sequence":"0000000000000000012","partitionkey":"00000000-0000-0000-0000-000000000002","#,
    );
    let expected = expected.replace(r#""time":"2026-01-01T12:00:00.000000Z","#, noted);
    assert_eq!(entry(&Recorded { recorded_at: Some(NOON), ..early }), expected);
}

#[test]
fn a_line_tells_its_leaf_byte_by_byte() {
    for leaf_index in [None, Some(0), Some(1_234_567)] {
        let event = recorded(r#"{"text":"\",\"datasalt\":\"x\",\"data\":{}"}"#);
        let text = Line::write(&event, leaf_index);
        serde_json::from_str::<serde_json::Value>(&text).expect("is JSON");
        let line = Line::read(&text).expect("is a line");
        assert_eq!(line.leaf, leaf_index);
        assert_eq!(line.leaf_hash(), leaf(entry(&event).as_bytes()));
    }
}

proptest! {
    /// Whatever is changed in a line, it does not pass for the same event.
    #[test]
    fn no_changed_byte_of_a_line_goes_unnoticed(at in 0_usize..700, to in 32_u8..127) {
        let event = recorded(r#"{"agent":"a","text":"some words","number":12345}"#);
        let text = Line::write(&event, Some(41));
        let mut changed = text.clone().into_bytes();
        let at = at % changed.len();
        prop_assume!(changed[at] != to);
        changed[at] = to;
        let changed = String::from_utf8(changed).unwrap();
        if let Ok(line) = Line::read(&changed) {
            let same = line.leaf_hash() == leaf(entry(&event).as_bytes());
            prop_assert!(!same || line.leaf != Some(41), "{changed}");
        }
    }
}

#[test]
fn data_that_is_not_what_was_recorded_is_told_apart_from_a_broken_line() {
    let text = Line::write(&recorded(r#"{"a":1}"#), Some(1));
    assert_eq!(Line::read(&text.replace(r#"{"a":1}"#, r#"{"a":2}"#)), Err(LineError::Data));
    assert_eq!(Line::read("{}"), Err(LineError::Form));
    assert_eq!(Line::read(text.trim_end_matches('}')), Err(LineError::Form));
}

async fn append(store: &PgEventStore, tenant: u128, stream: u128, from: i64, count: u128) {
    let tenant = Id::from_uuid(Uuid::from_u128(tenant));
    let draft = |nth| Draft {
        id: Id::<Draft>::derived(tenant.as_uuid(), &format!("{stream}/{from}/{nth}")).as_uuid(),
        name: "thing.happened".to_owned(),
        schema: 1,
        body: format!(r#"{{"nth":{nth}}}"#),
        opened: None,
        fact: None,
    };
    let part = StreamAppend {
        stream: StreamId { tenant, category: "thing", id: Uuid::from_u128(stream) },
        expected: Expected::At(from),
        subject: None,
        events: (0..count).map(draft).collect(),
    };
    let meta = Metadata { tenant, ..recorded("{}").meta };
    store
        .append(Append { meta, streams: vec![part], reply: None, fence: None })
        .await
        .expect("appends");
}

fn public(seed: &[u8; 32]) -> [u8; 32] {
    *Signer::new("any", seed).unwrap().verifier().public()
}

fn pinned(keys: &[[u8; 32]]) -> Trust<'_> {
    Trust { keys, ..Trust::default() }
}

/// Makes a key the newest, by the word of the one before it.
async fn tell(pool: &PgPool, seed: &[u8; 32], word: Option<&str>) {
    let retire = "UPDATE es.signing_key SET retired_at = now() WHERE retired_at IS NULL";
    sqlx::query(retire).execute(pool).await.unwrap();
    sqlx::query(
        "INSERT INTO es.signing_key (secret, fingerprint, public, word)
         VALUES (gen_random_uuid(), '', $1, $2)",
    )
    .bind(public(seed).as_slice())
    .bind(word)
    .execute(pool)
    .await
    .unwrap();
}

/// A log of two tenants, sealed in pieces of uneven size.
async fn sealed(pool: &PgPool) -> (Arc<PgEventStore>, Notary, Trees) {
    let store = Arc::new(PgEventStore::new(pool.clone()));
    let notary = Notary::new(pool.clone(), store.clone(), Zeroizing::new(SEED));
    tell(pool, &SEED, None).await;
    for (stream, count) in [(1, 3), (2, 250), (3, 10), (4, 600)] {
        append(&store, 71, stream, 0, count).await;
        append(&store, 72, stream, 0, 7).await;
        assert!(notary.seal(NOON).await.expect("seals") > 0);
    }
    (store, notary, Trees::new(pool.clone()))
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_sealed_log_verifies_and_each_of_its_events_can_be_proved(pool: PgPool) {
    let (store, notary, trees) = sealed(&pool).await;
    let whole = verify(store.clone(), &trees, Trust::default()).await.expect("checks");
    assert_eq!((whole.finding, whole.events, whole.unsealed), (None, 891, 0));
    assert_eq!((whole.tenants, whole.checkpoints), (2, 8));

    let tenant = Uuid::from_u128(71);
    let keys = trees.keys().await.expect("keys").publics;
    let keys = verifiers(&origin("everstep", tenant), &keys).expect("are keys");
    for event in store.read(0, 1_000).await.expect("reads") {
        if event.meta.tenant.as_uuid() != tenant || event.position % 37 != 1 {
            continue;
        }
        let proof = trees.prove(tenant, event.position).await.expect("asks").expect("is sealed");
        let read = crate::tlog::ProofFile::parse(proof.to_string().as_bytes()).expect("parses");
        let hash = leaf(entry(&event).as_bytes());
        read.verify(hash, &origin("everstep", tenant), &keys).expect("is proved");
        read.verify(leaf(b"another"), &origin("everstep", tenant), &keys).expect_err("is not");
    }
    assert_eq!(notary.seal(NOON).await.expect("has nothing to do"), 0);
    append(&store, 71, 9, 0, 2).await;
    let more = verify(store.clone(), &trees, Trust::default()).await.expect("checks");
    assert_eq!((more.finding, more.events, more.unsealed), (None, 891, 2));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn checkpoints_of_tenants_are_leaves_of_the_installations_tree(pool: PgPool) {
    let (_, _, trees) = sealed(&pool).await;
    let own: Uuid =
        sqlx::query_scalar("SELECT installation FROM es.notary").fetch_one(&pool).await.unwrap();
    let last = trees.latest(own).await.expect("reads").expect("is there");
    assert_eq!(last.head.size, 8, "two tenants, four checkpoints each");
    let note = Note::parse(last.note.as_bytes()).expect("parses");
    let keys = trees.keys().await.expect("keys").publics;
    let keys = verifiers(&origin("everstep", own), &keys).expect("are keys");
    Checkpoint::open(&note, &origin("everstep", own), &keys).expect("is signed");
    assert!(!trees.tenants().await.expect("tenants").contains(&own));
}

/// What an intruder with all rights could change, and where it shows.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn whatever_is_changed_is_found_and_named(pool: PgPool) {
    let (store, _, trees) = sealed(&pool).await;
    let event = |column: &str, value: &str| {
        format!("UPDATE es.event SET {column} = {value} WHERE position = 300")
    };
    let found = Finding::Event { position: 300 };
    for (column, value) in [
        ("body", "'{\"nth\":1}'"),
        ("salt", "decode(repeat('01', 32), 'hex')"),
        ("name", "'thing.done'"),
        ("at", "at + interval '1 microsecond'"),
        ("actor", "'\"system\"'"),
        ("correlation", "gen_random_uuid()"),
        ("causation", "gen_random_uuid()"),
        ("id", "gen_random_uuid()"),
        ("stream", "gen_random_uuid()"),
        ("version", "version + 1000"),
        ("schema", "2"),
        ("category", "'other'"),
        ("traceparent", "'x'"),
    ] {
        assert_eq!(after(&pool, &store, &trees, &event(column, value)).await, Some(found.clone()));
    }
    let tenant = event("tenant", "'00000000-0000-0000-0000-000000000048'");
    assert!(after(&pool, &store, &trees, &tenant).await.is_some(), "given to the other tenant");
    let gone = after(&pool, &store, &trees, "DELETE FROM es.event WHERE position = 300").await;
    assert!(matches!(gone, Some(Finding::Unreadable { .. })), "{gone:?}");
    let cut = "DELETE FROM es.event WHERE position > 880; UPDATE es.log SET position = 880";
    let cut = after(&pool, &store, &trees, cut).await;
    assert!(matches!(cut, Some(Finding::Checkpoint { .. })), "{cut:?}");
    for (level, nth) in [(0, 0), (0, 3), (1, 0)] {
        let tile = format!(
            "UPDATE es.tile SET hashes = set_byte(hashes, 40, 255 - get_byte(hashes, 40))
             WHERE tree = '00000000-0000-0000-0000-000000000047' AND level = {level} AND nth = {nth}"
        );
        assert!(after(&pool, &store, &trees, &tile).await.is_some(), "tile {level}/{nth}");
    }
    let note = "UPDATE es.checkpoint SET note = replace(note, 'everstep', 'elsewhere')";
    assert!(after(&pool, &store, &trees, note).await.is_some());
    assert_eq!(
        verify(store.clone(), &trees, Trust::default()).await.expect("checks").finding,
        None,
        "is mended"
    );
    let other =
        verify(store.clone(), &trees, pinned(&[public(&[3; 32])])).await.expect("checks").finding;
    assert!(matches!(other, Some(Finding::Checkpoint { .. })), "another key: {other:?}");
}

/// Changes something as a superuser who goes round the triggers.
async fn tamper(pool: &PgPool, change: &str) {
    let mut db = pool.acquire().await.expect("connects");
    for statement in
        ["SET session_replication_role = replica", change, "RESET session_replication_role"]
    {
        let statement = AssertSqlSafe(statement.to_owned());
        sqlx::raw_sql(statement).execute(&mut *db).await.expect("tampers");
    }
}

/// What is found after a change by a superuser who goes round the triggers. The change is undone.
async fn after(
    pool: &PgPool,
    store: &Arc<PgEventStore>,
    trees: &Trees,
    change: &str,
) -> Option<Finding> {
    let copies = ["event", "log", "tile", "checkpoint", "notary"];
    for table in copies {
        tamper(pool, &format!("CREATE TABLE public.{table} AS SELECT * FROM es.{table}")).await;
    }
    tamper(pool, change).await;
    let finding = verify(store.clone(), trees, Trust::default()).await.expect("checks").finding;
    for table in copies {
        let restore = format!(
            "DELETE FROM es.{table}; INSERT INTO es.{table} SELECT * FROM public.{table};
             DROP TABLE public.{table}"
        );
        tamper(pool, &restore).await;
    }
    finding
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn not_even_the_owner_can_take_back_what_was_sealed(pool: PgPool) {
    let _ = sealed(&pool).await;
    for change in [
        "UPDATE es.tile SET hashes = substr(hashes, 1, 32)",
        "UPDATE es.tile SET positions = positions[2:] WHERE level = 0",
        "UPDATE es.tile SET first_position = 1",
        "DELETE FROM es.tile",
        "TRUNCATE es.tile",
        "UPDATE es.checkpoint SET note = ''",
        "DELETE FROM es.checkpoint",
        "TRUNCATE es.checkpoint",
    ] {
        let error = sqlx::query(change).execute(&pool).await.expect_err(change);
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        assert_eq!(code.as_deref(), Some("42501"), "{change}: {error}");
    }
}

/// A tree whose tiles do not give the root that was signed is not continued.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nothing_is_signed_on_top_of_changed_tiles(pool: PgPool) {
    let (store, notary, _) = sealed(&pool).await;
    append(&store, 71, 9, 0, 2).await;
    tamper(&pool, "UPDATE es.tile SET hashes = set_byte(hashes, 0, 255 - get_byte(hashes, 0))")
        .await;
    let refused = notary.seal(NOON).await;
    assert!(matches!(refused, Err(SealError::Log(crate::Error::Damaged(_)))), "{refused:?}");
}
