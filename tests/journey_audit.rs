//! The audit trail over HTTP: whole, checkable by its bytes, and nobody else's.

use std::collections::BTreeMap;

use domain::api_key::Access;
use eventstore::audit::Line;
use eventstore::tlog::{self, Frontier, Note, ProofFile, Verifier};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::documents::ECHO;
use crate::support::{Api, World, ok};

/// All events, in pages of `limit`, as the bytes they came in.
async fn trail(api: &Api, limit: usize) -> Vec<String> {
    let (mut lines, mut cursor) = (vec![], String::new());
    loop {
        let answer = api.get(&format!("/audit/events?limit={limit}{cursor}")).await;
        ok(&answer, 200);
        let page: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(&answer.text).expect("a page");
        let items: Vec<Box<RawValue>> = serde_json::from_str(page["items"].get()).expect("items");
        lines.extend(items.iter().map(|item| item.get().to_owned()));
        let next: Option<String> =
            serde_json::from_str(page["next_cursor"].get()).expect("a cursor");
        let Some(next) = next else { return lines };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test]
async fn an_auditor_can_check_every_byte_of_the_trail() {
    let world = World::start().await;
    let api = world.api();
    let echo = api.publish(ECHO).await;
    for number in 0..5 {
        api.run(&echo, &serde_json::json!(number)).await;
    }
    let all = trail(&api, 1_000).await;
    assert_eq!(trail(&api, 3).await.len(), all.len(), "in small pages as well");
    let sealed = u64::try_from(all.len()).expect("a count");
    let last = api.until("/audit/checkpoints/latest", |last| last["size"] == sealed).await;

    let mut tree = Frontier::default();
    let all = trail(&api, 7).await;
    for (index, text) in (0..).zip(&all) {
        let line = Line::read(text).expect("is a line");
        assert_eq!(line.leaf, Some(index));
        tree.push(line.leaf_hash());
    }
    let origin = last["origin"].as_str().expect("an origin");
    let keys = last["keys"].as_array().expect("keys").iter();
    let keys: Vec<Verifier> =
        keys.map(|key| key.as_str().expect("a text").parse().expect("a key")).collect();
    let note = Note::parse(last["note"].as_str().expect("a note").as_bytes()).expect("parses");
    let opened = tlog::Checkpoint::open(&note, origin, &keys).expect("is signed");
    assert_eq!(opened.checkpoint.head(), tree.head());
    assert_eq!(last["root"], tree.root().to_string());

    // And each event alone.
    for text in [&all[0], &all[all.len() / 2]] {
        let line = Line::read(text).expect("is a line");
        let event: Value = serde_json::from_str(text).expect("is JSON");
        let path = format!("/audit/proof/{}", event["id"].as_str().expect("an id"));
        let answer = api.get(&path).await;
        ok(&answer, 200);
        assert_eq!(answer.body["leaf_index"], line.leaf.expect("is sealed"));
        let proof = answer.body["proof"].as_str().expect("a text");
        let proof = ProofFile::parse(proof.as_bytes()).expect("parses");
        proof.verify(line.leaf_hash(), origin, &keys).expect("is proved");
        let theirs = world.key_of_somebody_else(Access::Admin).await.get(&path).await;
        assert_eq!((theirs.status, &theirs.body["code"]), (404, &json!("event_not_found")));
    }
}

#[tokio::test]
async fn the_trail_is_for_admins_and_shows_no_other_tenants_events() {
    let world = World::start().await;
    let theirs = world.key_of_somebody_else(Access::Admin).await;
    world.api().publish(ECHO).await;
    let lines = trail(&theirs, 100).await;
    assert_eq!(lines.len(), 1, "only that the key was made");
    assert!(lines[0].contains(r#""type":"api_key.created""#), "{lines:?}");
    let reader = world.key_of_somebody_else(Access::Read).await;
    for path in ["/audit/events", "/audit/checkpoints/latest", "/audit/proof/x"] {
        assert_eq!(reader.get(path).await.status, 403, "{path}");
        assert_eq!(world.api_with(None).get(path).await.status, 401, "{path}");
    }
    assert_eq!(theirs.get("/audit/proof/x").await.status, 404);
    for bad in ["limit=0", "limit=1001", "cursor=x", "cursor=-1"] {
        let answer = theirs.get(&format!("/audit/events?{bad}")).await;
        assert_eq!(answer.status, 400, "{bad}");
    }
}
