//! The second thread: unwinds the stacks that were copied, and hands everything else on as it came.
//!
//! Apart from the first, because the first stack that leads through a file takes as long as reading that file's tables does:
//! some milliseconds, in which a process that should have been looked at may have gone.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use super::callers::{Answers, Callers};
use super::pipeline::{Backlog, Message};
use crate::event::Event;
use crate::event::decode::decode;

/// From the first thread to the second.
pub(super) enum Passed {
    /// Records of stacks to unwind, not decoded, for most are much shorter than what they have room for: before the faults that
    /// have them.
    Copies(Vec<Box<[u8]>>),
    /// What happened in the tree's life: a process begins with what another has mapped, or with nothing.
    Life(Box<Event>),
    /// For the third thread.
    On(Message),
    /// Nothing that matters comes any more: the first thread has ended.
    End,
}

/// The way to the second thread, and through it to the third.
#[derive(Clone)]
pub(super) struct Onward(pub(super) SyncSender<Passed>);

/// Nobody listens any more: a thread has ended.
#[derive(Debug)]
pub(super) struct Gone;

impl Onward {
    /// Sends the third thread something, behind what was sent before.
    pub(super) fn send(&self, message: Message) -> Result<(), Gone> {
        self.pass(Passed::On(message))
    }

    /// Sends the second thread something.
    pub(super) fn pass(&self, passed: Passed) -> Result<(), Gone> {
        self.0.send(passed).map_err(|_unsent| Gone)
    }
}

/// Unwinds and hands on until it is told the end, or the third thread has ended.
pub(super) fn unwind(
    mut callers: Callers,
    from: &Receiver<Passed>,
    to: &SyncSender<Message>,
    backlog: &Backlog,
) {
    for passed in from {
        let message = match passed {
            Passed::Copies(copies) => {
                let mut answers = Answers::default();
                for copy in &copies {
                    match decode(copy) {
                        Ok(Event::StackCopy(copy)) => callers.copy(&copy, &mut answers),
                        Ok(_) => {}
                        Err(error) => log::warn!("{error}"),
                    }
                }
                backlog.unwound(&copies);
                if answers.is_empty() {
                    continue;
                }
                Message::Callers(answers)
            }
            Passed::Life(event) => {
                callers.event(&event);
                continue;
            }
            Passed::On(message) => {
                if let Message::Saw(process, maps, _) = &message {
                    callers.saw(*process, Arc::clone(maps));
                }
                message
            }
            Passed::End => return,
        };
        if to.send(message).is_err() {
            return;
        }
    }
}
