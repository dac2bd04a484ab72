//! The ring buffer's user side: bytes out, nothing interpreted.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
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

    /// Waits until a record that wants to be seen at once has come since the last wait, or the time is over.
    ///
    /// # Errors
    /// Those of `ppoll` and `epoll_wait`.
    pub fn wait(&self, timeout: Duration) -> io::Result<()> {
        // `epoll_wait` counts in milliseconds, and a small ring fills in less.
        let mut woken = [PollFd::new(self.woken.0.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut woken, Some(timeout.into()), None) {
            Ok(0) | Err(Errno::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        // What has woken it is taken, so that the next wait is for the next record.
        match self.woken.wait(&mut [EpollEvent::empty()], EpollTimeout::ZERO) {
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
