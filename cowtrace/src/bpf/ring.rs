//! The ring buffer's user side: bytes out, nothing interpreted.

use std::io;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// The ring buffer.
pub struct Ring {
    ring: RingBuf<MapData>,
    /// Says when the kernel half woke somebody, and not, as the ring itself does, whenever something is in it.
    woken: Epoll,
}

impl Ring {
    /// Records taken out in one go, so that a flood does not keep the reader from everything else.
    pub const BATCH: usize = 4096;

    pub(super) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        let woken = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        woken.add(&ring, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0))?;
        Ok(Self { ring, woken })
    }

    /// Waits until a record that wants to be seen at once has come since the last wait, or the time is over; `timeout` counts
    /// in whole milliseconds.
    ///
    /// # Errors
    /// Those of `epoll_wait`.
    pub fn wait(&self, timeout: Duration) -> io::Result<()> {
        let timeout = EpollTimeout::try_from(timeout).unwrap_or(EpollTimeout::MAX);
        match self.woken.wait(&mut [EpollEvent::empty()], timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Hands up to a batch of records to `take`; returns how many there were.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < Self::BATCH {
            let Some(record) = self.ring.next() else { break };
            take(&record);
            count += 1;
        }
        count
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("fd", &self.ring.as_raw_fd()).finish()
    }
}
