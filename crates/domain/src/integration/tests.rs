use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Auth, Command, Event, Integration, Operation, Outbound, Refusal, Scheme, SecretRef, Spec,
    Webhook, WorkflowRef,
};
use crate::scenario::{NOON, given};
use crate::{Aggregate, Refusal as _};

fn operation(path: &str) -> Operation {
    Operation {
        method: "POST".to_owned(),
        path: path.to_owned(),
        headers: BTreeMap::new(),
        body: None,
        idempotency_header: None,
    }
}

fn spec(base_url: &str) -> Spec {
    Spec {
        description: None,
        base_url: base_url.to_owned(),
        auth: Auth::None,
        operations: BTreeMap::new(),
        test: None,
        webhook: None,
    }
}

/// An integration with one operation.
fn with(one: Operation) -> Spec {
    let operations = [("do".to_owned(), one)].into();
    Spec { operations, ..spec("https://api.example.com/v3/") }
}

fn secret() -> SecretRef {
    SecretRef { id: Uuid::nil(), fingerprint: "00".to_owned() }
}

fn create(spec: Spec) -> Command {
    Command::Create { name: "github".to_owned(), spec: Box::new(spec) }
}

fn revised(revision: u32, spec: Spec) -> Event {
    Event::Revised { name: "github".to_owned(), revision, spec: Box::new(spec) }
}

fn pointers(spec: Spec) -> Vec<String> {
    match Integration::default().decide(&create(spec), NOON) {
        Ok(_) => vec![],
        Err(no) => no.faults().iter().map(|fault| fault.pointer.clone()).collect(),
    }
}

fn parameters(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

fn request(one: Operation, given: Value) -> Result<Outbound, Vec<String>> {
    let codes = |faults: Vec<crate::Fault>| faults.into_iter().map(|fault| fault.code).collect();
    with(one).request("do", &parameters(given)).map_err(codes)
}

#[test]
fn revisions_count_on_even_after_a_deletion() {
    let [a, b] = ["https://a.example", "https://b.example"].map(spec);
    let revise = |spec: &Spec| Command::Revise { spec: Box::new(spec.clone()) };
    given::<Integration>([]).when(create(a.clone())).then([revised(1, a.clone())]);
    given::<Integration>([revised(1, a.clone())]).when(create(a.clone())).refuses(Refusal::Exists);
    given::<Integration>([revised(1, a.clone())]).when(revise(&b)).then([revised(2, b)]);
    given::<Integration>([revised(1, a.clone())]).when(revise(&a)).then([]);
    given::<Integration>([revised(1, a.clone()), Event::Deleted {}])
        .when(create(a.clone()))
        .then([revised(2, a)]);
}

#[test]
fn what_is_not_there_can_be_neither_changed_nor_tried_nor_deleted() {
    let tested = || Command::RecordTest {
        ok: true,
        status: Some(200),
        detail: "OK".to_owned(),
        duration_ms: 5,
    };
    let a = spec("https://a.example");
    for history in [vec![], vec![revised(1, a.clone()), Event::Deleted {}]] {
        let gone = || given::<Integration>(history.clone());
        let revise = Command::Revise { spec: Box::new(a.clone()) };
        gone().when(revise).refuses(Refusal::NotFound);
        gone().when(tested()).refuses(Refusal::NotFound);
        gone().when(Command::Delete).refuses(Refusal::NotFound);
    }
    let noted =
        Event::Tested { ok: true, status: Some(200), detail: "OK".to_owned(), duration_ms: 5 };
    given::<Integration>([revised(1, a)]).when(tested()).then([noted]);
}

#[test]
fn only_absolute_http_urls_without_extras_are_base_urls() {
    for good in ["https://a.example", "http://127.0.0.1:8080/x/", "http://[::1]:80", "https://a"] {
        assert_eq!(pointers(spec(good)), [""; 0], "{good}");
    }
    for bad in [
        "",
        "a.example",
        "/x",
        "ftp://a.example",
        "https://",
        "https:///x",
        "https://:80",
        "https://a.example:99999",
        "https://me:pw@a.example",
        "https://a.example?x=1",
        "https://a.example#x",
        "https://a.example/../x",
        "https://a.example/%2E%2e/x",
        "https://a.example\\x",
        "https://a.example/\r\nHost: b",
        "https://{host}/",
        " https://a.example",
    ] {
        assert_eq!(pointers(spec(bad)), ["/base_url"], "{bad}");
    }
}

#[test]
fn all_faults_of_operations_are_told_at_once() {
    let bad = Operation {
        method: "get".to_owned(),
        path: "x/{open".to_owned(),
        headers: [
            ("a b", "x"),
            ("Authorization", "Bearer t"),
            ("Host", "b.example"),
            ("X-A", "a\r\nb"),
            ("X-B", "}"),
            ("X-C", "{fine}"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        body: None,
        idempotency_header: Some("no good".to_owned()),
    };
    let expected = [
        "method",
        "path",
        "path",
        "headers/Authorization",
        "headers/Host",
        "headers/X-A",
        "headers/X-B",
        "headers/a b",
        "idempotency_header",
    ];
    assert_eq!(pointers(with(bad)), expected.map(|member| format!("/operations/do/{member}")));
}

#[test]
fn a_name_with_a_slash_is_escaped_in_its_pointer() {
    let bad = Operation { method: "X".to_owned(), ..operation("/") };
    let operations = [("a/b~c".to_owned(), bad)].into();
    let spec = Spec { operations, ..spec("https://a.example") };
    assert_eq!(pointers(spec), ["/operations/a~1b~0c/method"]);
}

#[test]
fn the_test_has_no_parameters() {
    let test = Operation {
        headers: [("X-A".to_owned(), "{a}".to_owned())].into(),
        body: Some(json!([{"a": "{a}"}])),
        ..operation("/{a}")
    };
    let spec = Spec { test: Some(test), ..spec("https://a.example") };
    assert_eq!(pointers(spec), ["/test/path", "/test/headers", "/test/body"]);
}

#[test]
fn auth_and_webhooks_have_faults_too() {
    let webhook = Webhook {
        scheme: Scheme::GithubSha256,
        secret: secret(),
        starts: Some(WorkflowRef { namespace: "X".to_owned(), name: String::new() }),
        events: vec!["issues".to_owned(), String::new()],
        subject: Some("user".to_owned()),
    };
    let bad = Spec {
        auth: Auth::Header { name: "Host".to_owned(), secret: secret() },
        webhook: Some(webhook),
        ..spec("https://a.example")
    };
    let expected = [
        "/auth/name",
        "/webhook/starts/namespace",
        "/webhook/starts/name",
        "/webhook/subject",
        "/webhook/events/1",
    ];
    assert_eq!(pointers(bad), expected);
    let auth = Auth::Basic { username: "a:b".to_owned(), secret: secret() };
    assert_eq!(pointers(Spec { auth, ..spec("https://a.example") }), ["/auth/username"]);
}

#[test]
fn a_request_is_filled_with_parameters_of_any_type() {
    let label = Operation {
        headers: [("X-Delivery".to_owned(), "d-{number}".to_owned())].into(),
        body: Some(json!({
            "labels": "{labels}",
            "note": "{owner} said {number}",
            "query": "{ viewer }",
            "deep": [{"keep": 1}]
        })),
        ..operation("/repos/{owner}/issues/{number}?q={owner}")
    };
    let given = json!({"owner": "a/b c?", "number": 7, "labels": ["x"], "unused": null});
    let outbound = request(label, given).unwrap();
    let expected = Outbound {
        method: "POST".to_owned(),
        url: "https://api.example.com/v3/repos/a%2Fb%20c%3F/issues/7?q=a%2Fb%20c%3F".to_owned(),
        headers: vec![("X-Delivery".to_owned(), "d-7".to_owned())],
        body: Some(json!({
            "labels": ["x"],
            "note": "a/b c? said 7",
            "query": "{ viewer }",
            "deep": [{"keep": 1}]
        })),
        idempotency_header: "Idempotency-Key".to_owned(),
    };
    assert_eq!(outbound, expected);
}

#[test]
fn every_missing_parameter_is_told_once() {
    let one = Operation { body: Some(json!(["{b}", "{a} {b}"])), ..operation("/{a}/{a}") };
    let faults = with(one).request("do", &Map::new()).unwrap_err();
    let pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(pointers, ["/parameters/a", "/parameters/b"]);
}

#[test]
fn parameters_stay_in_their_place() {
    let paths = |path: &str, given: Value| request(operation(path), given);
    for (path, given) in [
        ("/a/{x}/b", json!({"x": ".."})),
        ("/a/{x}{y}/b", json!({"x": ".", "y": "."})),
        ("/a/.{x}", json!({"x": "."})),
        ("/a/%2e{x}", json!({"x": "."})),
        ("/a/{x}", json!({"x": ""})),
        ("/a/{x}", json!({"x": null})),
        ("/a/{x}", json!({"x": ["y"]})),
    ] {
        assert!(paths(path, given.clone()).is_err(), "{path} {given}");
    }
    let url = paths("/a/{x}", json!({"x": "../@b.example#?%2e\u{e4}"})).unwrap().url;
    assert_eq!(url, "https://api.example.com/v3/a/..%2F%40b.example%23%3F%252e%C3%A4");
}

#[test]
fn parameters_cannot_add_header_fields() {
    let headers: BTreeMap<_, _> = [("X-A".to_owned(), "{x}".to_owned())].into();
    for bad in ["a\r\nX-B: c", "a\nb", "\u{e4}", "\0"] {
        let one = Operation { headers: headers.clone(), ..operation("/") };
        assert_eq!(request(one, json!({"x": bad})), Err(vec!["malformed_header".to_owned()]));
    }
}

#[test]
fn an_unknown_operation_is_told_with_those_that_there_are() {
    let faults = with(operation("/")).request("other", &Map::new()).unwrap_err();
    assert_eq!(faults[0].code, "unknown_operation");
    assert!(faults[0].hint.as_ref().is_some_and(|hint| hint.contains("do")));
}

#[test]
fn the_connection_is_tried_at_the_base_url_unless_a_test_is_given() {
    let plain = spec("https://a.example/x").test_request().unwrap();
    assert_eq!((plain.method.as_str(), plain.url.as_str()), ("GET", "https://a.example/x"));
    let spec = Spec { test: Some(operation("/ping")), ..spec("https://a.example/x/") };
    let own = spec.test_request().unwrap();
    assert_eq!((own.method.as_str(), own.url.as_str()), ("POST", "https://a.example/x/ping"));
}

#[test]
fn a_delivery_names_the_person_whose_data_it_is() {
    let hook = |subject: Option<&str>| Webhook {
        scheme: Scheme::GithubSha256,
        secret: secret(),
        starts: None,
        events: vec![],
        subject: subject.map(str::to_owned),
    };
    let body = json!({"user": {"login": "ada", "id": 7, "plan": null, "alias": ""}});
    let of = |subject: &str| hook(Some(subject)).subject_of(&body);
    assert_eq!(of("/user/login").as_deref(), Some("ada"));
    assert_eq!(of("/user/id").as_deref(), Some("7"));
    for nobody in ["/user/plan", "/user/alias", "/user", "/other"] {
        assert_eq!(of(nobody), None, "{nobody}");
    }
    assert_eq!(hook(None).subject_of(&body), None);
}

#[test]
fn only_the_events_that_are_listed_start_the_workflow() {
    let starts = WorkflowRef { namespace: "a".to_owned(), name: "b".to_owned() };
    let hook = |events: &[&str]| Webhook {
        scheme: Scheme::GithubSha256,
        secret: secret(),
        starts: Some(starts.clone()),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        subject: None,
    };
    assert_eq!(hook(&[]).started_by(None), Some(&starts));
    assert_eq!(hook(&["issues"]).started_by(Some("issues")), Some(&starts));
    assert_eq!(hook(&["issues"]).started_by(Some("push")), None);
    assert_eq!(hook(&["issues"]).started_by(None), None);
}

fn any_command() -> impl Strategy<Value = Command> {
    let url = prop::sample::select(vec!["https://a.example", "https://b.example", "nowhere"]);
    prop_oneof![
        url.clone().prop_map(|url| create(spec(url))),
        url.prop_map(|url| Command::Revise { spec: Box::new(spec(url)) }),
        any::<bool>().prop_map(|ok| Command::RecordTest {
            ok,
            status: None,
            detail: String::new(),
            duration_ms: 1
        }),
        Just(Command::Delete),
    ]
}

proptest! {
    /// Whatever is asked, in whatever order: nothing panics, nothing but a new revision follows
    /// the end, revisions count on, and the state is exactly what a replay of the history gives.
    #[test]
    fn histories_are_well_formed(commands in prop::collection::vec(any_command(), 0..40)) {
        let (mut state, mut history, mut last) = (Integration::default(), Vec::new(), 0);
        for command in &commands {
            for event in state.decide(command, NOON).unwrap_or_default() {
                if let Event::Revised { revision, .. } = &event {
                    last += 1;
                    prop_assert_eq!(*revision, last);
                } else {
                    let there = !matches!(history.last(), None | Some(Event::Deleted {}));
                    prop_assert!(there, "something happened to what was not there");
                }
                state.evolve(&event);
                history.push(event);
            }
        }
        prop_assert_eq!(state, Integration::replay(&history));
    }

    /// Whatever the parameters say, the request goes below the base URL of the same host.
    #[test]
    fn requests_never_leave_the_base_url(x in "\\PC{0,12}", y in "[./%@:\\\\?#a-c]{0,6}") {
        let one = operation("/a/{x}/b{y}/c?q={x}");
        if let Ok(outbound) = request(one, json!({"x": x, "y": y})) {
            let url = url::Url::parse(&outbound.url).unwrap();
            prop_assert_eq!(url.host_str(), Some("api.example.com"));
            prop_assert_eq!(url.path_segments().map(Iterator::count), Some(5), "{}", url);
            prop_assert!(url.path().starts_with("/v3/a/") && url.path().ends_with("/c"), "{}", url);
            prop_assert!(url.fragment().is_none() && url.username().is_empty(), "{}", url);
        }
    }
}
