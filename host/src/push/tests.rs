//! What holds for every target.

use super::*;

/// Takes what it is given, or says why not.
struct Fake(Option<&'static str>);

impl Target for Fake {
    fn name(&self) -> &str {
        "fake"
    }

    fn place(&self) -> &str {
        "http://fake"
    }

    fn rhythm(&self) -> Rhythm {
        Rhythm::aligned(Duration::from_secs(10))
    }

    fn check(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn push(&mut self, families: &[Family<'_>], _: Duration, until: Instant, counts: &Counts) -> Result<(), Fault> {
        assert!(until.saturating_duration_since(Instant::now()) <= Duration::from_secs(5));
        counts.sent(self.name(), families.len() as u64);
        self.0.map_or(Ok(()), |why| Err(Fault::later(why)))
    }
}

#[test]
fn each_push_is_counted_by_what_became_of_it() {
    let counts = Counts::default();
    counts.began("fake");
    let page = |text: &'static str| -> PageSource {
        Arc::new(move |wait| {
            assert_eq!(wait, Duration::from_secs(5), "half of the interval");
            if text.is_empty() { Err("the collector sleeps".to_owned()) } else { Ok(text.into()) }
        })
    };
    let good = page("# TYPE a gauge\na 1\n# EOF\n");
    for (answer, page, error) in [
        (Some("it is away"), &good, "http://fake: it is away"),
        (None, &good, ""),
        (None, &page(""), "the collector sleeps"),
        (None, &page("a 1"), "line 1 of the page cannot be read"),
    ] {
        once(&mut Fake(answer), page, Duration::ZERO, &counts);
        let figures = &counts.now()["fake"];
        assert!(
            figures.last_error.starts_with(error) && figures.last_error.is_empty() == error.is_empty(),
            "{figures:?}"
        );
    }
    let figures = &counts.now()["fake"];
    let pushes: Vec<_> = figures.pushes.iter().map(|(result, count)| (*result, *count)).collect();
    assert_eq!((pushes, figures.samples), (vec![("failed", 1), ("no_page", 2), ("ok", 1)], 2));
}
