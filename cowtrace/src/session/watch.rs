//! Somebody who looks at a session while it runs, and may end it.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use tokio::sync::Notify;

use crate::process::command::Streams;
use crate::record::sink::Shared;

/// Somebody who looks at a session while it runs.
pub struct Watch {
    /// Is told every piece of the trace.
    pub listener: Shared,
    /// Is told when the probes are attached and the command runs; if it is dropped before, there is nothing to look at.
    pub begun: Sender<()>,
    /// To be notified to end the trace; the command goes on.
    pub quit: Arc<Notify>,
    /// What the command gets for its streams, so that it does not write over what is looked at.
    pub streams: Streams,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("streams", &self.streams).finish_non_exhaustive()
    }
}

impl Watch {
    /// The session begins.
    pub(super) fn begin(&self) {
        // Nobody may be there any more; the session goes on.
        let _ = self.begun.send(());
    }
}

/// Waits until who watches has seen enough.
pub(super) async fn seen(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.quit.notified().await,
        None => std::future::pending().await,
    }
}
