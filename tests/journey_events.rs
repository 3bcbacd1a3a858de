//! What happened, event by event: exported as `CloudEvents`, and followed live.

use futures::StreamExt;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::documents::{MIXED, SLEEPER};
use crate::support::{Api, World, ok};

#[tokio::test]
async fn the_events_of_an_execution_are_cloudevents_in_order() {
    let world = World::start().await;
    let api = world.api();
    let id = api.publish(MIXED).await;
    let execution =
        api.run(&id, &json!({"number": 1})).await["id"].as_str().expect("id").to_owned();
    let answer = api.get(&format!("/workflows/{id}/executions/{execution}/events")).await;
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines = answer.text.lines();
    let events: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("JSON")).collect();

    let kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(kinds.first(), Some(&"execution.started"));
    assert_eq!(kinds.last(), Some(&"execution.completed"));
    let mut before = 0;
    for (place, event) in events.iter().enumerate() {
        for attribute in ["id", "source", "type", "subject", "time"] {
            assert!(event[attribute].as_str().is_some_and(|text| !text.is_empty()), "{event}");
        }
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["datacontenttype"], "application/json");
        let subject = format!("execution/{execution}@{}", place + 1);
        assert_eq!(event["subject"], subject.as_str());
        let names: Vec<&String> = event.as_object().expect("an object").keys().collect();
        let plain =
            |name: &&String| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        assert!(names.iter().all(plain), "attribute names: {names:?}");
        let position: i64 = event["position"].as_str().expect("text").parse().expect("a number");
        assert!(position > before, "{position} after {before}");
        before = position;
    }
    let missing = api.get(&format!("/workflows/{execution}/executions/{execution}/events")).await;
    assert_eq!(ok(&missing, 404)["code"], "execution_not_found");
}

#[tokio::test]
async fn a_stream_resumes_where_it_broke_off_and_ends_with_the_execution() {
    let world = World::start().await;
    let api = world.api();
    let id = api.publish(MIXED).await;
    let execution =
        api.run(&id, &json!({"number": 1})).await["id"].as_str().expect("id").to_owned();
    let path = format!("/workflows/{id}/executions/{execution}/stream");
    let whole = Events::follow(&api, &path, None).await.rest().await;
    assert!(whole.len() >= 3, "{whole:?}");
    assert_eq!(whole.last().map(|event| event.name.as_str()), Some("execution.completed"));
    for event in &whole {
        let data: Value = serde_json::from_str(&event.data).expect("a CloudEvent");
        assert_eq!((&data["type"], &data["position"]), (&json!(event.name), &json!(event.id)));
    }
    for place in 0..whole.len() {
        let rest = Events::follow(&api, &path, Some(&whole[place].id)).await.rest().await;
        assert_eq!(rest, whole[place + 1..]);
    }
    let odd = api.request(Method::GET, &path).header("last-event-id", "yesterday");
    assert_eq!(ok(&api.send(odd).await, 400)["code"], "parameter_invalid");
}

#[tokio::test]
async fn a_stream_tells_what_happens_while_it_happens() {
    let world = World::start().await;
    let api = world.api();
    let id = api.publish(SLEEPER).await;
    let path = api.start(&id, &Value::Null).await;
    let mut events = Events::follow(&api, &format!("{path}/stream"), None).await;
    assert_eq!(events.next().await.map(|event| event.name).as_deref(), Some("execution.started"));
    assert_eq!(
        events.next().await.map(|event| event.name).as_deref(),
        Some("execution.turn_taken")
    );
    assert_eq!(api.post(&format!("{path}/cancel"), &json!({})).await.status, 202);
    let rest = events.rest().await;
    assert_eq!(rest.last().map(|event| event.name.as_str()), Some("execution.cancelled"));
}

/// A server-sent event.
#[derive(Debug, Clone, Default, PartialEq)]
struct Event {
    id: String,
    name: String,
    data: String,
}

/// Server-sent events as they come in.
struct Events {
    response: Response,
    buffer: String,
}

impl Events {
    async fn follow(api: &Api, path: &str, after: Option<&str>) -> Self {
        let mut request = api.request(Method::GET, path);
        if let Some(id) = after {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        let kind = response.headers()["content-type"].to_str().expect("text");
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self { response, buffer: String::new() }
    }

    /// The next event; none at the end. Comments, which keep the connection open, are skipped.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let event = parse(block);
                self.buffer = rest.to_owned();
                if event != Event::default() {
                    return Some(event);
                }
                continue;
            }
            let chunk = tokio::time::timeout(crate::support::PATIENCE, self.response.chunk());
            let chunk = chunk.await.expect("something comes").expect("no broken connection")?;
            self.buffer.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    async fn rest(self) -> Vec<Event> {
        let next =
            |mut events: Self| async move { events.next().await.map(|event| (event, events)) };
        futures::stream::unfold(self, next).collect().await
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        match line.split_once(':').map(|(field, value)| (field, value.trim_start())) {
            Some(("id", value)) => value.clone_into(&mut event.id),
            Some(("event", value)) => value.clone_into(&mut event.name),
            Some(("data", value)) => event.data.push_str(value),
            Some(_) | None => {}
        }
    }
    event
}
