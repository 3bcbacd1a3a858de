use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::signature::{
    SignatureError, Verified, check_secret, sign_github, sign_standard, verify,
};
use super::{Command, DELIVERY_LIMIT, Delivery, Event, NewDelivery, Refusal};
use crate::integration::{Scheme, WorkflowRef};
use crate::scenario::{NOON, given};
use crate::{Aggregate, Id, Timestamp};

fn new(body: Value) -> NewDelivery {
    NewDelivery {
        integration: Id::from_uuid(Uuid::from_u128(1)),
        event_type: Some("issues".to_owned()),
        dedupe_key: "d-1".to_owned(),
        headers: BTreeMap::new(),
        body,
        digest: "00".to_owned(),
        subject: None,
        starts: None,
    }
}

fn starting(body: Value) -> NewDelivery {
    let starts = WorkflowRef { namespace: "default".to_owned(), name: "triage".to_owned() };
    NewDelivery { starts: Some(starts), ..new(body) }
}

fn receive(new: NewDelivery) -> Command {
    Command::Receive(Box::new(new))
}

fn received(new: NewDelivery) -> Event {
    Event::Received {
        integration: new.integration,
        event_type: new.event_type,
        dedupe_key: new.dedupe_key,
        headers: new.headers.into(),
        body: new.body.into(),
        digest: new.digest.into(),
        subject: new.subject,
        starts: new.starts,
    }
}

#[test]
fn a_delivery_is_taken_once() {
    let first = new(json!({"a": 1}));
    given::<Delivery>([]).when(receive(first.clone())).then([received(first.clone())]);
    given::<Delivery>([received(first)]).when(receive(new(json!({"a": 2})))).then([]);
}

#[test]
fn the_same_key_of_another_integration_is_another_delivery() {
    let [one, other] = [1, 2].map(|number| Id::from_uuid(Uuid::from_u128(number)));
    assert_eq!(Delivery::id(one, "d-1"), Delivery::id(one, "d-1"));
    assert_ne!(Delivery::id(one, "d-1"), Delivery::id(other, "d-1"));
    assert_ne!(Delivery::id(one, "d-1"), Delivery::id(one, "d-2"));
}

#[test]
fn what_does_not_fit_into_the_log_is_refused() {
    let no = Delivery::default().decide(&receive(new(json!("x".repeat(DELIVERY_LIMIT)))), NOON);
    assert!(matches!(no, Err(Refusal::TooLarge { limit: DELIVERY_LIMIT, .. })), "{no:?}");
    let no = Delivery::default().decide(&receive(new(json!("\0"))), NOON);
    assert!(matches!(no, Err(Refusal::Unstorable(_))), "{no:?}");
}

#[test]
fn what_the_execution_could_not_carry_is_refused_while_the_sender_listens() {
    let body = json!("x".repeat(crate::execution::INPUT_LIMIT));
    given::<Delivery>([]).when(receive(new(body.clone()))).then([received(new(body.clone()))]);
    let no = Delivery::default().decide(&receive(starting(body)), NOON);
    assert!(matches!(no, Err(Refusal::TooLarge { .. })), "{no:?}");
}

const GITHUB_SECRET: &str = "It's a Secret to Everybody";
const GITHUB_SIGNED: &str =
    "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const STANDARD_SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const STANDARD_BODY: &[u8] = br#"{"test": 2432232314}"#;

type Headers = HashMap<&'static str, String>;

fn headers(fields: &[(&'static str, &str)]) -> Headers {
    fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(seconds, 0).unwrap()
}

fn github(headers: &Headers, body: &[u8]) -> Result<Verified, SignatureError> {
    let header = |name: &str| headers.get(name).cloned();
    verify(Scheme::GithubSha256, GITHUB_SECRET, &header, body, NOON)
}

fn standard(headers: &Headers, body: &[u8], now: i64) -> Result<Verified, SignatureError> {
    let header = |name: &str| headers.get(name).cloned();
    verify(Scheme::StandardWebhooks, STANDARD_SECRET, &header, body, at(now))
}

fn github_headers() -> Headers {
    headers(&[
        ("x-hub-signature-256", GITHUB_SIGNED),
        ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ("x-github-event", "issues"),
    ])
}

fn standard_headers() -> Headers {
    headers(&[
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", STANDARD_SIGNED),
    ])
}

#[test]
fn the_documented_github_signature_verifies() {
    let verified = github(&github_headers(), b"Hello, World!").unwrap();
    assert_eq!(verified.dedupe_key, "72d3162e-cc78-11e3-81ab-4c9367dc0958");
    assert_eq!(verified.event_type.as_deref(), Some("issues"));
}

#[test]
fn a_github_delivery_without_proof_or_with_a_wrong_one_is_refused() {
    let body = b"Hello, World!";
    assert_eq!(github(&github_headers(), b"Hello, World"), Err(SignatureError::Wrong));
    for name in ["x-hub-signature-256", "x-github-delivery"] {
        let mut fewer = github_headers();
        fewer.remove(name);
        assert_eq!(github(&fewer, body), Err(SignatureError::Missing(name)));
    }
    for bad in ["", "sha256=", "sha256=00", "sha256=xyz", &GITHUB_SIGNED[7..], "sha1=00"] {
        let mut wrong = github_headers();
        wrong.insert("x-hub-signature-256", bad.to_owned());
        assert!(github(&wrong, body).is_err(), "{bad}");
    }
}

#[test]
fn the_documented_standard_signature_verifies() {
    let verified = standard(&standard_headers(), STANDARD_BODY, 1_614_265_330).unwrap();
    assert_eq!(verified.dedupe_key, "msg_p5jXN8AQM9LWM0D4loKWxJek");
    assert_eq!(verified.event_type, None);
}

#[test]
fn any_of_several_standard_signatures_will_do() {
    let mut several = standard_headers();
    several.insert("webhook-signature", format!("v1a,AAAA v1,AAAA {STANDARD_SIGNED}"));
    assert!(standard(&several, STANDARD_BODY, 1_614_265_330).is_ok());
    several.insert("webhook-signature", STANDARD_SIGNED.replace("v1,", "v2,"));
    assert_eq!(standard(&several, STANDARD_BODY, 1_614_265_330), Err(SignatureError::Wrong));
}

#[test]
fn a_standard_delivery_is_good_for_five_minutes_either_way() {
    let signed = 1_614_265_330;
    for off in [-300, 300] {
        assert!(standard(&standard_headers(), STANDARD_BODY, signed + off).is_ok(), "{off}");
    }
    for off in [-301, 301] {
        let stale = standard(&standard_headers(), STANDARD_BODY, signed + off);
        assert_eq!(stale, Err(SignatureError::Stale), "{off}");
    }
}

#[test]
fn malformed_standard_fields_are_refused() {
    let cases = [
        ("webhook-timestamp", ""),
        ("webhook-timestamp", "-5"),
        ("webhook-timestamp", "1614265330.0"),
        ("webhook-timestamp", "99999999999999999999"),
        ("webhook-id", ""),
        ("webhook-id", "msg.1"),
        ("webhook-id", "msg 1"),
    ];
    for (name, value) in cases {
        let mut wrong = standard_headers();
        wrong.insert(name, value.to_owned());
        let refused = standard(&wrong, STANDARD_BODY, 1_614_265_330);
        assert_eq!(refused, Err(SignatureError::Missing(name)), "{value:?}");
    }
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut fewer = standard_headers();
        fewer.remove(name);
        let refused = standard(&fewer, STANDARD_BODY, 1_614_265_330);
        assert_eq!(refused, Err(SignatureError::Missing(name)));
    }
}

fn standard_signed(id: &str, body: &[u8]) -> Headers {
    let now = NOON.timestamp();
    let signature = sign_standard(STANDARD_SECRET, id, now, body).unwrap();
    let now = now.to_string();
    headers(&[("webhook-id", id), ("webhook-timestamp", &now), ("webhook-signature", &signature)])
}

#[test]
fn a_standard_body_names_its_type() {
    let body = br#"{"type": "user.created", "data": {}}"#;
    let verified = standard(&standard_signed("m1", body), body, NOON.timestamp()).unwrap();
    assert_eq!(verified.event_type.as_deref(), Some("user.created"));
}

#[test]
fn unusable_secrets_are_told_when_they_are_set() {
    assert!(check_secret(Scheme::GithubSha256, "").is_err());
    assert!(check_secret(Scheme::GithubSha256, "x").is_ok());
    assert!(check_secret(Scheme::StandardWebhooks, STANDARD_SECRET).is_ok());
    for bad in ["", "whsec_", "whsec_!!", "whsec_AAAA"] {
        assert!(check_secret(Scheme::StandardWebhooks, bad).is_err(), "{bad}");
    }
}

proptest! {
    /// Whatever is asked, in whatever order: nothing panics, nothing follows the end, and the
    /// state is exactly what a replay of the history gives.
    #[test]
    fn histories_are_well_formed(bodies in prop::collection::vec("[a-z\0]{0,8}", 0..10)) {
        let (mut state, mut history) = (Delivery::default(), Vec::new());
        for body in bodies {
            for event in state.decide(&receive(starting(json!(body))), NOON).unwrap_or_default() {
                prop_assert!(history.is_empty(), "{event:?} after the end");
                state.evolve(&event);
                history.push(event);
            }
        }
        prop_assert_eq!(state, Delivery::replay(&history));
    }

    /// What is signed verifies, and no longer does when one bit of the body has changed.
    #[test]
    fn a_signature_is_over_every_bit(body: Vec<u8>, bit: prop::sample::Index) {
        let mut other = body.clone();
        if !body.is_empty() {
            let bit = bit.index(body.len() * 8);
            other[bit / 8] ^= 1 << (bit % 8);
        }
        let wrong = (other != body).then_some(SignatureError::Wrong);
        let mut signed = github_headers();
        signed.insert("x-hub-signature-256", sign_github(GITHUB_SECRET, &body));
        prop_assert!(github(&signed, &body).is_ok());
        prop_assert_eq!(github(&signed, &other).err(), wrong);
        let signed = standard_signed("m1", &body);
        prop_assert!(standard(&signed, &body, NOON.timestamp()).is_ok());
        prop_assert_eq!(standard(&signed, &other, NOON.timestamp()).err(), wrong);
    }
}
