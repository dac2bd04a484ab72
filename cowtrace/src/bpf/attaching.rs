//! Which processes that were there before the kernel program follows.

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError},
};
use cowtrace_ebpf::state::{ATTACHING, Attaching, FOLLOW, Follow};

use super::{
    BpfError,
    control::map,
    pod::{AttachingPod, FollowPod},
};

/// `BPF_NOEXIST` and `BPF_EXIST` of `bpf_map_update_elem`.
const NEW: u64 = 1;
const THERE: u64 = 2;

/// The table of every living process of a tree that was there before, and what else belongs to the tree.
pub struct Following {
    follow: HashMap<MapData, u32, FollowPod>,
    attaching: Array<MapData, AttachingPod>,
}

/// Who was first to give a process its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Userspace: the key that it gave holds.
    Ours,
    /// The kernel program, which tells of the process by itself.
    Kernels,
    /// Nobody: the table is full.
    Full,
}

impl Following {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, BpfError> {
        Ok(Self { follow: map(ebpf, FOLLOW)?, attaching: map(ebpf, ATTACHING)? })
    }

    /// Says which processes the kernel program takes in by itself: those below processes of the tree; those in the cgroup
    /// with this id, 0 = none.
    ///
    /// # Errors
    /// The map refuses the entry.
    pub fn take_in(&mut self, kin: bool, cgroup: u64) -> Result<(), BpfError> {
        let attaching = Attaching { kin: kin.into(), cgroup };
        self.attaching
            .set(0, AttachingPod(attaching), 0)
            .map_err(|source| BpfError::Map { name: ATTACHING, source })
    }

    /// Gives a process its key, unless it has one. Its forks count from here on, its faults with [`Following::arm`].
    ///
    /// # Errors
    /// The map refuses the entry for another reason than that it is full.
    pub fn claim(&mut self, follow: Follow) -> Result<Claim, BpfError> {
        let pid = follow.key.pid;
        match self.follow.insert(pid, FollowPod(Follow { armed: 0, ..follow }), NEW) {
            Ok(()) => Ok(Claim::Ours),
            Err(_) if self.get(pid).is_some() => Ok(Claim::Kernels),
            Err(MapError::SyscallError(error))
                if matches!(error.io_error.raw_os_error(), Some(libc::E2BIG | libc::EEXIST)) =>
            {
                // With EEXIST the entry was there, and its process has ended since.
                let full = error.io_error.raw_os_error() == Some(libc::E2BIG);
                Ok(if full { Claim::Full } else { Claim::Kernels })
            }
            Err(source) => Err(BpfError::Map { name: FOLLOW, source }),
        }
    }

    /// Lets the faults of a claimed process count, if it has not ended.
    pub fn arm(&mut self, follow: Follow) {
        let pid = follow.key.pid;
        if self.get(pid).is_some_and(|there| there.key == follow.key) {
            // It fails when the process ends at this moment.
            let _ = self.follow.insert(pid, FollowPod(Follow { armed: 1, ..follow }), THERE);
        }
    }

    /// Takes a claim back.
    pub fn release(&mut self, pid: u32) {
        // It fails when the process has ended.
        let _ = self.follow.remove(&pid);
    }

    /// The entry of a living process; `None` = it is not followed.
    #[must_use]
    pub fn get(&self, pid: u32) -> Option<Follow> {
        self.follow.get(&pid, 0).ok().map(|pod| pod.0)
    }

    /// Whether a process that is followed is alive.
    #[must_use]
    pub fn any(&self) -> bool {
        self.follow.keys().next().is_some()
    }
}
