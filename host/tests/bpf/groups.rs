//! Groups that programs count in, and what maps cost.

use super::{
    GROUPS, RECORDS, RING,
    assemble::{Code, thread_id, trigger},
    attached, shared, triggered,
};
use netsonde::bpf::Loaded;
use netsonde_core::bpf::program::figure;
use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// Counts by thread.
type Sums = BTreeMap<u64, u64>;

fn take(loaded: &Loaded, quiet: usize, sums: &mut Sums) {
    let take = |key: &[u8], values: &[u8]| {
        let (values, rest) = values.as_chunks::<8>();
        assert!(rest.is_empty());
        let sum: u64 = values.iter().map(|value| u64::from_ne_bytes(*value)).sum();
        *sums.entry(u64::from_ne_bytes(key.try_into().unwrap())).or_default() += sum;
    };
    loaded.take_groups(quiet, take).unwrap();
}

/// What threads are told that trigger the tracepoint all the time.
#[derive(Default)]
struct Work {
    has_begun: AtomicBool,
    is_over: AtomicBool,
}

/// Ends the work when the test ends, also when it fails.
struct Over<'a>(&'a Work);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

impl Work {
    /// The thread and how often it triggered.
    fn work(&self, thread: &mpsc::Sender<u32>) -> (u64, u64) {
        thread.send(thread_id()).unwrap();
        let mut triggers = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            if self.has_begun.load(Ordering::Relaxed) {
                trigger();
                triggers += 1;
            } else {
                thread::sleep(Duration::from_millis(1));
            }
        }
        (thread_id().into(), triggers)
    }
}

/// Threads trigger all the time, while groups are flipped and taken: in the end each trigger is in exactly one of the takes.
#[test]
fn rule_3_no_group_is_lost_or_counted_twice_over_flips() {
    const WORKERS: usize = 3;
    const FLIPS: usize = 100;
    let (shared, _ring) = shared(RING);
    let work = Work::default();
    let (send, threads) = mpsc::channel();
    thread::scope(|scope| {
        let over = Over(&work);
        let worker = || {
            let (work, send) = (&work, send.clone());
            scope.spawn(move || work.work(&send))
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| worker()).collect();
        let threads: Vec<u32> = threads.iter().take(WORKERS).collect();
        let mut code = Code::of_threads(&threads);
        // Long enough to be on its way from the switch to the group at most flips.
        code.group(figure::MAP_ERROR, 500);
        let loaded = attached(&code.program(GROUPS), 2, &shared);
        let mut sums = Sums::new();
        work.has_begun.store(true, Ordering::Relaxed);
        for flip in 0..FLIPS {
            let quiet = shared.flip().unwrap();
            assert_eq!(quiet, flip % 2);
            take(&loaded, quiet, &mut sums);
            // It is quiet: nothing comes after.
            loaded.take_groups(quiet, |_, _| panic!("a program wrote to the quiet map after flip {flip}")).unwrap();
        }
        drop(over);
        let triggers: Sums = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        for _ in 0..2 {
            take(&loaded, shared.flip().unwrap(), &mut sums);
        }
        assert_eq!(loaded.missed(), Some(0));
        assert!(triggers.values().all(|count| *count > 0), "{triggers:?}");
        // The kernel gives up on a lock that a very busy machine does not let go; that is counted, too.
        let errors = shared.figures(2).unwrap()[figure::MAP_ERROR];
        assert_eq!(sums.values().sum::<u64>() + errors, triggers.values().sum::<u64>(), "{errors} errors");
        assert!(errors > 0 || sums == triggers, "{sums:?} of {triggers:?}");
    });
}

/// What a program wrote is still there after it is detached.
#[test]
fn a_detached_programs_groups_can_be_taken() {
    let (shared, _ring) = shared(RING);
    let mut code = Code::of_threads(&[thread_id()]);
    code.token();
    code.group(figure::MAP_ERROR, 0);
    let mut loaded = attached(&code.program(GROUPS), 2, &shared);
    triggered(7);
    shared.flip().unwrap();
    triggered(5);
    loaded.detach();
    shared.settle().unwrap();
    triggered(3);
    let mut sums = Sums::new();
    take(&loaded, 0, &mut sums);
    take(&loaded, 1, &mut sums);
    assert_eq!(sums, Sums::from([(thread_id().into(), 12)]));
    loaded.take_groups(2, |_, _| panic!("there are two maps")).unwrap();
}

#[test]
fn memory_is_that_of_the_program_and_its_own_maps() {
    let (shared, _ring) = shared(RING);
    let memory = |code: Code, writes| Loaded::load(&code.program(writes), 2, &shared).unwrap().memory();
    let mut groups = Code::of_threads(&[1]);
    groups.group(figure::MAP_ERROR, 0);
    let mut tokens = Code::of_threads(&[1]);
    tokens.token();
    let plain = memory(Code::of_threads(&[1]), RECORDS);
    let (groups, tokens) = (memory(groups, GROUPS), memory(tokens, RECORDS));
    assert!((1..100 << 10).contains(&plain), "{plain}");
    // At least the keys and values themselves: two maps of 1,024 groups, or more; 4,096 buckets.
    assert!(groups >= plain + 2 * 1_024 * 16, "{groups}");
    assert!(tokens >= plain + 4_096 * 16, "{tokens}");
}
