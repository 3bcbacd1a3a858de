//! A history in which something of everything happens.

use std::collections::BTreeMap;

use domain::agent::{self, Agent};
use domain::api_key::{self, Access, ApiKey};
use domain::execution::{
    Caller, Cause, Closed, Ending, Event, Execution, Progress, Purpose, Request, Standard, Step,
    Trigger, Turn, Wait, What,
};
use domain::integration::{self, Integration};
use domain::invocation::{self, FailureClass, Invocation, Report};
use domain::notification::{self, Channel, Notification};
use domain::prompt::{self, Prompt};
use domain::template::{self, Template};
use domain::webhook::{self, Delivery};
use domain::workflow::{self, Workflow};
use domain::{Actor, Id};
use serde_json::json;

use super::story::{Story, id, second};

impl Story {
    /// Something of everything happens, a few times over.
    pub(super) async fn tell_everything(&self) {
        self.tell_named_things().await;
        for nth in 1..=5 {
            self.tell_execution(nth).await;
            self.tell_invocation(nth).await;
            self.tell_notification(nth).await;
        }
        self.tell(id::<ApiKey>(1), [api_key::Event::Revoked {}]).await;
        self.tell(Agent::id(self.tenant, "sorter"), [agent::Event::Deleted {}]).await;
    }

    async fn tell_named_things(&self) {
        self.tell(Workflow::id(self.tenant, "acme", "triage"), [published(1), published(2)]).await;
        self.tell(Agent::id(self.tenant, "sorter"), [revised(1), revised(2)]).await;
        let commit = |version| prompt::Event::VersionCommitted {
            name: "sort".to_owned(),
            version,
            system: None,
            user: "{{ title }} \u{0}".to_owned(),
            message: Some("shorter".to_owned()),
        };
        self.tell(Prompt::id(self.tenant, "sort"), [commit(1), commit(2)]).await;
        let saved = template::Event::VersionSaved {
            name: "told".to_owned(),
            version: 1,
            subject: "s".to_owned(),
            text: "t".to_owned(),
            html: None,
        };
        self.tell(Template::id(self.tenant, "told"), [saved]).await;
        let (name, access) = ("ci".to_owned(), Access::Write);
        let created = api_key::Event::Created { name, access, digest: "ef".repeat(32) };
        self.tell(id::<ApiKey>(1), [created]).await;
        let spec = json!({"base_url": "https://api.example.com"});
        let spec = Box::new(serde_json::from_value(spec).expect("a spec"));
        let set_up = integration::Event::Revised { name: "github".to_owned(), revision: 1, spec };
        let (detail, duration_ms) = ("fine".to_owned(), 12);
        let tested =
            integration::Event::Tested { ok: true, status: Some(200), detail, duration_ms };
        self.tell(Integration::id(self.tenant, "github"), [set_up, tested]).await;
        let received = webhook::Event::Received {
            integration: Integration::id(self.tenant, "github"),
            event_type: Some("issues".to_owned()),
            dedupe_key: "k".to_owned(),
            headers: BTreeMap::new().into(),
            body: json!({"n": 1}).into(),
            digest: "cd".repeat(32).into(),
            subject: None,
            starts: None,
        };
        self.tell(id::<Delivery>(1), [received]).await;
    }

    /// Every fifth completes, faults, is cancelled, waits for a call or waits for time.
    pub(super) async fn tell_execution(&self, nth: u128) {
        let execution: Id<Execution> = id(nth);
        self.tell(execution, [started(self, nth), first_turn(nth)]).await;
        let end = match nth % 5 {
            1 => Event::Completed { output: json!({"n": nth.to_string()}).into(), parent: None },
            2 => Event::Faulted { error: Standard::Runtime.error("no"), parent: None },
            3 => Event::Cancelled {
                by: Actor::System,
                reason: "too dear \u{0}".to_owned().into(),
                parent: None,
            },
            4 => return,
            _ => {
                self.tell(execution, [last_turn(Progress::Completed { output: None })]).await;
                return;
            }
        };
        self.tell(
            execution,
            [last_turn(Progress::Completed { output: Some(json!(nth.to_string()).into()) }), end],
        )
        .await;
    }

    pub(super) async fn tell_invocation(&self, nth: u128) {
        let (invocation, caller) = (id::<Invocation>(nth), caller(nth));
        let asked = invocation::Event::Requested {
            agent: Agent::id(self.tenant, "sorter"),
            revision: 1,
            prompt: Some((Prompt::id(self.tenant, "sort"), 2)),
            input: json!({"big": u64::MAX, "text": "\u{0}"}).into(),
            subject: None,
            caller,
        };
        self.tell(invocation, [asked]).await;
        let report = Report {
            provider: "sandbox".to_owned(),
            model: "m\u{0}".repeat(300),
            calls: 2,
            input_tokens: 10,
            output_tokens: u64::MAX,
            duration_ms: u64::from(u32::try_from(nth).expect("small")) * 100,
        };
        let end = match nth % 3 {
            0 => return,
            1 => invocation::Event::Completed { output: json!({"a": 1}).into(), report, caller },
            _ => invocation::Event::Failed {
                class: FailureClass::OutputInvalid,
                detail: "no JSON".to_owned().into(),
                report,
                caller,
            },
        };
        self.tell(invocation, [end]).await;
    }

    pub(super) async fn tell_notification(&self, nth: u128) {
        let notification = id::<Notification>(nth);
        let asked = notification::Event::Requested {
            channel: Channel::Email,
            to: vec!["ann@example.com".to_owned()].into(),
            template: Template::id(self.tenant, "told"),
            version: 1,
            data: json!({}).into(),
            subject: None,
            caller: None,
        };
        self.tell(notification, [asked]).await;
        let failed = notification::Event::AttemptFailed {
            attempt: 1,
            detail: "busy".to_owned().into(),
            retry_at: second(9_000),
        };
        let (via, message_id) = ("smtp".to_owned(), "<1@x>".to_owned());
        let sent = notification::Event::Sent { attempt: 2, via, message_id };
        let hopeless = notification::Event::Failed { attempt: 1, detail: "gone".to_owned().into() };
        let again = notification::Event::ResendRequested {};
        let rest = match nth % 5 {
            0 => vec![],
            1 => vec![failed],
            2 => vec![failed, sent],
            3 => vec![hopeless],
            _ => vec![hopeless, again],
        };
        self.tell(notification, rest).await;
    }
}

fn published(revision: u32) -> workflow::Event {
    workflow::Event::VersionPublished {
        namespace: "acme".to_owned(),
        name: "triage".to_owned(),
        version: format!("1.{revision}.0"),
        title: Some("Triage".to_owned()),
        revision,
        document: format!("document: # ü \"{revision}\"\n"),
        digest: "ab".repeat(32),
    }
}

fn revised(revision: u32) -> agent::Event {
    let spec = serde_json::from_value(json!({"temperature": 0.1, "model": "m"})).expect("a spec");
    agent::Event::Revised { name: "sorter".to_owned(), revision, spec: Box::new(spec) }
}

fn caller(nth: u128) -> Option<Caller> {
    nth.is_multiple_of(2).then(|| Caller { execution: id(nth), wait: 3 })
}

fn started(story: &Story, nth: u128) -> Event {
    let trigger = match nth % 3 {
        0 => Trigger::Api,
        1 => Trigger::Webhook(id(nth)),
        _ => Trigger::Workflow(Caller { execution: id(nth), wait: 3 }),
    };
    Event::Started {
        id: id(nth),
        workflow: Workflow::id(story.tenant, "acme", "triage"),
        revision: 1,
        version: "1.1.0".to_owned(),
        input: json!({"z": 1, "a": "\u{0}", "n": nth.to_string()}).into(),
        subject: None,
        trigger,
    }
}

/// Two tasks: one waits for an integration, the other until an hour has passed.
fn first_turn(nth: u128) -> Event {
    let step = |run, task: &str| Step {
        run,
        task: task.to_owned(),
        what: Progress::Started { input: Some(json!({"run": run}).into()) },
    };
    let wait =
        |id, task: &str, what| Wait { id, task: task.to_owned(), run: id, since: second(1), what };
    let call = What::Call {
        key: nth.to_string(),
        request: Request::Integration {
            integration: "github".to_owned(),
            operation: "label".to_owned(),
            parameters: serde_json::Map::new().into(),
        },
    };
    let timer = What::Timer { due_at: second(3_600), purpose: Purpose::Wait };
    turn(Turn {
        steps: vec![step(1, "/do/0/label"), step(2, "/do/1/pause")],
        opened: vec![wait(1, "/do/0/label", call), wait(2, "/do/1/pause", timer)],
        ..blank(Cause::Started)
    })
}

/// The first wait is over.
fn last_turn(what: Progress) -> Event {
    turn(Turn {
        steps: vec![Step { run: 1, task: "/do/0/label".to_owned(), what }],
        closed: vec![Closed { wait: 1, how: Ending::Succeeded, child: None }],
        ..blank(Cause::Answered(1))
    })
}

fn turn(turn: Turn) -> Event {
    Event::TurnTaken(Box::new(turn))
}

fn blank(cause: Cause) -> Turn {
    Turn {
        cause,
        steps: vec![],
        threads: BTreeMap::new(),
        context: None,
        opened: vec![],
        closed: vec![],
        emitted: vec![],
        runs: 2,
        serial: 2,
    }
}
