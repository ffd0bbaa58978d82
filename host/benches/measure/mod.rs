//! Two things measured in turn, A B A B: on a machine that is busy with other things both suffer alike, and the ratio stays.

#[allow(dead_code, reason = "each bench is a program of its own, and not all use it")]
pub mod agent;
#[allow(dead_code, reason = "each bench is a program of its own, and not all use it")]
pub mod kernel;
#[allow(dead_code, reason = "each bench is a program of its own, and not all use it")]
pub mod spent;
#[allow(dead_code, reason = "each bench is a program of its own, and not all use it")]
pub mod table;

use std::time::{Duration, Instant};

/// Runs `reference` and `ours` in turn, `passes` times after one that is not counted, and prints a line with the ratio of the medians.
#[allow(dead_code, reason = "each bench is a program of its own, and not all use it")]
pub fn compare(what: &str, passes: usize, mut reference: impl FnMut(), mut ours: impl FnMut()) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for pass in 0..=passes {
        let (reference, ours) = (time(&mut reference), time(&mut ours));
        if pass > 0 {
            a.push(reference);
            b.push(ours);
        }
    }
    let (reference, ours) = (median(a), median(b));
    let ratio = ours.as_secs_f64() / reference.as_secs_f64();
    println!("{what:<58} {ours:>11.2?}   reference {reference:>11.2?}   ratio {ratio:.2}");
}

/// Runs `ours` and prints the median.
#[allow(dead_code, reason = "each bench is a program of its own, and not all use it")]
pub fn alone(what: &str, passes: usize, mut ours: impl FnMut()) {
    let times = (0..=passes).map(|_| time(&mut ours)).skip(1).collect();
    println!("{what:<58} {:>11.2?}", median(times));
}

fn time(run: &mut impl FnMut()) -> Duration {
    let began = Instant::now();
    run();
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
