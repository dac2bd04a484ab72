//! The most memory that a process has ever had.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::unistd::Pid;

/// Follows a process's high-water mark of memory (`VmHWM`) until it is asked.
#[derive(Debug)]
pub struct Peak {
    asked: Arc<AtomicBool>,
    watcher: JoinHandle<u64>,
}

impl Peak {
    /// Of this process, from now on.
    #[must_use]
    pub fn watch(pid: Pid) -> Self {
        let asked = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&asked);
        let watcher = thread::spawn(move || {
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let kilobytes =
                    line.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
                most = most.max(kilobytes.unwrap_or(0) << 10);
                thread::sleep(Duration::from_millis(5));
            }
            most
        });
        Self { asked, watcher }
    }

    /// Bytes, as last seen; the process may have ended.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.asked.store(true, Ordering::Relaxed);
        self.watcher.join().expect("it only reads")
    }
}
