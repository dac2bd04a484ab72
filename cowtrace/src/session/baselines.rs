//! What processes that were there before share, and what is their own: read by a thread of its own, for a look at much memory
//! takes its time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cowtrace_ebpf::state::ProcessKey;

use super::pipeline::Message;
use super::unwinding::Onward;
use crate::process::baseline::Baseline;

/// How long whoever attaches waits for the baselines, at most: by then several thousand are read.
const PATIENCE: Duration = Duration::from_secs(2);

/// A way to ask for the baseline of a process.
#[derive(Clone)]
pub(super) struct Asking {
    to: Sender<ProcessKey>,
    /// Baselines that were asked for and are not read yet.
    open: Arc<AtomicUsize>,
}

/// What is to be read.
pub(super) struct Asked {
    from: Receiver<ProcessKey>,
    open: Arc<AtomicUsize>,
}

/// The thread.
pub(super) struct Baselines {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Two ends: whoever asks, and what is to be read.
pub(super) fn asking() -> (Asking, Asked) {
    let (to, from) = channel();
    let open = Arc::default();
    (Asking { to, open: Arc::clone(&open) }, Asked { from, open })
}

impl Asking {
    /// Asks for the baseline of a process, which is told to the attributing thread.
    pub(super) fn ask(&self, key: ProcessKey) {
        self.open.fetch_add(1, Ordering::Relaxed);
        // Without attached processes nobody listens.
        let _ = self.to.send(key);
    }

    /// Waits until all that was asked for has been read, but not for ever: what a process writes before that is its own
    /// already, and no longer in its baseline.
    pub(super) fn wait(&self) {
        let began = Instant::now();
        while self.open.load(Ordering::Relaxed) > 0 && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Baselines {
    pub(super) fn start(asked: Asked, to: Onward) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("baselines".to_owned()).spawn(move || {
            for key in asked.from {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                match Baseline::of(key.pid) {
                    Ok(baseline) if to.send(Message::Had(key, baseline)).is_err() => break,
                    Ok(_) => {}
                    Err(error) => log::debug!("baseline of {}: {error}", key.pid),
                }
                asked.open.fetch_sub(1, Ordering::Relaxed);
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
