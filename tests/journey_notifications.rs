//! Notifications: templates filled in and handed to a real mail server, with patience.

use std::fs;

use serde_json::{Value, json};
use testkit::smtp::{Fault, Sink};

use crate::documents::TELLING;
use crate::support::{Api, World, ok};

async fn greeting(api: &Api) -> String {
    let template = json!({
        "name": "greeting",
        "subject": "Hello {{ name }}",
        "text": "Dear {{ name }},\nwelcome.\n",
        "html": "<p>Dear {{ name }}</p>",
    });
    api.create("/notifications/templates", &template).await
}

/// Sends one; its path.
async fn greet(api: &Api, to: &Value) -> String {
    let body =
        json!({"channel": "email", "to": to, "template": "greeting", "data": {"name": "Åsa"}});
    let accepted = ok(&api.post("/notifications", &body).await, 202);
    format!("/notifications/{}", accepted["id"].as_str().expect("an id"))
}

fn is(status: &str) -> impl Fn(&Value) -> bool {
    move |notification| notification["status"] == status
}

#[tokio::test]
async fn a_notification_reaches_the_mail_server_and_again_when_asked() {
    let sink = Sink::start().await.expect("a mail server");
    let world = World::with(&[("SMTP_URL", &sink.url())]).await;
    let api = world.api();
    greeting(&api).await;
    let path = greet(&api, &json!(["a@example.com", "b@example.com"])).await;
    let sent = api.until(&path, is("sent")).await;
    assert_eq!((&sent["via"], &sent["attempts"]), (&json!("smtp"), &json!(1)));
    assert_eq!((&sent["template"], &sent["version"]), (&json!("greeting"), &json!(1)));
    assert_eq!(sent["to"], json!(["a@example.com", "b@example.com"]));
    let messages = sink.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].to, ["a@example.com", "b@example.com"]);
    let id = messages[0].header("message-id").expect("a message id");
    assert!(id.contains(sent["message_id"].as_str().expect("an id")), "{id}, {sent}");
    assert!(messages[0].body().contains("welcome."));

    let again = api.post(&format!("{path}/resend"), &json!({})).await;
    assert_eq!(again.status, 202, "{}", again.text);
    crate::support::eventually("a second mail", async || {
        (sink.messages().len() == 2).then_some(())
    })
    .await;
    api.until(&path, is("sent")).await;
    assert_eq!(api.items("/notifications").await.len(), 1);
}

#[tokio::test]
async fn a_busy_mail_server_is_asked_again_and_a_firm_no_is_a_no() {
    let sink = Sink::start().await.expect("a mail server");
    let world = World::with(&[("SMTP_URL", &sink.url())]).await;
    let api = world.api();
    greeting(&api).await;
    sink.fail_next(1, Fault::Refuse(451));
    let path = greet(&api, &json!("late@example.com")).await;
    let retrying = api.until(&path, is("retrying")).await;
    assert!(retrying["next_attempt_at"].is_string(), "{retrying}");
    assert!(retrying["detail"].as_str().expect("words").contains("451"), "{retrying}");
    let early = api.post(&format!("{path}/resend"), &json!({})).await;
    assert_eq!(ok(&early, 409)["code"], "notification_pending");
    let sent = api.until(&path, is("sent")).await;
    assert_eq!((&sent["attempts"], sink.messages().len()), (&json!(2), 1));

    sink.fail_next(1, Fault::Refuse(550));
    let path = greet(&api, &json!("nobody@example.com")).await;
    let failed = api.until(&path, is("failed")).await;
    assert_eq!(failed["attempts"], 1);
    assert_eq!(api.post(&format!("{path}/resend"), &json!({})).await.status, 202);
    api.until(&path, is("sent")).await;
    assert_eq!(sink.messages().len(), 2);
}

#[tokio::test]
async fn without_a_mail_server_the_mailbox_takes_it() {
    let world = World::start().await;
    let api = world.api();
    greeting(&api).await;
    let path = greet(&api, &json!("me@example.com")).await;
    let sent = api.until(&path, is("sent")).await;
    assert_eq!(sent["via"], "mailbox");
    let mailbox = fs::read_dir(world.server.setup().data_dir().join("mailbox")).expect("a mailbox");
    let mails: Vec<_> = mailbox.map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(mails.len(), 1);
    assert!(fs::read_to_string(&mails[0]).expect("a mail").contains("me@example.com"));
}

#[tokio::test]
async fn a_workflow_writes_to_people() {
    let sink = Sink::start().await.expect("a mail server");
    let world = World::with(&[("SMTP_URL", &sink.url())]).await;
    let api = world.api();
    greeting(&api).await;
    let workflow = api.publish(TELLING).await;
    let done = api.run(&workflow, &json!({"to": "you@example.com", "name": "You"})).await;
    assert_eq!(done["status"], "completed", "{done}");
    let listed = api.until("/notifications", |page| page["items"][0]["status"] == "sent").await;
    assert_eq!(listed["items"][0]["execution_id"], done["id"]);
    assert_eq!(sink.messages()[0].header("subject").as_deref(), Some("Hello You"));
}

#[tokio::test]
async fn templates_have_versions() {
    let world = World::start().await;
    let api = world.api();
    let path = format!("/notifications/templates/{}", greeting(&api).await);
    let second = json!({"subject": "Hi {{ name }}", "text": "Hi."});
    assert_eq!(api.put(&path, 7, &second).await.status, 412);
    assert_eq!(api.put(&path, 1, &second).await.status, 200);
    let shown = api.get(&path).await;
    assert_eq!((shown.version(), &shown.body["version"]), (Some(2), &json!(2)));
    assert_eq!((&shown.body["subject"], &shown.body["html"]), (&second["subject"], &Value::Null));
    assert_eq!(api.items("/notifications/templates").await.len(), 1);
    let exists = json!({"name": "greeting", "subject": "x", "text": "y"});
    let exists = api.post("/notifications/templates", &exists).await;
    assert_eq!(ok(&exists, 409)["code"], "template_exists");
    assert_eq!(api.delete(&path, 2).await.status, 204);
    let lost = json!({"channel": "email", "to": "a@example.com", "template": "greeting"});
    let lost = ok(&api.post("/notifications", &lost).await, 422);
    assert_eq!(lost["errors"][0]["pointer"], "/template");
}
