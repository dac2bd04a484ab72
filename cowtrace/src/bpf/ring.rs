//! The ring buffer's user side: bytes out, nothing interpreted.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Records taken out in one go, so that a flood does not keep the reader from everything else.
const BATCH: usize = 4096;

/// The ring buffer.
pub struct Ring {
    ring: RingBuf<MapData>,
}

impl Ring {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring }
    }

    /// Waits until a record that wants to be seen at once is there, or the time is over.
    ///
    /// # Errors
    /// Those of `poll`.
    pub fn wait(&self, timeout: Duration) -> io::Result<()> {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Hands up to a batch of records to `take`; returns how many there were.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < BATCH {
            let Some(record) = self.ring.next() else { break };
            take(&record);
            count += 1;
        }
        count
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("fd", &self.ring.as_raw_fd()).finish()
    }
}
