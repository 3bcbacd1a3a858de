//! What views show of a history, through their queries.

use std::sync::Arc;

use domain::agent::{self, Agent};
use domain::execution::{Answer, Command, Execution, NewExecution, Standard, Trigger};
use domain::integration::Integration;
use domain::invocation::Invocation;
use domain::notification::Notification;
use domain::prompt::Prompt;
use domain::template::Template;
use domain::workflow::{Plan, Workflow};
use domain::{Actor, Aggregate};
use eventstore::{Held, Request, StreamId};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::story::{Story, id, second, tenant};
use crate::analytics::{self, NotificationCounts, Percentiles, Span, Tokens};
use crate::executions::{self, Filter, Why};
use crate::{
    Paging, agents, api_keys, integration_logs, integrations, invocations, notifications,
    partition, prompts, templates, told, workflows,
};

/// Tries a call of an integration twice, a second apart, then waits.
const DOCUMENT: &str = "
document: {dsl: 1.0.3, namespace: acme, name: triage, version: 1.0.0}
do:
  - attempt:
      try:
        - label:
            call: integration
            with: {integration: github, operation: label}
      catch:
        errors: {with: {status: 503}}
        retry: {delay: {seconds: 1}, limit: {attempt: {count: 2}}}
  - pause:
      wait: {minutes: 1}
";

fn first() -> Paging {
    Paging::new(50, None)
}

/// An execution of [`DOCUMENT`] that has just begun.
async fn begun(story: &Story) -> (Uuid, Arc<Plan>) {
    begun_as(story, DOCUMENT).await
}

fn started(story: &Story, document: &str) -> (NewExecution, Arc<Plan>) {
    let plan = Arc::new(Plan::compile(document).expect("it compiles"));
    let new = NewExecution {
        id: id(1),
        workflow: Workflow::id(story.tenant, "acme", "triage"),
        revision: 1,
        plan: plan.clone(),
        input: json!({"n": 1}),
        subject: None,
        trigger: Trigger::Api,
    };
    (new, plan)
}

async fn begun_as(story: &Story, document: &str) -> (Uuid, Arc<Plan>) {
    let (new, plan) = started(story, document);
    let execution: domain::Id<Execution> = new.id;
    story.order(execution, Command::Start(Box::new(new))).await;
    (execution.as_uuid(), plan)
}

async fn answer(story: &Story, plan: &Arc<Plan>, wait: u32, answer: Answer) {
    story.order(id::<Execution>(1), Command::Answer { plan: plan.clone(), wait, answer }).await;
}

/// Status, why and tasks of an execution, after the views have caught up.
async fn seen(story: &Story, pool: &PgPool, id: Uuid) -> (String, Vec<Why>, Vec<(String, String)>) {
    story.fold(pool).await;
    let mut reader = story.reader(pool).await;
    let found = executions::get(&mut reader, id).await.expect("reads").expect("it is there");
    let stream = StreamId { tenant: story.tenant, category: Execution::NAME, id };
    let events = story.log.load(stream, 0, 1_000).await.expect("loads");
    let told = told::execution(&events).expect("can be read");
    assert_eq!(told.as_ref(), Some(&found), "its own events tell the same");
    let tasks = found.tasks.into_iter().map(|task| (task.name, task.status)).collect();
    (found.summary.status, found.why, tasks)
}

/// Item, kind and due time of all work, in the order of items.
async fn work(pool: &PgPool) -> Vec<(i32, String, domain::Timestamp)> {
    let sql = "SELECT item, kind, due_at FROM rm.work ORDER BY category, stream, item";
    sqlx::query_as(sql).fetch_all(pool).await.expect("reads")
}

fn names(tasks: &[(&str, &str)]) -> Vec<(String, String)> {
    tasks.iter().map(|(name, status)| ((*name).to_owned(), (*status).to_owned())).collect()
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn what_ends_as_it_begins_is_told_at_once_as_it_is_told_later(pool: PgPool) {
    let story = Story::new();
    let (new, _) = started(
        &story,
        "
document: {dsl: 1.0.3, namespace: acme, name: quick, version: 1.0.0}
do:
  - one: {set: {n: '${ .n + 1 }'}}
  - two: {set: {n: '${ .n + 1 }'}}
",
    );
    let (execution, meta) = (new.id, story.next());
    let mut held = Held::unborn(story.tenant, execution);
    let start = Command::Start(Box::new(new));
    held.execute(&*story.log, &start, &Request::new(meta.clone())).await.expect("starts");
    let told = told::just_now(&meta, execution.as_uuid(), held.position, held.added);
    let told = told.expect("can be told");
    assert_eq!(seen(&story, &pool, execution.as_uuid()).await.0, "completed");
    let found = executions::get(&mut story.reader(&pool).await, execution.as_uuid()).await;
    assert_eq!(told, found.expect("reads"));
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn an_execution_says_what_it_does_and_what_it_waits_for(pool: PgPool) {
    let story = Story::new();
    let (id, plan) = begun(&story).await;
    let (status, why, tasks) = seen(&story, &pool, id).await;
    assert_eq!(status, "running", "a call is under way");
    assert_eq!(tasks, names(&[("attempt", "running"), ("label", "running")]));
    let [why] = why.as_slice() else { panic!("one wait: {why:?}") };
    assert_eq!((why.waits_for.as_str(), why.until), ("integration", None));
    assert_eq!(why.detail, "operation `label` of integration `github`");
    let first = why.wait;
    let item = i32::try_from(first).expect("small");
    assert_eq!(work(&pool).await, [(item, "integration".to_owned(), second(1))]);

    let error = Standard::Communication.error("busy").with_status(503);
    answer(&story, &plan, first, Answer::Failure(error)).await;
    let (status, why, tasks) = seen(&story, &pool, id).await;
    assert_eq!(status, "waiting", "only time passes");
    assert_eq!(tasks, names(&[("attempt", "retrying"), ("label", "faulted")]));
    assert_eq!((why[0].waits_for.as_str(), why[0].until), ("retry", Some(second(3))));
    let timer = why[0].wait;
    assert_eq!(work(&pool).await[0].2, second(3), "it is due when the pause is over");

    story
        .order(super::story::id::<Execution>(1), Command::Fire { plan: plan.clone(), wait: timer })
        .await;
    let (_, why, _) = seen(&story, &pool, id).await;
    answer(&story, &plan, why[0].wait, Answer::Success(json!({"ok": true}))).await;
    let (status, why, tasks) = seen(&story, &pool, id).await;
    assert_eq!((status.as_str(), why[0].waits_for.as_str()), ("waiting", "timer"));
    let expected = [("attempt", "completed"), ("label", "faulted"), ("label", "completed")];
    assert_eq!(tasks[..3], names(&expected));
    assert_eq!(tasks[3..], names(&[("pause", "running")]));
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_wait_is_told_for_as_long_as_it_lasts(pool: PgPool) {
    let story = Story::new();
    let document = "
document: {dsl: 1.0.3, namespace: acme, name: triage, version: 1.0.0}
do:
  - both:
      fork:
        branches:
          - slow: {call: integration, with: {integration: github, operation: slow}}
          - fast:
              do:
                - quick: {call: integration, with: {integration: github, operation: quick}}
                - rest: {wait: {minutes: 1}}
";
    let (id, plan) = begun_as(&story, document).await;
    let (_, why, _) = seen(&story, &pool, id).await;
    let [slow, quick] = why.as_slice() else { panic!("two waits: {why:?}") };
    answer(&story, &plan, quick.wait, Answer::Success(json!({}))).await;
    let (status, now, _) = seen(&story, &pool, id).await;
    assert_eq!(status, "running", "a call is still under way");
    assert_eq!((&now[0], now[1].waits_for.as_str(), now.len()), (slow, "timer", 2));
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_cancelled_execution_leaves_nothing_to_do(pool: PgPool) {
    let story = Story::new();
    let (id, _) = begun(&story).await;
    story.fold(&pool).await;
    let cancel = Command::Cancel { by: Actor::System, reason: "too dear".to_owned() };
    story.order(super::story::id::<Execution>(1), cancel).await;
    let (status, why, tasks) = seen(&story, &pool, id).await;
    assert_eq!((status.as_str(), why), ("cancelled", vec![]));
    assert_eq!(tasks, names(&[("attempt", "cancelled"), ("label", "cancelled")]));
    assert_eq!(work(&pool).await, []);
    let mut reader = story.reader(&pool).await;
    let found = executions::get(&mut reader, id).await.expect("reads").expect("it is there");
    assert_eq!(found.summary.reason.as_deref(), Some("too dear"));
    assert_eq!(found.summary.duration_ms, Some(1_000));
    assert_eq!(found.summary.ended_at, Some(second(2)));
    assert_eq!(found.tasks[1].ended_at, Some(second(2)));
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn executions_are_listed_newest_first_in_pages(pool: PgPool) {
    let story = Story::new();
    for nth in 1..=5 {
        story.tell_execution(nth).await;
    }
    story.fold(&pool).await;
    let mut reader = story.reader(&pool).await;
    let every = Filter::default();
    let (mut found, mut cursor, mut pages) = (vec![], None, 0);
    loop {
        let page = executions::list(&mut reader, &every, Paging::new(2, cursor)).await;
        let page = page.expect("lists");
        found.extend(page.items.iter().map(|item| item.id.as_u128()));
        pages += 1;
        let Some(next) = page.next_cursor else { break };
        cursor = Some(next.parse().expect("it was given out"));
    }
    assert_eq!((found, pages), (vec![5, 4, 3, 2, 1], 3));

    let of = |status: &str| Filter { status: Some(status.to_owned()), workflow: None };
    for (status, expected) in
        [("completed", 1), ("faulted", 2), ("cancelled", 3), ("running", 4), ("waiting", 5)]
    {
        let page = executions::list(&mut reader, &of(status), first()).await.expect("lists");
        let found: Vec<u128> = page.items.iter().map(|item| item.id.as_u128()).collect();
        assert_eq!(found, [expected], "{status}");
    }
    let elsewhere = Filter { workflow: Some(Uuid::nil()), status: None };
    let page = executions::list(&mut reader, &elsewhere, first()).await.expect("lists");
    assert_eq!(page.items, []);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn an_execution_shows_its_data_as_it_was(pool: PgPool) {
    let story = Story::new();
    story.tell_execution(1).await;
    story.tell_execution(2).await;
    story.fold(&pool).await;
    for id in [1, 2].map(Uuid::from_u128) {
        let _ = seen(&story, &pool, id).await;
    }
    let mut reader = story.reader(&pool).await;
    let one = executions::get(&mut reader, Uuid::from_u128(1)).await.expect("reads");
    let one = serde_json::to_value(one).expect("serializes");
    assert_eq!(one["input"], json!({"z": 1, "a": "\u{0}", "n": "1"}), "also U+0000");
    assert_eq!(one["output"], json!({"n": "1"}));
    let delivery = Uuid::from_u128(1).to_string();
    assert_eq!(one["trigger"], json!({"type": "webhook", "delivery": delivery}));
    assert_eq!((&one["status"], &one["revision"]), (&json!("completed"), &json!(1)));
    assert_eq!(one["workflow_version"], "1.1.0");
    assert_eq!(one["tasks"][0]["input"], json!({"run": 1}));
    let two = executions::get(&mut reader, Uuid::from_u128(2)).await.expect("reads");
    let two = serde_json::to_value(two).expect("serializes");
    assert_eq!((&two["error"]["detail"], &two["output"]), (&json!("no"), &Value::Null));
    assert_eq!(two["trigger"]["type"], "workflow");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn named_things_show_their_newest_version_until_they_are_deleted(pool: PgPool) {
    let story = Story::new();
    story.tell_everything().await;
    story.fold(&pool).await;
    let mut reader = story.reader(&pool).await;
    let workflow = Workflow::id(story.tenant, "acme", "triage").as_uuid();
    let newest = workflows::get(&mut reader, workflow, None).await.expect("reads").expect("there");
    assert_eq!((newest.summary.version.as_str(), newest.summary.etag), ("1.2.0", 2));
    assert_eq!(newest.document, "document: # ü \"2\"\n");
    assert_eq!(newest.versions.iter().map(|one| one.revision).collect::<Vec<_>>(), [2, 1]);
    let older = workflows::get(&mut reader, workflow, Some("1.1.0")).await.expect("reads");
    assert_eq!(older.expect("there").document, "document: # ü \"1\"\n");
    assert_eq!(workflows::get(&mut reader, workflow, Some("9.9.9")).await.expect("reads"), None);
    let of =
        |namespace: &str| workflows::Filter { namespace: Some(namespace.to_owned()), name: None };
    let listed = workflows::list(&mut reader, &of("acme"), first()).await.expect("lists");
    assert_eq!(listed.items, [newest.summary]);
    let listed = workflows::list(&mut reader, &of("else"), first()).await.expect("lists");
    assert_eq!(listed.items, []);

    let prompt = Prompt::id(story.tenant, "sort").as_uuid();
    let prompt = prompts::get(&mut reader, prompt).await.expect("reads").expect("there");
    assert_eq!((prompt.summary.version, prompt.versions.len()), (2, 2));
    assert_eq!(prompt.summary.user, "{{ title }} \u{fffd}", "Postgres has no U+0000 in texts");
    let listed = prompts::list(&mut reader, first()).await.expect("lists");
    assert_eq!(listed.items, [prompt.summary]);

    let template = Template::id(story.tenant, "told").as_uuid();
    let template = templates::get(&mut reader, template).await.expect("reads").expect("there");
    assert_eq!((template.subject.as_str(), template.text.as_str()), ("s", "t"));
    assert_eq!(templates::list(&mut reader, first()).await.expect("lists").items, [template]);

    let keys = api_keys::list(&mut reader, first()).await.expect("lists").items;
    assert_eq!((keys[0].name.as_str(), keys[0].access.as_str()), ("ci", "write"));
    assert!(keys[0].revoked_at.is_some());

    let agent = Agent::id(story.tenant, "sorter").as_uuid();
    assert_eq!(agents::get(&mut reader, agent).await.expect("reads"), None, "it was deleted");
    assert_eq!(agents::list(&mut reader, first()).await.expect("lists").items, []);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn what_was_deleted_can_come_back(pool: PgPool) {
    let story = Story::new();
    let agent = Agent::id(story.tenant, "sorter");
    let revised = |revision| agent::Event::Revised {
        name: "sorter".to_owned(),
        revision,
        spec: Box::new(serde_json::from_value(json!({"model": "m"})).expect("a spec")),
    };
    story.tell(agent, [revised(1), agent::Event::Deleted {}]).await;
    story.tell(agent, [revised(2)]).await;
    story.fold(&pool).await;
    let mut reader = story.reader(&pool).await;
    let found = agents::get(&mut reader, agent.as_uuid()).await.expect("reads").expect("there");
    assert_eq!((found.revision, found.etag), (2, 3));
    let shown = serde_json::to_value(&found).expect("serializes");
    assert_eq!((&shown["model"], &shown["name"]), (&json!("m"), &json!("sorter")));
    assert_eq!(shown.get("etag"), None);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn integrations_show_what_went_through_them(pool: PgPool) {
    let story = Story::new();
    story.tell_everything().await;
    story.fold(&pool).await;
    let mut reader = story.reader(&pool).await;
    let github = Integration::id(story.tenant, "github").as_uuid();
    let found = integrations::get(&mut reader, github).await.expect("reads").expect("there");
    assert_eq!(found.spec["base_url"], "https://api.example.com");
    assert_eq!(found.tested.as_ref().map(|test| (test.ok, test.status)), Some((true, Some(200))));
    assert_eq!(integrations::list(&mut reader, first()).await.expect("lists").items, [found]);

    let logs = integration_logs::list(&mut reader, github, first()).await.expect("lists").items;
    let lines: Vec<_> = logs
        .iter()
        .map(|entry| (entry.direction.as_str(), entry.kind.as_str(), entry.outcome.as_str()))
        .collect();
    let call = |outcome| ("out", "label", outcome);
    let expected = [
        call("succeeded"),
        call("pending"),
        call("succeeded"),
        call("succeeded"),
        call("succeeded"),
        ("in", "issues", "received"),
        ("out", "test", "succeeded"),
    ];
    assert_eq!(lines, expected);
    assert_eq!(logs[1].execution_id, Some(Uuid::from_u128(4)));
    assert_eq!((logs[1].ended_at, logs[0].ended_at.is_some()), (None, true));
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn notifications_and_invocations_show_how_far_they_have_come(pool: PgPool) {
    let story = Story::new();
    story.tell_everything().await;
    story.fold(&pool).await;
    let mut reader = story.reader(&pool).await;
    let page = notifications::list(&mut reader, first()).await.expect("lists");
    let states: Vec<_> = page
        .items
        .iter()
        .map(|one| (one.id.as_u128(), one.status.as_str(), one.attempts, one.next_attempt_at))
        .collect();
    let expected = [
        (5, "queued", 0, None),
        (4, "queued", 0, None),
        (3, "failed", 1, None),
        (2, "sent", 2, None),
        (1, "retrying", 1, Some(second(9_000))),
    ];
    assert_eq!(states, expected);
    let sent = notifications::get(&mut reader, Uuid::from_u128(2)).await.expect("reads");
    let sent = sent.expect("there");
    assert_eq!((sent.template.as_deref(), sent.via.as_deref()), (Some("told"), Some("smtp")));
    assert_eq!(sent.to, ["ann@example.com"]);

    let agent = Agent::id(story.tenant, "sorter").as_uuid();
    let page = invocations::list(&mut reader, agent, first()).await.expect("lists");
    let states: Vec<_> =
        page.items.iter().map(|one| (one.id.as_u128(), one.status.as_str())).collect();
    let expected =
        [(5, "failed"), (4, "completed"), (3, "running"), (2, "failed"), (1, "completed")];
    assert_eq!(states, expected);
    let done = invocations::get(&mut reader, Uuid::from_u128(1)).await.expect("reads");
    let done = done.expect("there");
    assert_eq!((done.output, done.prompt_version), (Some(json!({"a": 1})), Some(2)));
    assert_eq!(done.input, json!({"big": u64::MAX, "text": "\u{0}"}));
    let report = done.report.expect("it ended");
    assert_eq!((report.calls, report.output_tokens), (2, u64::MAX));
    let failed = invocations::get(&mut reader, Uuid::from_u128(2)).await.expect("reads");
    let failed = serde_json::to_value(failed).expect("serializes");
    assert_eq!(failed["error"], json!({"class": "output_invalid", "detail": "no JSON"}));
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn work_is_what_is_open_and_nothing_else(pool: PgPool) {
    let story = Story::new();
    story.tell_everything().await;
    story.fold(&pool).await;
    let rows: Vec<(String, Uuid, i32, String, i16)> = sqlx::query_as(
        "SELECT category, stream, item, kind, partition FROM rm.work
         ORDER BY category, stream, item",
    )
    .fetch_all(&pool)
    .await
    .expect("reads");
    let open: Vec<_> = rows
        .iter()
        .map(|(category, stream, item, kind, _)| {
            (category.as_str(), stream.as_u128(), *item, kind.as_str())
        })
        .collect();
    let (execution, invocation) = (Execution::NAME, Invocation::NAME);
    // The told ends of 1 to 3 leave their timer open; the domain's own never do.
    let told = [1, 2, 3].map(|nth| (execution, nth, 2, "timer"));
    let rest = [
        (execution, 4, 1, "integration"),
        (execution, 4, 2, "timer"),
        (execution, 5, 2, "timer"),
        (invocation, 3, 0, "invocation"),
        (Notification::NAME, 1, 0, "notification"),
        (Notification::NAME, 4, 0, "notification"),
        (Notification::NAME, 5, 0, "notification"),
    ];
    assert_eq!(open, [&told[..], &rest[..]].concat());
    assert!(rows.iter().all(|(_, stream, .., part)| *part == partition(*stream)));
    assert_eq!(work(&pool).await[7].2, second(9_000), "a retry is due when it comes");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn analytics_add_up_what_happened(pool: PgPool) {
    let story = Story::new();
    story.tell_everything().await;
    story.of(2).tell_everything().await;
    story.fold(&pool).await;
    let mut reader = story.reader(&pool).await;
    let span = Span { from: second(1), to: second(3_600) };
    let seen = analytics::dashboard(&mut reader, span).await.expect("reads");
    let counts = seen.executions;
    assert_eq!((counts.started, counts.completed, counts.faulted, counts.cancelled), (5, 1, 1, 1));
    assert_eq!((counts.running, seen.success_rate), (2, Some(0.5)));
    let second_long = Percentiles { p50: Some(1_007), p95: Some(1_007), p99: Some(1_007) };
    assert_eq!(seen.duration_ms, second_long, "within 1 % of 1,000");
    assert_eq!(seen.tokens, Tokens { input: 40, output: i64::MAX });
    assert_eq!((seen.invocations.completed, seen.invocations.failed), (2, 2));
    assert_eq!(seen.notifications, NotificationCounts { sent: 1, failed: 2 });
    assert_eq!(seen.hours.len(), 1);
    assert_eq!((seen.hours[0].hour, seen.hours[0].started), (second(0), 5));

    let by_workflow = analytics::workflows(&mut reader, span).await.expect("reads");
    assert_eq!(by_workflow.len(), 1);
    assert_eq!(by_workflow[0].name.as_deref(), Some("triage"));
    assert_eq!((by_workflow[0].started, by_workflow[0].duration_ms), (5, second_long));
    let by_agent = analytics::agents(&mut reader, span).await.expect("reads");
    assert_eq!(by_agent.len(), 1);
    assert_eq!(by_agent[0].name.as_deref(), Some("sorter"), "also after it was deleted");
    assert_eq!((by_agent[0].completed, by_agent[0].failed), (2, 2));
    assert_eq!(by_agent[0].duration_ms.p95, Some(403));

    let later = Span { from: second(3_600), to: second(7_200) };
    let nothing = analytics::dashboard(&mut reader, later).await.expect("reads");
    assert_eq!((nothing.executions.started, nothing.success_rate), (0, None));
    assert_eq!((nothing.hours.len(), nothing.duration_ms), (0, Percentiles::default()));
    let mut stranger = story.of(9).reader(&pool).await;
    assert_eq!(stranger.tenant(), tenant(9));
    let nothing = analytics::dashboard(&mut stranger, span).await.expect("reads");
    assert_eq!((nothing.executions.started, nothing.executions.running), (0, 0));
}
