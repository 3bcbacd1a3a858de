use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::{Command, Event, Plan, Refusal, Workflow};
use crate::scenario::{NOON, given};
use crate::{Aggregate, Id, Refusal as _};

fn text(name: &str, version: &str, more: &str) -> String {
    format!(
        "document: {{dsl: 1.0.3, namespace: shop, name: {name}, version: '{version}'}}\n\
         do: [{{greet: {{set: {{hello: world}}}}}}]\n{more}"
    )
}

fn publish(create: bool, document: &str) -> Command {
    let plan = Plan::compile(document).expect("a good document");
    Command::publish(create, &plan, document.to_owned())
}

fn create(version: &str) -> Command {
    publish(true, &text("order", version, ""))
}

fn revise(version: &str) -> Command {
    publish(false, &text("order", version, ""))
}

fn published(revision: u32, version: &str) -> Event {
    let document = text("order", version, "");
    Event::VersionPublished {
        namespace: "shop".to_owned(),
        name: "order".to_owned(),
        version: version.to_owned(),
        title: None,
        revision,
        digest: hex::encode(Sha256::digest(&document)),
        document,
    }
}

fn not_newer(version: &str, newest: &str) -> Refusal {
    Refusal::VersionNotNewer { version: version.to_owned(), newest: newest.to_owned() }
}

#[test]
fn the_first_version_is_revision_one() {
    given::<Workflow>([]).when(create("1.0.0")).then([published(1, "1.0.0")]);
}

#[test]
fn a_name_is_taken_while_its_workflow_is_there() {
    given::<Workflow>([published(1, "1.0.0")]).when(create("1.0.0")).refuses(Refusal::Exists);
    given::<Workflow>([published(1, "1.0.0")]).when(create("2.0.0")).refuses(Refusal::Exists);
}

#[test]
fn what_is_not_there_can_neither_be_revised_nor_deleted() {
    for history in [vec![], vec![published(1, "1.0.0"), Event::Deleted {}]] {
        let gone = || given::<Workflow>(history.clone());
        gone().when(revise("2.0.0")).refuses(Refusal::NotFound);
        gone().when(Command::Delete).refuses(Refusal::NotFound);
    }
}

#[test]
fn the_same_version_again_changes_nothing_and_never_its_text() {
    let history = [published(1, "1.0.0"), published(2, "1.1.0")];
    for version in ["1.0.0", "1.1.0"] {
        given::<Workflow>(history.clone()).when(revise(version)).then([]);
        given::<Workflow>(history.clone())
            .when(publish(false, &text("order", version, "# other")))
            .refuses(Refusal::VersionExists(version.to_owned()));
    }
}

#[test]
fn versions_only_rise_as_semantic_versions_do() {
    let history = || given::<Workflow>([published(1, "1.9.0")]);
    history().when(revise("1.10.0")).then([published(2, "1.10.0")]);
    history().when(revise("2.0.0-rc.1")).then([published(2, "2.0.0-rc.1")]);
    for older in ["1.8.9", "1.9.0-rc.1", "1.9.0+build.7"] {
        history().when(revise(older)).refuses(not_newer(older, "1.9.0"));
    }
}

#[test]
fn a_document_of_another_workflow_is_refused_with_the_places() {
    let when = given::<Workflow>([published(1, "1.0.0")]);
    let state = Workflow::replay(&[published(1, "1.0.0")]);
    let refused = state.decide(&publish(false, &text("refund", "1.0.1", "")), NOON).unwrap_err();
    let pointers: Vec<_> = refused.faults().iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!((refused.code(), pointers), ("workflow_invalid", vec!["/document/name"]));
    assert!(refused.to_string().contains("refund"), "{refused}");
    when.when(revise("1.0.1")).then([published(2, "1.0.1")]);
}

#[test]
fn a_deleted_workflow_comes_back_with_its_history() {
    let deleted = || given::<Workflow>([published(1, "1.0.0"), Event::Deleted {}]);
    deleted().when(create("1.0.1")).then([published(2, "1.0.1")]);
    deleted().when(create("1.0.0")).then([published(2, "1.0.0")]);
    deleted().when(create("0.9.0")).refuses(not_newer("0.9.0", "1.0.0"));
    deleted()
        .when(publish(true, &text("order", "1.0.0", "# other")))
        .refuses(Refusal::VersionExists("1.0.0".to_owned()));
}

#[test]
fn a_version_can_be_found_even_after_deletion() {
    let mut state = Workflow::replay(&[published(1, "1.0.0"), published(2, "1.1.0")]);
    assert!(state.is_live());
    assert_eq!(state.find(None).map(|found| found.revision), Some(2));
    assert_eq!(state.find(Some("1.0.0")).map(|found| found.revision), Some(1));
    assert_eq!(state.find(Some("3.0.0")), None);
    state.evolve(&Event::Deleted {});
    assert!(!state.is_live());
    assert_eq!(state.revisions().len(), 2);
    assert_eq!(&*state.revisions()[0].document, text("order", "1.0.0", ""));
}

#[test]
fn an_id_follows_from_the_name_within_a_tenant() {
    let tenant = Id::from_uuid(uuid::Uuid::from_u128(7));
    let other = Id::from_uuid(uuid::Uuid::from_u128(8));
    let id = Workflow::id(tenant, "shop", "order");
    assert_eq!(id, Workflow::id(tenant, "shop", "order"));
    assert_ne!(id, Workflow::id(other, "shop", "order"));
    assert_ne!(id, Workflow::id(tenant, "shop-order", "order"));
}

fn any_command() -> impl Strategy<Value = Command> {
    let version = prop::sample::select(vec!["1.0.0", "1.0.1", "1.1.0", "2.0.0-rc.1", "2.0.0"]);
    prop_oneof![
        4 => (any::<bool>(), version, any::<bool>()).prop_map(|(create, version, other)| {
            publish(create, &text("order", version, if other { "# other" } else { "" }))
        }),
        1 => Just(Command::Delete),
    ]
}

proptest! {
    #[test]
    fn whatever_is_asked_for_versions_rise_and_keep_their_text(
        commands in prop::collection::vec(any_command(), 0..20),
    ) {
        let mut state = Workflow::default();
        for command in &commands {
            for event in state.decide(command, NOON).unwrap_or_default() {
                state.evolve(&event);
            }
        }
        for (at, pair) in state.revisions().windows(2).enumerate() {
            let [old, new] = pair else { continue };
            let version = |text: &str| semver::Version::parse(text).unwrap();
            let order = version(&new.version).cmp_precedence(&version(&old.version));
            prop_assert!(order.is_gt() || order.is_eq() && old.document == new.document);
            prop_assert_eq!(usize::try_from(new.revision).unwrap(), at + 2);
        }
    }
}
