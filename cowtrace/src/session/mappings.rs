//! The kernel's news of mappings, in a session.

use cowtrace_ebpf::state::ProcessKey;

use super::monotonic;
use crate::process::mmap_log::{MmapEvents, MmapLog};

/// Where news of mappings come from, and where they are kept.
pub(super) struct Mappings {
    /// `None` = the kernel does not tell.
    events: Option<MmapEvents>,
    pub(super) log: MmapLog,
}

impl Mappings {
    /// Begins to listen; what is not seen without is said.
    pub(super) fn listen(root: Option<ProcessKey>, missing: &mut Vec<String>) -> Self {
        let log = MmapLog::default();
        if let Some(root) = root {
            log.follow(root.pid);
        }
        let events = MmapEvents::listen(log.clone()).map_err(|error| {
            missing.push(format!("What short-lived processes had mapped is not seen: {error}."));
        });
        Self { events: events.ok(), log }
    }

    /// Writes down what has come.
    pub(super) fn drain(&mut self) {
        if let Some(events) = &mut self.events {
            events.drain(monotonic());
        }
    }
}
