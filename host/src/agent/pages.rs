//! What the HTTP server serves, from the board.

use super::{
    board::{Failed, QueryStatus, Shared, Status},
    collector::{Message, Request},
    follow::{Reader, Records},
    ledger,
    pods::Runtimes,
    slot::Health,
};
use crate::{
    http::{Content, Page, Pages, gzip, index::Index, query::EventsQuery},
    push,
};
use netsonde_core::metric::format::Format;
use serde_json::{Value, json};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Semaphore, oneshot},
    task,
};

/// Who may follow the events at once: each is a connection that stays, of those that the server has.
const MAX_FOLLOWERS: usize = 32;

/// Why there is no fresh page.
#[derive(Debug, thiserror::Error)]
pub enum NotCollected {
    #[error("too many requests wait for a collection: ask again later")]
    TooMany,
    #[error("the collection has not ended within {0:?}")]
    Late(Duration),
    #[error("the collector has ended: restart the agent, and report its log")]
    Ended,
}

/// The agent's pages.
pub struct AgentPages {
    shared: Arc<Shared>,
    runtimes: Arc<Runtimes>,
    requests: SyncSender<Message>,
    timeout: Duration,
    node: String,
    followers: Arc<Semaphore>,
}

impl AgentPages {
    pub fn new(
        shared: Arc<Shared>,
        runtimes: Arc<Runtimes>,
        requests: SyncSender<Message>,
        timeout: Duration,
        node: String,
    ) -> Self {
        Self { shared, runtimes, requests, timeout, node, followers: Arc::new(Semaphore::new(MAX_FOLLOWERS)) }
    }

    /// Has a collection made, joins the one that runs, or takes a fresh one.
    ///
    /// # Errors
    /// If it does not end within `wait`.
    pub async fn collect(&self, wait: Duration, scrape: bool) -> Result<(), NotCollected> {
        let answer = self.ask(wait, scrape)?;
        // The collection itself keeps the deadline; a little later its page is still of use.
        match tokio::time::timeout(wait + wait / 10, answer).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(NotCollected::Ended),
            Err(_) => Err(NotCollected::Late(wait)),
        }
    }

    /// What is returned comes when the collection has ended.
    fn ask(&self, wait: Duration, scrape: bool) -> Result<oneshot::Receiver<()>, NotCollected> {
        let (reply, answer) = oneshot::channel();
        let request = Request { deadline: Instant::now() + wait, scrape, reply };
        self.requests.try_send(Message::Collect(request)).map_err(|error| match error {
            TrySendError::Full(_) => NotCollected::TooMany,
            TrySendError::Disconnected(_) => NotCollected::Ended,
        })?;
        Ok(answer)
    }

    /// A page in OpenMetrics, made as for a scrape, for whoever pushes it. Not for a thread that serves others: it waits.
    ///
    /// # Errors
    /// If there is no collection; that ends within `wait`.
    pub fn pushed(&self, wait: Duration) -> Result<Vec<u8>, NotCollected> {
        // Before the first one the probes are loading: whoever has waited for that in the queue gets an empty page.
        let until = Instant::now() + wait;
        while !self.shared.board().figures.has_collected() {
            if Instant::now() >= until {
                return Err(NotCollected::Late(wait));
            }
            thread::sleep(Duration::from_millis(50));
        }
        // The collector keeps the deadline.
        self.ask(wait.min(self.timeout), true)?.blocking_recv().map_err(|_| NotCollected::Ended)?;
        let sources = self.runtimes.now();
        let accounts = self.shared.accounts();
        Ok(self.shared.board().page(Format::OpenMetrics1_0_0(None), &accounts, &sources))
    }

    async fn metrics_page(&self, accept: Option<String>, timeout: Option<Duration>, compress: bool) -> Page {
        // Rule 1: 90 % of what the scraper waits, so that the page still reaches it.
        let wait = timeout.map_or(self.timeout, |timeout| timeout.mul_f64(0.9)).min(self.timeout);
        if let Err(error) = self.collect(wait, true).await {
            return Page::text(503, error.to_string());
        }
        let format = Format::negotiate(accept.as_deref());
        let (shared, sources) = (self.shared.clone(), self.runtimes.now());
        // A page of 100,000 series takes tens of milliseconds: not on the thread that answers others.
        let body = task::spawn_blocking(move || {
            let accounts = shared.accounts();
            let page = shared.board().page(format, &accounts, &sources);
            if compress { gzip(&page) } else { page }
        });
        match body.await {
            Ok(body) => Page {
                status: 200,
                content_type: format.content_type(),
                encoding: compress.then_some("gzip"),
                content: Content::Whole(body.into()),
            },
            Err(error) => Page::text(500, format!("cannot write the page: {error}")),
        }
    }
}

impl Pages for AgentPages {
    fn metrics(
        &self,
        accept: Option<String>,
        timeout: Option<Duration>,
        gzip: bool,
    ) -> Pin<Box<dyn Future<Output = Page> + Send + '_>> {
        Box::pin(self.metrics_page(accept, timeout, gzip))
    }

    fn ready(&self) -> Result<(), String> {
        let board = self.shared.board();
        if !board.figures.has_collected() {
            return Err("the first collection has not ended".into());
        }
        let down: Vec<String> = board
            .status
            .iter()
            .filter(|status| status.health == Health::Down)
            .map(|status| format!("probe {} is down: {}", status.name, status.why))
            .collect();
        if !down.is_empty() && down.len() == board.status.len() { Err(down.join("\n")) } else { Ok(()) }
    }

    fn probes(&self) -> Value {
        let board = self.shared.board();
        let probes: Vec<Value> = board.status.iter().map(probe_json).collect();
        let failed = |failed: &Failed| json!({ "netns": failed.netns, "why": failed.why });
        let pushes: Vec<Value> =
            board.figures.pushes.now().iter().map(|(sink, figures)| push_json(sink, figures)).collect();
        json!({
            "node": self.node,
            "version": env!("CARGO_PKG_VERSION"),
            "probes": probes,
            "pushes": pushes,
            "namespaces": {
                "found": board.figures.namespaces,
                "failed": board.failed.iter().map(failed).collect::<Vec<_>>(),
                "hidden_processes": board.figures.hidden,
                "no_host": board.no_host,
            },
        })
    }

    fn pods(&self) -> Value {
        self.runtimes.json(&self.shared.scopes())
    }

    fn events(&self, query: EventsQuery) -> Page {
        let place = match query.follow.then(|| self.followers.clone().try_acquire_owned()) {
            None => None,
            Some(Ok(place)) => Some(place),
            Some(Err(_)) => return Page::text(503, format!("{MAX_FOLLOWERS} clients follow the events already")),
        };
        let reader = Reader::new(self.shared.events().clone(), query, place);
        Page {
            status: 200,
            content_type: "application/x-ndjson".into(),
            encoding: None,
            content: Content::Feed(Box::new(reader)),
        }
    }

    fn ledger(&self) -> Value {
        ledger::json(&self.shared.accounts(), &self.node)
    }

    fn recorder(&self) -> Page {
        match self.shared.events().recorded(self.shared.clock().0) {
            None => Page::text(404, "nothing is recorded: `recorder: { keep: 0s }` says so"),
            Some(recorded) => Page {
                status: 200,
                content_type: "application/x-ndjson".into(),
                encoding: None,
                content: Content::Feed(Box::new(Records::new(recorded))),
            },
        }
    }

    fn index(&self) -> Index {
        let board = self.shared.board();
        let line = |status: &Status| (status.name.clone(), status.health.as_str().to_owned(), status.why.clone());
        Index { node: self.node.clone(), probes: board.status.iter().map(line).collect() }
    }

    fn refused_connection(&self) {
        self.shared.board().figures.refused_connections += 1;
    }
}

fn push_json(sink: &str, figures: &push::Figures) -> Value {
    json!({
        "sink": sink,
        "attempts": figures.pushes,
        "samples": figures.samples,
        "dropped": figures.dropped,
        "waiting": figures.waiting,
        "why": if figures.last_error.is_empty() { Value::Null } else { figures.last_error.clone().into() },
    })
}

fn probe_json(status: &Status) -> Value {
    let query = |query: &QueryStatus| {
        json!({
            "name": query.name,
            "sql": query.sql,
            "up": query.up,
            "absent": query.absent,
            "rows": query.rows,
        })
    };
    json!({
        "name": status.name,
        "module": status.module,
        "digest": status.digest,
        "state": status.health.as_str(),
        "why": if status.why.is_empty() { Value::Null } else { status.why.clone().into() },
        "queries": status.queries.iter().map(query).collect::<Vec<_>>(),
        "series": status.series,
        "cpu_seconds": status.cpu.as_secs_f64(),
        "memory_bytes": status.memory,
    })
}
