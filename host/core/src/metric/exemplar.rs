//! Exemplars: the way from a series to the latest of the events that it counts.
//!
//! <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md#exemplars>

use super::value::Value;
use crate::event::{Event, EventId};
use std::time::Duration;

/// One event of those that a counter has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    pub event: EventId,
    pub unix_nanos: u64,
}

impl From<&Event> for Exemplar {
    fn from(event: &Event) -> Self {
        Self { event: event.id, unix_nanos: event.unix_nanos }
    }
}

impl Exemplar {
    /// The later one: of a run's events the one with the higher number, as their times come from many CPUs.
    pub fn later(self, other: Self) -> Self {
        let is_later = match self.event.run == other.event.run {
            true => other.event.seq >= self.event.seq,
            false => other.unix_nanos >= self.unix_nanos,
        };
        if is_later { other } else { self }
    }

    /// Appends what stands behind a sample's value. The labels' names and values have 46 characters at most, of 128 that may be.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b" # {event_id=\"");
        self.event.push(out);
        out.extend_from_slice(b"\"} 1 ");
        seconds(out, Duration::from_nanos(self.unix_nanos));
    }
}

/// A time to the millisecond.
pub(super) fn seconds(out: &mut Vec<u8>, time: Duration) {
    let millis = time.subsec_millis();
    Value::U64(time.as_secs()).write(out);
    out.extend([b'.', b'0' + (millis / 100) as u8, b'0' + (millis / 10 % 10) as u8, b'0' + (millis % 10) as u8]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_one_counts_whatever_clocks_say() {
        let of = |run, seq, unix_nanos| Exemplar { event: EventId { run, seq }, unix_nanos };
        for (one, other) in [(of(1, 1, 9), of(1, 2, 5)), (of(2, 9, 5), of(1, 1, 6)), (of(1, 1, 5), of(1, 1, 6))] {
            assert_eq!(one.later(other), other);
            assert_eq!(other.later(one), if one.event == other.event { one } else { other });
        }
    }
}
