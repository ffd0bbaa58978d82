//! The thread that moves events from memory to the spill.

use super::{
    lane::{Lane, State},
    spill::{Lines, Spill},
};
use std::time::{Duration, Instant};

/// What was stored is synced to the disk after so long.
const SYNC: Duration = Duration::from_secs(1);

/// After the folder could not be opened, it is tried again so much later.
const OPEN: Duration = Duration::from_secs(30);

enum Chore {
    Open,
    Store,
    Sync,
    /// Everything is delivered, or the time for it is over.
    End,
}

/// Works until the end of the agent, or until all is delivered after it was closed.
pub fn run(lane: &Lane) {
    let Some(settings) = &lane.settings else { return };
    let mut lines = Lines::default();
    let mut open_at = Some(Instant::now());
    loop {
        match next(lane, open_at) {
            Chore::Open => {
                let opened = Spill::open(settings, &lane.name);
                open_at = opened.is_err().then(|| Instant::now() + OPEN);
                lane.opened(opened);
            }
            Chore::Store => lane.store(&mut lines),
            Chore::Sync => sync(lane),
            Chore::End => break,
        }
    }
    if lane.state().ending {
        lane.store_all(&mut lines);
    }
    let spill = lane.spill().take();
    if let Some(Err(error)) = spill.map(|mut spill| if spill.is_dirty() { spill.sync() } else { Ok(()) }) {
        lane.disk_failed(&error);
    }
    lane.over(|state| state.store_over = true);
}

fn next(lane: &Lane, open_at: Option<Instant>) -> Chore {
    let mut state = lane.state();
    loop {
        let now = Instant::now();
        if state.ending || state.work_over {
            return Chore::End;
        }
        let due = [(open_at, Chore::Open), (sync_at(&state), Chore::Sync), (state.store_at(now), Chore::Store)];
        let Some((at, chore)) = due.into_iter().filter_map(|(at, chore)| Some((at?, chore))).min_by_key(|(at, _)| *at)
        else {
            state = lane.wait_to_store(state, None);
            continue;
        };
        if at <= now {
            return chore;
        }
        state = lane.wait_to_store(state, Some(at));
    }
}

fn sync_at(state: &State) -> Option<Instant> {
    state.spill.dirty_since.map(|since| since + SYNC)
}

/// Without the lock: a slow disk does not hold up the sink, which may read meanwhile.
fn sync(lane: &Lane) {
    lane.state().spill.dirty_since = None;
    let Some(later) = lane.spill().as_mut().map(Spill::sync_later) else { return };
    let synced = match later {
        Ok(sync) => sync(),
        Err(error) => return tracing::warn!(sink = &*lane.name, "cannot sync the spill: {error}"),
    };
    if let Err(error) = synced {
        lane.disk_failed(&error);
    }
}
