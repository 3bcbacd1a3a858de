//! People who are erased: read models forget them, and are afterwards as if nobody had ever known.

use std::sync::Arc;

use domain::Id;
use domain::subject::{Event, Subject};
use eventstore::personal::{Keyring, Sealed};
use eventstore::{MemoryEventStore, StreamId};
use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use sqlx::PgPool;
use uuid::Uuid;

use super::story::{Story, bytes, golden, tenant, wipe};
use crate::{Course, Paging, executions, rebuild, verify};

/// A sealed log, two people whose data may be in it, and the keys.
struct Told {
    story: Story,
    keys: Arc<Keyring>,
    ada: Id<Subject>,
    bob: Id<Subject>,
}

impl Told {
    async fn new(pool: &PgPool) -> Self {
        let keys = Arc::new(Keyring::new(pool.clone(), &[3; 32]));
        let log = Sealed::new(MemoryEventStore::default(), keys.clone());
        let [ada, bob] = ["ada", "bob"].map(|name| keys.subject(tenant(1), name));
        let (ada, bob) = (ada.await.expect("is made"), bob.await.expect("is made"));
        Self { story: Story::on(Arc::new(log)), keys, ada, bob }
    }

    /// What the policy does when somebody wants a subject to be erased.
    async fn erase(&self, who: Id<Subject>) {
        self.story.tell(who, [Event::ErasureRequested {}]).await;
        self.keys.destroy(tenant(1), who).await.expect("is destroyed");
        self.story.tell(who, [Event::Erased {}]).await;
    }
}

fn course() -> Course<'static> {
    Course { build: "this one", rate: None, progress: &|_| {} }
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn whoever_is_erased_is_in_no_read_model_and_all_else_is_as_it_was(pool: PgPool) {
    let told = Told::new(&pool).await;
    told.story.about(told.ada).tell_everything().await;
    told.story.fold(&pool).await;
    let before = bytes(&pool).await;
    assert!(before.contains("ann@example.com") && before.contains("too dear"));
    told.erase(told.bob).await;
    told.story.fold(&pool).await;
    assert_eq!(bytes(&pool).await, before, "nobody else is erased");

    told.erase(told.ada).await;
    told.story.fold(&pool).await;
    let after = bytes(&pool).await;
    for said in ["ann@example.com", "too dear", "no JSON", "gone", "\\\"n\\\"", "\"run\""] {
        assert!(!after.contains(said), "{said}: {after}");
    }
    let mut reader = told.story.reader(&pool).await;
    let every = executions::Filter::default();
    let page = executions::list(&mut reader, &every, Paging::new(9, None)).await.expect("lists");
    let ids: Vec<Uuid> = page.items.iter().map(|one| one.id).collect();
    let statuses: Vec<_> = page.items.into_iter().map(|one| (one.status, one.erased)).collect();
    assert_eq!(statuses.len(), 5, "what happened is still known");
    assert!(statuses.iter().any(|(status, _)| status == "faulted"));
    assert!(statuses.iter().all(|(_, erased)| *erased));
    for id in ids {
        let stream = StreamId { tenant: told.story.tenant, category: "execution", id };
        let events = told.story.log.load(stream, 0, 1_000).await.expect("loads");
        let told = crate::told::execution(&events).expect("tells");
        assert_eq!(told, None, "of somebody the read models tell");
    }
    drop(reader);

    rebuild(&pool, told.story.log.clone(), &[""; 0], &course()).await.expect("rebuilds");
    assert_eq!(bytes(&pool).await, after, "as if nobody had ever known");
    let report = verify(&pool, told.story.log.clone(), &[""; 0], &course()).await;
    assert!(report.expect("compares").is_identical());
}

/// The rule that every view has to keep: folding what was known and forgetting it gives the same
/// bytes as folding what is erased.
#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn forgetting_gives_the_same_bytes_as_never_having_known(pool: PgPool) {
    let bodies = golden();
    let one = (0..bodies.len(), 1..=4_u128);
    let histories = (vec(one.clone(), 1..80), vec(one, 0..20), 1..30_usize);
    let mut runner = TestRunner::deterministic();
    for _ in 0..12 {
        let (before, afterwards, batch) =
            histories.new_tree(&mut runner).expect("generates").current();
        let told = Told::new(&pool).await;
        // Streams 1 and 2 are Ada's, 3 is Bob's, 4 nobody's.
        let stories = [
            told.story.about(told.ada),
            told.story.about(told.ada),
            told.story.about(told.bob),
            told.story.clone(),
        ];
        let tell = async |history: &[(usize, u128)]| {
            for (body, stream) in history {
                let story = &stories[usize::try_from(*stream).expect("small") - 1];
                story.tell_body(Uuid::from_u128(*stream), &bodies[*body]).await;
            }
        };
        wipe(&pool).await;
        tell(&before).await;
        told.story.fold_in(&pool, batch).await;
        told.erase(told.ada).await;
        tell(&afterwards).await;
        told.story.fold_in(&pool, batch).await;
        let forgotten = bytes(&pool).await;

        wipe(&pool).await;
        told.story.fold_in(&pool, batch).await;
        assert_eq!(bytes(&pool).await, forgotten, "{before:?} {afterwards:?}");
        rebuild(&pool, told.story.log.clone(), &[""; 0], &course()).await.expect("rebuilds");
        assert_eq!(bytes(&pool).await, forgotten, "rebuilt: {before:?} {afterwards:?}");
    }
}
