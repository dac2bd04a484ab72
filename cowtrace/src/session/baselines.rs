//! What processes that were there before share, and what is their own: read by a thread of its own, for a look at much memory
//! takes its time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use cowtrace_ebpf::state::ProcessKey;

use super::pipeline::Message;
use super::unwinding::Onward;
use crate::process::baseline::Baseline;

/// A way to ask for the baseline of a process.
#[derive(Clone)]
pub(super) struct Asking(Sender<ProcessKey>);

/// What is to be read.
pub(super) struct Asked(Receiver<ProcessKey>);

/// The thread.
pub(super) struct Baselines {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Two ends: whoever asks, and what is to be read.
pub(super) fn asking() -> (Asking, Asked) {
    let (to, from) = channel();
    (Asking(to), Asked(from))
}

impl Asking {
    /// Asks for the baseline of a process, which is told to the attributing thread.
    pub(super) fn ask(&self, key: ProcessKey) {
        // Without attached processes nobody listens.
        let _ = self.0.send(key);
    }
}

impl Baselines {
    pub(super) fn start(asked: Asked, to: Onward) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("baselines".to_owned()).spawn(move || {
            for key in asked.0 {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                match Baseline::of(key.pid) {
                    Ok(baseline) if to.send(Message::Had(key, baseline)).is_err() => break,
                    Ok(_) => {}
                    Err(error) => log::debug!("baseline of {}: {error}", key.pid),
                }
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it, whatever is still to be read. Nobody must be able to ask any more.
    pub(super) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        // It has no result, and a panic of it is no reason to lose the trace.
        let _ = self.thread.join();
    }
}
