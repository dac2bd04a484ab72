//! Attaching: every process of a running tree is followed, none twice, and none is stopped for it.
//!
//! The probes are there first. From then on the kernel program takes in whoever forks and has a parent, grandparent, … in
//! the tree, while this looks through `/proc` until a whole look finds nobody new. Both write into one table, where
//! the first to come gives a process its key ([`cowtrace_ebpf::state::FOLLOW`]).

use std::collections::HashMap;

use cowtrace_ebpf::state::{Follow, ProcessKey};

use super::baselines::{Asked, Asking, Baselines};
use super::pipeline::{Order, Pipeline};
use super::target::Existing;
use super::{monotonic, other};
use crate::bpf::{Claim, Following};
use crate::diag::{Failure, Notice};
use crate::process::existing::{self, Arrival, Brief, ImageIdentity};

/// Looks through `/proc` until it is given up to find nobody new: each takes in whoever was forked before the one before.
const MOST_LOOKS: u32 = 64;

/// The processes that were there before, and what else belongs to the tree.
pub(super) struct Attached {
    existing: Existing,
    following: Following,
    /// What runs in them, with the number that it has in the trace.
    images: HashMap<ImageIdentity, u64>,
    /// Number of the next image: below every time of the trace, so that none is that of an exec.
    next_image: u64,
    /// Id of the control group that the kernel program knows; 0 = none.
    cgroup: u64,
    asking: Asking,
    baselines: Baselines,
    /// Processes that there was no room for.
    without_room: u64,
}

impl Attached {
    /// Begins, with the probes attached and nobody followed.
    pub(super) fn start(
        existing: Existing,
        following: Following,
        (asking, asked): (Asking, Asked),
        pipeline: &Pipeline,
    ) -> Result<Self, Failure> {
        let baselines = Baselines::start(asked, pipeline.sender()).map_err(other("cannot start a thread"))?;
        Ok(Self {
            existing,
            following,
            images: HashMap::new(),
            next_image: monotonic(),
            cgroup: 0,
            asking,
            baselines,
            without_room: 0,
        })
    }

    /// Follows every process of the tree; returns how many were found. The kernel program takes in by itself those that are
    /// forked meanwhile.
    pub(super) fn follow(&mut self, pipeline: &Pipeline) -> Result<u64, Failure> {
        self.cgroup = self.existing.cgroup.as_ref().and_then(|cgroup| cgroup.id()).unwrap_or(0);
        self.following.take_in(true, self.cgroup)?;
        let mut followed = 0;
        for _ in 0..MOST_LOOKS {
            match self.look(pipeline)? {
                0 => break,
                new => followed += new,
            }
        }
        self.following.take_in(false, self.cgroup)?;
        // Only then is it said that the trace has begun.
        self.asking.wait();
        Ok(followed)
    }

    /// Takes in processes that were moved into the control group, also of one that was made anew.
    pub(super) fn refresh(&mut self, pipeline: &Pipeline) -> Result<(), Failure> {
        let Some(cgroup) = &self.existing.cgroup else { return Ok(()) };
        let id = cgroup.id().unwrap_or(0);
        if id != self.cgroup {
            self.cgroup = id;
            self.following.take_in(false, id)?;
        }
        let is_new = |pid: &u32| self.following.get(*pid).is_none();
        if cgroup.processes().iter().any(is_new) {
            self.look(pipeline)?;
        }
        Ok(())
    }

    /// Whether the trace is over because nobody is left. A control group may get new processes at any time.
    pub(super) fn is_over(&self) -> bool {
        self.existing.cgroup.is_none() && !self.following.any()
    }

    /// Ends what goes on beside the trace; returns how many processes there was no room for. To be called when the ring's
    /// reader has ended.
    pub(super) fn end(self) -> u64 {
        drop(self.asking);
        self.baselines.end();
        self.without_room
    }

    /// Looks through `/proc` once; returns how many processes are followed that were not before.
    fn look(&mut self, pipeline: &Pipeline) -> Result<u64, Failure> {
        let mut found: Vec<(Follow, Arrival)> = Vec::new();
        let mut places: HashMap<u32, usize> = HashMap::new();
        for brief in self.existing.look()? {
            if self.following.get(brief.pid).is_some() {
                continue;
            }
            let above = match places.get(&brief.parent) {
                Some(&place) => found.get(place).map(|(follow, _)| *follow),
                None => self.following.get(brief.parent),
            };
            if let Some(claimed) = self.claim(&brief, above, pipeline)? {
                places.insert(brief.pid, found.len());
                found.push(claimed);
            }
        }
        if found.is_empty() {
            return Ok(0);
        }
        let (follows, found): (Vec<Follow>, Vec<Arrival>) = found.into_iter().unzip();
        pipeline.order(Order::Attach(found)).map_err(other("cannot attach"))?;
        for follow in &follows {
            self.following.arm(*follow);
            self.asking.ask(follow.key);
        }
        Ok(follows.len() as u64)
    }

    /// Gives a process its key; `None` = it has one, has ended, or there is no room.
    fn claim(
        &mut self,
        brief: &Brief,
        above: Option<Follow>,
        pipeline: &Pipeline,
    ) -> Result<Option<(Follow, Arrival)>, Failure> {
        let image = self.image(brief.pid, pipeline)?;
        let follow = Follow {
            key: brief.key(),
            parent: above.map_or_else(ProcessKey::default, |above| above.key),
            image,
            generation: above.map_or(0, |above| above.generation + 1),
            armed: 0,
        };
        match self.following.claim(follow)? {
            Claim::Ours => {}
            Claim::Kernels => return Ok(None),
            Claim::Full => {
                self.without_room += 1;
                return Ok(None);
            }
        }
        // It may have ended before it was claimed, so that its exit was not seen, and its number be another's. The kernel tells of
        // an exit before it is done with it: a process that was forked just now would be there twice.
        let has_ended = |now: &Brief| (now.zombie || now.exiting) && now.threads <= 1;
        let now = Brief::of(brief.pid).filter(|now| !has_ended(now));
        if now.is_none_or(|now| now.ticks != brief.ticks) {
            self.following.release(brief.pid);
            return Ok(None);
        }
        let existing::Description { comm, exe, command, container } = existing::describe(brief.pid);
        let found = Arrival {
            key: follow.key,
            parent: follow.parent,
            parent_pid: brief.parent,
            generation: follow.generation,
            image,
            comm,
            exe,
            command,
            container,
        };
        Ok(Some((follow, found)))
    }

    /// The number of what a process runs; it is looked at when it is new, so that its frames are seen from the first fault on.
    fn image(&mut self, pid: u32, pipeline: &Pipeline) -> Result<u64, Failure> {
        let identity = ImageIdentity::of(pid);
        if let Some(&image) = identity.as_ref().and_then(|identity| self.images.get(identity)) {
            return Ok(image);
        }
        self.next_image -= 1;
        let image = self.next_image;
        if let Some(identity) = identity {
            self.images.insert(identity, image);
        }
        pipeline.order(Order::Image(image, pid)).map_err(other("cannot attach"))?;
        Ok(image)
    }

    /// What is said when the trace begins.
    pub(super) fn begun(&self, followed: u64) -> Notice {
        let named = self.existing.pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let processes = if followed == 1 { "1 process".to_owned() } else { format!("{followed} processes") };
        let what = match &self.existing.cgroup {
            Some(cgroup) if named.is_empty() => format!("{processes} of control group {}", cgroup.name),
            Some(cgroup) => format!("{processes} of {named} and control group {}", cgroup.name),
            None if followed == 1 => format!("process {named}"),
            None => format!("{processes}: {named} and what was forked from there"),
        };
        Notice::Attached { what }
    }
}
