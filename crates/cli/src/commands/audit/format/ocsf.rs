//! Events in the Open Cybersecurity Schema Framework, for SIEM systems: class API Activity (6003).

use eventstore::audit::Line;
use eventstore::{CloudEvent, Recorded};
use serde_json::{Value, json};

/// The version of the schema. It has every attribute that is used here.
const VERSION: &str = "1.3.0";
/// Application Activity.
const CATEGORY: u32 = 6;
/// API Activity.
const CLASS: u32 = 6003;
/// Informational: the log holds what happened, not what is wrong.
const SEVERITY: u32 = 1;

/// What is done to a thing, by the last word of an event's type; all else is an update of the
/// thing whose stream it is in.
const CREATES: [&str; 6] =
    ["created", "requested", "started", "received", "version_committed", "version_published"];
const DELETES: [&str; 2] = ["deleted", "revoked"];

fn activity(kind: &str) -> (u32, &'static str) {
    let word = kind.rsplit('.').next().unwrap_or(kind);
    if CREATES.contains(&word) {
        (1, "Create")
    } else if DELETES.contains(&word) {
        (4, "Delete")
    } else {
        (3, "Update")
    }
}

/// A line for an event. `raw_data` is its line of the canonical export, which can be checked.
///
/// The log does not say from which address a call came: `src_endpoint` names the party instead.
pub(super) fn line(event: &Recorded, leaf: Option<u64>) -> String {
    let shown = CloudEvent::from(event);
    let (activity_id, activity_name) = activity(&event.name);
    json!({
        "activity_id": activity_id,
        "activity_name": activity_name,
        "category_uid": CATEGORY,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "API Activity",
        "type_uid": CLASS * 100 + activity_id,
        "type_name": format!("API Activity: {activity_name}"),
        "severity_id": SEVERITY,
        "severity": "Informational",
        "time": event.meta.at.timestamp_millis(),
        "actor": actor(&shown),
        "api": {"operation": event.name, "service": {"name": event.category}},
        "src_endpoint": {"svc_name": shown.authtype, "uid": shown.authid},
        "resources": [{
            "uid": event.stream,
            "type": event.category,
            "version": event.version.to_string(),
        }],
        "metadata": metadata(event),
        "raw_data": Line::write(event, leaf),
        "unmapped": {"causationid": event.meta.causation, "traceparent": event.meta.traceparent},
    })
    .to_string()
}

fn actor(shown: &CloudEvent<'_>) -> Value {
    match shown.authid {
        None => json!({"app_name": "everstep"}),
        Some(id) => json!({"app_name": "everstep", "user": {"uid": id, "name": shown.authtype}}),
    }
}

fn metadata(event: &Recorded) -> Value {
    json!({
        "version": VERSION,
        "product": {
            "name": "Everstep",
            "vendor_name": "Everstep",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "uid": event.id,
        "tenant_uid": event.meta.tenant,
        "correlation_uid": event.meta.correlation,
        "sequence": event.position,
        "log_name": "audit",
    })
}
