//! Every body that was ever stored can still be read: one file for each event and schema version.
//!
//! `crates/domain/golden/<category>/<event>.v<schema>.json` is a body as stored, in canonical JSON;
//! more of the same sort have a word of their own before `.json`. A file that was released is never
//! changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use domain::{Actor, Event, Fact, Id};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::codec::{decode, encode, names};
use crate::{Error, Metadata, Recorded, fact};

/// A category, the events it has today and their present versions.
type Known = (&'static str, &'static [&'static str], fn(&str) -> u16);

fn categories() -> Vec<Known> {
    fn of<E: Event>(category: &'static str) -> Known {
        (category, names::<E>("no such event").expect("serde tells the names"), E::version)
    }
    vec![
        of::<domain::agent::Event>("agent"),
        of::<domain::api_key::Event>("api_key"),
        of::<domain::execution::Event>("execution"),
        of::<domain::integration::Event>("integration"),
        of::<domain::invocation::Event>("invocation"),
        of::<domain::notification::Event>("notification"),
        of::<domain::payload::Event>("payload"),
        of::<domain::prompt::Event>("prompt"),
        of::<domain::subject::Event>("subject"),
        of::<domain::template::Event>("template"),
        of::<domain::webhook::Event>("webhook"),
        of::<domain::workflow::Event>("workflow"),
    ]
}

/// Name and body of today's version.
fn stored(fact: &Fact) -> (String, String) {
    match fact {
        Fact::Agent(event) => encode(event),
        Fact::ApiKey(event) => encode(event),
        Fact::Execution(event) => encode(event),
        Fact::Integration(event) => encode(event),
        Fact::Invocation(event) => encode(event),
        Fact::Notification(event) => encode(event),
        Fact::Payload(event) => encode(event),
        Fact::Prompt(event) => encode(event),
        Fact::Subject(event) => encode(event),
        Fact::Template(event) => encode(event),
        Fact::Webhook(event) => encode(event),
        Fact::Workflow(event) => encode(event),
    }
}

fn row(category: &str, name: &str, schema: u16, body: &str) -> Recorded {
    Recorded {
        deployment: crate::DEPLOYMENT.into(),
        position: 1,
        id: Uuid::nil(),
        category: category.to_owned(),
        stream: Uuid::nil(),
        version: 1,
        name: name.to_owned(),
        schema,
        salt: [0; 32],
        body: RawValue::from_string(body.to_owned()).expect("a body is JSON"),
        opened: None,
        fact: None,
        meta: Metadata {
            tenant: Id::from_uuid(Uuid::nil()),
            actor: Actor::System,
            correlation: Uuid::nil(),
            causation: Uuid::nil(),
            traceparent: None,
            at: domain::scenario::NOON,
        },
        recorded_at: None,
    }
}

/// The golden files of a category: event, schema version and body.
fn files(category: &str) -> Vec<(String, u16, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../domain/golden").join(category);
    let entries = fs::read_dir(&folder).expect("every category has golden files");
    let read = |entry: fs::DirEntry| {
        let file = entry.file_name().into_string().expect("names are UTF-8");
        let mut parts = file.split('.');
        let event = format!("{category}.{}", parts.next().expect("an event"));
        let schema = parts.next().and_then(|part| part.strip_prefix('v')?.parse().ok());
        let body = fs::read_to_string(entry.path()).expect("can be read");
        let body = body.strip_suffix('\n').expect("ends with a newline").to_owned();
        (event, schema.unwrap_or_else(|| panic!("{file}: no version")), body)
    };
    entries.map(|entry| read(entry.expect("can be listed"))).collect()
}

#[test]
fn every_version_of_every_event_has_a_golden_file() {
    for (category, names, version) in categories() {
        let there: BTreeSet<_> =
            files(category).into_iter().map(|(name, schema, _)| (name, schema)).collect();
        let needed: BTreeSet<_> = names
            .iter()
            .flat_map(|name| (1..=version(name)).map(|schema| ((*name).to_owned(), schema)))
            .collect();
        assert_eq!(there, needed, "crates/domain/golden/{category}");
    }
}

#[test]
fn every_body_ever_stored_can_be_read_and_todays_are_written_the_same() {
    for (category, _, version) in categories() {
        assert_eq!(crate::category(category), Some(category), "is known by its name");
        for (name, schema, body) in files(category) {
            let known = fact(&row(category, &name, schema, &body));
            let known = known.unwrap_or_else(|error| panic!("{name} v{schema}: {error:?}"));
            let (written, today) = stored(&known);
            assert_eq!(written, name);
            if schema == version(&name) {
                assert_eq!(today, body, "{name} v{schema}");
            }
        }
    }
}

#[test]
fn what_a_newer_release_wrote_is_told_from_what_is_broken() {
    let newer = [
        row("teleport", "teleport.started", 1, "{}"),
        row("agent", "agent.promoted", 1, "{}"),
        row("agent", "agent.deleted", 2, "{}"),
    ];
    for row in newer {
        let read = fact(&row);
        assert!(
            matches!(&read, Err(Error::Newer { name, version })
                if *name == row.name && *version == row.schema),
            "{read:?}"
        );
    }
    let broken = fact(&row("notification", "notification.failed", 1, r#"{"attempt":"many"}"#));
    assert!(matches!(broken, Err(Error::Decode { version: 1, .. })), "{broken:?}");
}

/// An event that has changed twice: a name that is spelt otherwise, then a number in its place.
mod upcasting {
    use domain::Upcast;
    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type", content = "data")]
    enum Happened {
        #[serde(rename = "door.opened")]
        Opened { width: u64 },
        #[serde(rename = "door.closed")]
        Closed {},
    }

    impl Event for Happened {
        const UPCASTS: &'static [Upcast] = &[
            Upcast { event: "door.opened", from: 1, apply: |body| json!({ "wide": body["wid"] }) },
            Upcast {
                event: "door.opened",
                from: 2,
                apply: |body| json!({ "width": body["wide"].as_str().map_or(0, str::len) }),
            },
        ];
    }

    #[test]
    fn old_bodies_take_every_step_to_todays() {
        for (schema, body) in
            [(1, r#"{"wid":"xxx"}"#), (2, r#"{"wide":"xxx"}"#), (3, r#"{"width":3}"#)]
        {
            let read = decode::<Happened>(&row("door", "door.opened", schema, body));
            assert_eq!(read.expect("reads"), Happened::Opened { width: 3 });
        }
        let newer = decode::<Happened>(&row("door", "door.opened", 4, "{}"));
        assert!(matches!(newer, Err(Error::Newer { version: 4, .. })), "{newer:?}");
    }

    #[test]
    fn an_event_is_written_in_todays_version_with_sorted_keys() {
        let event = Happened::Opened { width: 3 };
        let stream = crate::StreamId {
            tenant: Id::from_uuid(Uuid::nil()),
            category: "door",
            id: Uuid::nil(),
        };
        let drafts = crate::drafts(&[event, Happened::Closed {}], stream, 4, Uuid::max());
        assert_eq!((drafts[0].name.as_str(), drafts[0].schema), ("door.opened", 3));
        assert_eq!((drafts[1].name.as_str(), drafts[1].schema), ("door.closed", 1));
        assert_eq!(drafts[0].body, r#"{"width":3}"#);

        let free: Value =
            serde_json::from_str(r#"{"b":[1,{"z":1,"a":"\u0000"}],"a":1.50}"#).unwrap();
        let (_, body) =
            encode(&domain::execution::Event::Completed { output: free.into(), parent: None });
        assert_eq!(
            body,
            r#"{"output":{"$personal":[{"a":1.5,"b":[1,{"a":"\u0000","z":1}]}]},"parent":null}"#
        );
    }

    #[test]
    fn ids_of_events_follow_from_cause_stream_place_and_content() {
        let stream = |id| crate::StreamId {
            tenant: Id::from_uuid(Uuid::nil()),
            category: "door",
            id: Uuid::from_u128(id),
        };
        let ids_of = |events: &[Happened], id, after, cause| {
            let drafts = crate::drafts(events, stream(id), after, Uuid::from_u128(cause));
            drafts.into_iter().map(|draft| draft.id).collect::<Vec<_>>()
        };
        let ids = |id, after, cause| {
            ids_of(&[Happened::Closed {}, Happened::Closed {}], id, after, cause)
        };
        assert_eq!(ids(1, 0, 1), ids(1, 0, 1));
        assert_ne!(ids(1, 0, 1)[0], ids(1, 0, 1)[1]);
        let all: BTreeSet<_> =
            [ids(1, 0, 1), ids(2, 0, 1), ids(1, 2, 1), ids(1, 0, 2)].concat().into_iter().collect();
        assert_eq!(all.len(), 8);
    }
}
