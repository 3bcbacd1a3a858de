//! Analytics: the numbers are those of what was run.

use serde_json::{Value, json};

use crate::documents::{ECHO, FAULTY, SLEEPER};
use crate::support::{World, ok};

#[tokio::test]
async fn the_numbers_are_those_of_what_was_run() {
    let world = World::start().await;
    let api = world.api();
    let empty = api.body("/analytics/dashboard").await;
    assert_eq!(
        (&empty["executions"]["started"], &empty["success_rate"]),
        (&json!(0), &Value::Null)
    );

    let (echo, faulty) = (api.publish(ECHO).await, api.publish(FAULTY).await);
    let sleeper = api.publish(SLEEPER).await;
    let mut durations = vec![];
    for number in 0..6 {
        durations.push(api.run(&echo, &json!(number)).await["duration_ms"].as_i64().expect("ms"));
    }
    for _ in 0..2 {
        api.run(&faulty, &Value::Null).await;
    }
    let cancelled = api.start(&sleeper, &Value::Null).await;
    ok(&api.post(&format!("{cancelled}/cancel"), &json!({})).await, 202);
    api.start(&sleeper, &Value::Null).await;

    let agent = api.create("/agents", &json!({"name": "plain", "provider": "sandbox"})).await;
    let (mut tokens_in, mut tokens_out) = (0, 0);
    for text in ["one", "two", "three and more"] {
        let done = api.post(&format!("/agents/{agent}/invoke"), &json!({"input": text})).await;
        let report = &ok(&done, 200)["report"];
        tokens_in += report["input_tokens"].as_i64().expect("a number");
        tokens_out += report["output_tokens"].as_i64().expect("a number");
    }
    let template = json!({"name": "note", "subject": "A note", "text": "Look."});
    api.create("/notifications/templates", &template).await;
    let note = json!({"channel": "email", "to": "me@example.com", "template": "note"});
    ok(&api.post("/notifications", &note).await, 202);
    api.until("/notifications", |page| page["items"][0]["status"] == "sent").await;

    let counts = json!({"started": 10, "completed": 6, "faulted": 2, "cancelled": 1, "running": 1});
    let all = api
        .until("/analytics/dashboard", |all| {
            all["executions"] == counts && all["notifications"]["sent"] == 1
        })
        .await;
    assert_eq!(all["invocations"], json!({"completed": 3, "failed": 0}));
    assert_eq!(all["tokens"], json!({"input": tokens_in, "output": tokens_out}));
    assert_eq!(all["notifications"], json!({"sent": 1, "failed": 0}));
    let rate = all["success_rate"].as_f64().expect("a rate");
    assert!((rate - 6.0 / 8.0).abs() < 1e-9, "{rate} of what completed or faulted");
    let hours = all["hours"].as_array().expect("hours");
    let sum = |name: &str| hours.iter().filter_map(|hour| hour[name].as_i64()).sum::<i64>();
    assert_eq!((sum("started"), sum("completed"), sum("faulted"), sum("cancelled")), (10, 6, 2, 1));

    let of_workflows = api.items("/analytics/workflows").await;
    assert_eq!(of_workflows.len(), 3);
    let of_echo = &of_workflows[0];
    assert_eq!((&of_echo["workflow_id"], &of_echo["name"]), (&json!(echo), &json!("echo")));
    assert_eq!((&of_echo["completed"], &of_echo["success_rate"]), (&json!(6), &json!(1.0)));
    let most = durations.iter().copied().max().expect("six");
    let p99 = of_echo["duration_ms"]["p99"].as_i64().expect("milliseconds");
    assert!(p99 <= most + most / 10 + 2, "p99 is {p99}, the longest took {most} ms");

    let of_agents = api.items("/analytics/agents").await;
    assert_eq!(of_agents.len(), 1);
    assert_eq!((&of_agents[0]["name"], &of_agents[0]["completed"]), (&json!("plain"), &json!(3)));
    assert_eq!(of_agents[0]["input_tokens"], json!(tokens_in));

    let long_ago = "/analytics/dashboard?from=2001-01-01T00:00:00Z&to=2001-01-02T00:00:00Z";
    assert_eq!(api.body(long_ago).await["executions"]["started"], 0);
}
