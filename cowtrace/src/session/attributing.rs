//! The third thread: decodes, attributes, hands on.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::allowance::Allowance;
use super::callers::Answers;
use super::pipeline::{Attributed, Counted, Message, Served, Work};
use crate::attribute::Attributor;
use crate::event::Event;
use crate::event::decode::decode;
use crate::record::piece;

/// Faults after which they are handed on.
const PIECE: usize = 1 << 16;
/// Faults after which they are handed on even if that takes a moment.
const PILE: usize = 8 * PIECE;
/// How long the third thread waits for something to do.
const IDLE: Duration = Duration::from_millis(100);

/// Decodes and attributes until the other threads have ended.
pub(super) fn attribute(work: Work, from: &Receiver<Message>, served: &Served) -> Attributed {
    let Work { mut attributor, mut recorder, mut header, mut allowance } = work;
    let mut undecoded = 0;
    let mut counted = Counted::default();
    let mut handed_on = Instant::now();
    recorder.sink.take(piece::Piece::Header(Box::new(header.clone())));
    loop {
        let message = match from.recv_timeout(IDLE) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        match message {
            Some(Message::Interpreter(image, found)) => {
                if !header.interpreters.contains(&found.interpreter) {
                    header.interpreters.push(found.interpreter.clone());
                    recorder.sink.take(piece::Piece::Header(Box::new(header.clone())));
                }
                attributor.interpreter(image, found);
            }
            Some(Message::Callers(Answers { stacks, copies })) => attributor.callers(stacks, copies),
            Some(Message::Saw(key, maps, exe)) => attributor.tree.saw(key, maps, exe),
            Some(Message::Attached(found)) => attributor.tree.attach(&found),
            Some(Message::Had(key, baseline)) => attributor.tree.had(key, baseline),
            Some(Message::Last(fault)) => attributor.event(&Event::Fault(fault)),
            Some(Message::Counted(now)) => counted = *now,
            Some(Message::Records(batch)) => {
                undecoded += records(&mut attributor, &mut allowance, &batch);
                served.0.done(batch.len());
            }
            None => {}
        }
        let waiting = attributor.output.waiting();
        let due = recorder.sink.pace().is_some_and(|pace| handed_on.elapsed() >= pace);
        // Who looks at the trace keeps nobody waiting; but what is not handed on must not pile up.
        if (due || waiting >= PIECE) && (!recorder.sink.is_busy() || waiting >= PILE) {
            recorder.hand_on(&attributor.tree, &mut attributor.output, &counted.totals);
            if due {
                recorder.sink.take(piece::Piece::State(counted.state.clone()));
            }
            handed_on = Instant::now();
        }
    }
    let (tree, output) = attributor.finish();
    Attributed {
        tree,
        output,
        recorder,
        undecoded,
        left_out: served.0.left_out(),
        dropped: allowance.dropped,
    }
}

/// Takes a batch of records; returns how many could not be decoded.
fn records(attributor: &mut Attributor, allowance: &mut Allowance, batch: &[u8]) -> u64 {
    let mut undecoded = 0;
    let mut rest = batch;
    while let Some((len, tail)) = rest.split_first_chunk() {
        let len = (u32::from_ne_bytes(*len) as usize).min(tail.len());
        let (record, tail) = tail.split_at(len);
        rest = tail;
        match decode(record) {
            Ok(Event::Fault(fault)) if allowance.refuses(&fault) => {}
            Ok(event) => attributor.event(&event),
            Err(error) => {
                log::warn!("{error}");
                undecoded += 1;
            }
        }
    }
    undecoded
}

#[cfg(test)]
mod tests;
