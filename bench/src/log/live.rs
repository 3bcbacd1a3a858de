//! A rebuild while everything goes on: executions happen, the live read models keep up, and somebody
//! asks for what is in them all the time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use domain::{Id, Tenant};
use eventstore::Role;
use projections::executions::{self, Filter};
use projections::{Paging, Projector, Reader};

use crate::history::{History, log};
use crate::load::Ran;
use crate::views::{CONNECTIONS, rebuild};

/// The questions that were asked meanwhile.
#[derive(Debug, Default)]
struct Asked {
    answers: u32,
    slowest: Duration,
}

/// Makes all read models of a log of so many events anew.
pub(crate) async fn rebuild_under_load(url: &str, history: &History, events: usize) -> Result<Ran> {
    let pool = eventstore::connect(url, Role::Worker, CONNECTIONS).await?;
    let log = log(url).await?;
    let projector = Projector::new(pool, log.clone());
    let (before, mut asked) = (log.head().await?, Asked::default());
    let ran = tokio::select! {
        ran = rebuild(url) => ran?,
        ended = history.live(url, events) => bail!("no executions happen any more: {ended:?}"),
        () = projector.run(std::future::pending()) => bail!("the live read models stand still"),
        failed = asked.go_on(url, history.tenant()?) => return failed,
    };
    eprintln!("{} events were appended meanwhile, {asked:?}", log.head().await? - before);
    Ok(ran)
}

impl Asked {
    /// Asks for the newest executions again and again; comes back only if there is no answer.
    async fn go_on(&mut self, url: &str, tenant: Id<Tenant>) -> Result<Ran> {
        let pool = eventstore::connect(url, Role::Query, 1).await?;
        let all = Filter::default();
        loop {
            let began = Instant::now();
            let mut reader = Reader::begin(&pool, tenant).await?;
            let page = executions::list(&mut reader, &all, Paging::new(50, None)).await?;
            ensure!(!page.items.is_empty(), "no executions are shown");
            self.answers += 1;
            self.slowest = self.slowest.max(began.elapsed());
        }
    }
}
