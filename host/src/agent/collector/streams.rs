//! Calls of streams: rows as they come, between collections.

use super::{Collector, Delivered};
use crate::agent::streams::Stream;
use netsonde_core::{
    event::{Origin, Origins},
    metric::registry::Now,
    output::Shape,
    probe::{Answer, Call, CallKind},
};
use std::time::Instant;

impl Collector {
    /// Keeps rows for their probe.
    pub(super) fn take_rows(&mut self, rows: Stream) {
        let (of, probe, count) = (rows.hook, rows.probe.clone(), rows.batch.rows as u64);
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.hooks().any(|(.., hook)| hook == of)) else {
            self.shared.rows().not_passed(&probe, count, "query_gone");
            return self.shared.board().figures.dropped(&probe, "queue", "query_gone", count);
        };
        let dropped = slot.waiting.push(rows) as u64;
        self.shared.rows().passed(&probe, count, slot.waiting.rows(), dropped);
        if dropped > 0 {
            self.shared.board().figures.dropped(&slot.spec.name, "queue", "full", dropped);
        }
    }

    /// Gives every probe that is free, and for whom there are rows, the oldest ones.
    pub(super) fn start_streams(&mut self) {
        let (monotonic, unix) = self.shared.clock();
        for slot in &mut self.slots {
            if !slot.runs() || slot.waiting.is_empty() {
                continue;
            }
            let hooks: Vec<_> = slot.hooks().map(|(index, _, hook)| (hook, index)).collect();
            let index = |rows: &Stream| hooks.iter().find(|(hook, _)| *hook == rows.hook).map(|(_, index)| *index);
            let (rows, lost) = slot.waiting.next(index);
            if lost > 0 {
                self.shared.board().figures.dropped(&slot.spec.name, "queue", "query_gone", lost as u64);
            }
            let count = rows.iter().map(|(_, rows)| rows.batch.rows as u64).sum();
            self.shared.rows().called(&slot.spec.name, count, slot.waiting.rows(), lost as u64);
            if rows.is_empty() {
                continue;
            }
            self.calls += 1;
            let mut origins = Vec::with_capacity(rows.len());
            let mut answers = Vec::with_capacity(rows.len());
            for (query, Stream { batch, times, scopes, stacks, .. }) in rows {
                let fields =
                    slot.hooks().find(|(index, ..)| *index == query).map_or(&[][..], |(_, query, _)| &query.fields);
                // Rule 28, and rule 19: every row has a namespace, whether it is selected or not.
                let scopes = Origin::scopes(fields, &batch.columns).unwrap_or(scopes);
                origins.push(Origin { times: Some(times), scopes: Some(scopes), stacks });
                answers.push(Answer { query: query as u32, result: Ok(batch), failed_scopes: Vec::new() });
            }
            let call = Call {
                kind: CallKind::Stream,
                id: self.calls,
                monotonic_nanos: monotonic.as_nanos() as u64,
                unix_nanos: unix.as_nanos() as u64,
                answers,
                gone: Vec::new(),
            };
            let queries = call
                .answers
                .iter()
                .map(|answer| (answer.query as usize, answer.result.as_ref().ok().map(|batch| batch.rows)));
            slot.streaming = Some(Box::new(Delivered {
                shape: Shape::from(&call),
                queries: queries.collect(),
                overflows: 0,
                origins: Origins::new(&call, origins),
            }));
            slot.call(call);
        }
    }

    /// Brings onto the page what probes have answered by `deadline`.
    pub(super) fn finish_streams(&mut self, deadline: Instant) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.streaming.is_none() {
                continue;
            }
            let processed = slot.answer(deadline);
            if processed.is_none() && slot.is_called() {
                continue;
            }
            let Some(delivered) = slot.streaming.take() else { continue };
            let (monotonic, unix) = self.shared.clock();
            let scopes = self.shared.scopes();
            let now = Now { monotonic, unix };
            self.shared.board().apply_stream(slot, &delivered, processed, &scopes, now);
        }
    }
}
