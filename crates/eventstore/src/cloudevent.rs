//! Events as the outside sees them: `CloudEvents` 1.0, on every edge the same.

use chrono::{Datelike, Timelike};
use domain::{Actor, Timestamp};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{Recorded, personal};

/// The version of the format.
const SPEC: &str = "1.0";

/// A stored event in `CloudEvents` JSON. The names and kinds of the attributes are a promise to
/// everyone who ever exported an event.
///
/// Positions and versions are text, because numbers of this format end at 2³¹. Of its standard
/// extensions it uses authentication context (`authtype`, `authid`), distributed tracing, partitioning,
/// recorded time and sequence. Events of releases that did not note when they were recorded have none of
/// the last three: what was hashed of them stays as it was.
#[derive(Debug, Serialize)]
pub struct CloudEvent<'a> {
    specversion: &'static str,
    /// The event's identity; with `source` unique in the world.
    pub id: Uuid,
    /// Whose it is and of which sort: `/{deployment}/{tenant}/{category}`.
    pub source: String,
    /// Its stored name, such as `execution.started`.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// Its place in its stream: `{category}/{stream}@{version}`.
    pub subject: String,
    /// When it was decided, to the microsecond.
    pub time: String,
    /// When it was stored; never before that of the event before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recordedtime: Option<String>,
    /// Its place in the log, so that text sorts like numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<String>,
    /// Its stream, within which order matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    partitionkey: Option<Uuid>,
    datacontenttype: &'static str,
    /// Its place in the log.
    #[serde(serialize_with = "as_text")]
    pub position: i64,
    /// Its place in its stream.
    #[serde(serialize_with = "as_text")]
    pub streamversion: i64,
    /// The version of its schema that `data` was written with.
    pub schemaversion: u16,
    /// What all events of one story share.
    pub correlationid: Uuid,
    /// The command or event that led to it.
    pub causationid: Uuid,
    /// Which sort of party did it: `system`, `api_key`, or `service_account` for a webhook.
    pub authtype: &'static str,
    /// Which one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authid: Option<Uuid>,
    /// W3C Trace Context, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<&'a str>,
    /// The event's own fields, as far as the reader may know them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

impl<'a> From<&'a Recorded> for CloudEvent<'a> {
    fn from(event: &'a Recorded) -> Self {
        Self { data: Some(personal::bare(&event.data())), ..Self::without_data(event) }
    }
}

impl<'a> CloudEvent<'a> {
    fn without_data(event: &'a Recorded) -> Self {
        let Recorded { deployment, category, stream, version, meta, .. } = event;
        let (authtype, authid) = match meta.actor {
            Actor::System => ("system", None),
            Actor::ApiKey(key) => ("api_key", Some(key)),
            Actor::Webhook(integration) => ("service_account", Some(integration)),
        };
        Self {
            specversion: SPEC,
            id: event.id,
            source: format!("/{deployment}/{}/{category}", meta.tenant),
            kind: &event.name,
            subject: format!("{category}/{stream}@{version}"),
            time: text(meta.at),
            recordedtime: event.recorded_at.map(text),
            sequence: event.recorded_at.map(|_| format!("{:019}", event.position)),
            partitionkey: event.recorded_at.map(|_| *stream),
            datacontenttype: "application/json",
            position: event.position,
            streamversion: *version,
            schemaversion: event.schema,
            correlationid: meta.correlation,
            causationid: meta.causation,
            authtype,
            authid,
            traceparent: meta.traceparent.as_deref(),
            data: None,
        }
    }

    /// The JSON of an event without `data`.
    pub(crate) fn envelope(event: &Recorded) -> String {
        let envelope = CloudEvent::without_data(event);
        serde_json::to_string(&envelope).expect("an envelope is plain data")
    }
}

/// A time as RFC 3339 has it, in UTC and to the microsecond. By hand, because every event that is sealed
/// has two, and chrono's way takes longer than all the rest of an envelope.
fn text(time: Timestamp) -> String {
    let (date, clock) = (time.date_naive(), time.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        date.year(),
        date.month(),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        time.timestamp_subsec_micros()
    )
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn as_text<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, SecondsFormat};
    use domain::Id;
    use serde_json::{Value, json};

    use super::*;
    use crate::Metadata;

    fn recorded(actor: Actor, traceparent: Option<String>) -> Recorded {
        Recorded {
            deployment: "everstep".into(),
            position: 5_000_000_000,
            id: Uuid::from_u128(1),
            category: "execution".to_owned(),
            stream: Uuid::from_u128(2),
            version: 7,
            name: "execution.started".to_owned(),
            schema: 3,
            salt: [0; 32],
            body: RawValue::from_string(r#"{"b": 1.10, "a": 2}"#.to_owned()).unwrap(),
            opened: None,
            fact: None,
            meta: Metadata {
                tenant: Id::from_uuid(Uuid::from_u128(3)),
                actor,
                correlation: Uuid::from_u128(4),
                causation: Uuid::from_u128(5),
                traceparent,
                at: DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap(),
            },
            recorded_at: DateTime::from_timestamp_micros(1_700_000_000_250_000),
        }
    }

    #[test]
    fn every_attribute_has_its_promised_name_and_kind() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let event = recorded(Actor::ApiKey(Uuid::from_u128(6)), Some(trace.to_owned()));
        let shown = serde_json::to_value(CloudEvent::from(&event)).unwrap();
        let id = |number| Uuid::from_u128(number).to_string();
        assert_eq!(
            shown,
            json!({
                "specversion": "1.0",
                "id": id(1),
                "source": format!("/everstep/{}/execution", id(3)),
                "type": "execution.started",
                "subject": format!("execution/{}@7", id(2)),
                "time": "2023-11-14T22:13:20.000001Z",
                "recordedtime": "2023-11-14T22:13:20.250000Z",
                "sequence": "0000000005000000000",
                "partitionkey": id(2),
                "datacontenttype": "application/json",
                "position": "5000000000",
                "streamversion": "7",
                "schemaversion": 3,
                "correlationid": id(4),
                "causationid": id(5),
                "authtype": "api_key",
                "authid": id(6),
                "traceparent": trace,
                "data": {"b": 1.10, "a": 2},
            })
        );
    }

    #[test]
    fn times_are_those_of_rfc_3339() {
        for micros in [0, 1, 1_700_000_000_000_001, 4_102_444_799_999_999, -1] {
            let time = DateTime::from_timestamp_micros(micros).unwrap();
            assert_eq!(text(time), time.to_rfc3339_opts(SecondsFormat::Micros, true));
        }
    }

    #[test]
    fn an_event_of_a_release_that_did_not_note_it_says_what_it_always_said() {
        let event = Recorded { recorded_at: None, ..recorded(Actor::System, None) };
        let shown = serde_json::to_value(CloudEvent::from(&event)).unwrap();
        for name in ["recordedtime", "sequence", "partitionkey"] {
            assert_eq!(shown.get(name), None);
        }
    }

    #[test]
    fn attribute_names_are_lower_case_letters_and_digits_as_the_format_wants() {
        let event = recorded(Actor::System, None);
        let Value::Object(shown) = serde_json::to_value(CloudEvent::from(&event)).unwrap() else {
            panic!("not an object")
        };
        let fits =
            |name: &String| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        assert!(shown.keys().all(fits));
        assert!(!shown.contains_key("authid") && !shown.contains_key("traceparent"));
    }

    #[test]
    fn data_goes_out_byte_for_byte_as_it_is_stored() {
        let event = recorded(Actor::Webhook(Uuid::from_u128(8)), None);
        let text = serde_json::to_string(&CloudEvent::from(&event)).unwrap();
        assert!(text.ends_with(r#""data":{"b": 1.10, "a": 2}}"#), "{text}");
        assert!(text.contains(r#""authtype":"service_account""#));
    }
}
