//! Metrics for systems that do not scrape. Each such place has a thread: it waits for its moment, has a page made as a scrape has, and sends
//! what it makes of that.

mod counts;
pub mod falcon;
pub mod otlp;
mod rhythm;

pub use counts::{Counts, Figures};
pub use rhythm::Rhythm;

use crate::sink::fault::Fault;
use netsonde_core::{
    config::{Config, Sink},
    metric::parse::{Family, parse},
};
use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

/// Makes a page in OpenMetrics, of a collection that takes at most so long; or tells why there is none.
pub type PageSource = Arc<dyn Fn(Duration) -> Result<Vec<u8>, String> + Send + Sync>;

/// A place that metrics are pushed to.
pub trait Target: Send {
    /// As in the metrics' label `sink`.
    fn name(&self) -> &str;

    /// Where it is, for messages.
    fn place(&self) -> &str;

    fn rhythm(&self) -> Rhythm;

    /// Sends a request without a value: nothing is kept of it.
    ///
    /// # Errors
    /// If metrics could not be delivered now.
    fn check(&mut self) -> Result<(), Fault>;

    /// Sends what it makes of `families`, of the moment `at`, since the Unix epoch. After `until` nothing more is begun. What the other side
    /// has taken, and what it never will, goes into `counts`.
    ///
    /// # Errors
    /// If not all of it was taken.
    fn push(&mut self, families: &[Family<'_>], at: Duration, until: Instant, counts: &Counts) -> Result<(), Fault>;
}

/// What the configuration wants metrics to be pushed to.
pub fn targets(config: &Config, node: &str) -> Vec<Box<dyn Target>> {
    let target = |sink: &Sink| -> Option<Box<dyn Target>> {
        let name = sink.name();
        match sink {
            Sink::OpenFalcon(sink) => Some(Box::new(falcon::Falcon::new(name, sink, node))),
            Sink::Otlp(sink) => Some(Box::new(otlp::Otlp::new(name, sink, sink.metrics?, node))),
            _ => None,
        }
    };
    config.sinks.iter().filter_map(target).collect()
}

/// Starts the thread of one target. It ends with the process: what it has in its hands is as old as its last push, and the next one, of
/// whichever process, says it anew.
///
/// # Errors
/// If the system gives no thread.
pub fn start(target: Box<dyn Target>, pages: PageSource, counts: Arc<Counts>) -> io::Result<()> {
    counts.began(target.name());
    thread::Builder::new()
        .name(format!("push {}", target.name()))
        .spawn(move || work(target, &pages, &counts))
        .map(drop)
}

fn work(mut target: Box<dyn Target>, pages: &PageSource, counts: &Counts) {
    let rhythm = target.rhythm();
    let mut last = None;
    loop {
        let now = unix_time();
        let at = rhythm.next(now, last);
        thread::sleep(at - now);
        if unix_time().abs_diff(at) >= rhythm.interval {
            // The clock has jumped: that moment is not now.
            last = None;
            continue;
        }
        last = Some(at);
        once(target.as_mut(), pages, at, counts);
    }
}

/// One push: half of the interval for the page, and half for sending it, so that the next one finds the thread waiting.
fn once(target: &mut dyn Target, pages: &PageSource, at: Duration, counts: &Counts) {
    let half = target.rhythm().interval / 2;
    let began = Instant::now();
    let result = pages(half.min(LONGEST_COLLECTION)).map_err(|why| ("no_page", why)).and_then(|page| {
        let page = String::from_utf8(page).map_err(|error| ("no_page", error.to_string()))?;
        let families = parse(&page).map_err(|error| ("no_page", error.to_string()))?;
        let pushed = target.push(&families, at, Instant::now() + half, counts);
        pushed.map_err(|fault| ("failed", format!("{}: {fault}", target.place())))
    });
    counts.ended(target.name(), began.elapsed(), result);
}

/// The collection itself ends sooner, if the configuration says so.
const LONGEST_COLLECTION: Duration = Duration::from_secs(60);

fn unix_time() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

#[cfg(test)]
mod tests;
