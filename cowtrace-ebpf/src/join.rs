//! Processes that were there before: they enter the tables at the first fault, fork, exec or exit of each of their threads,
//! on whichever CPU that is, so that no thread is met twice and none between two looks.

use aya_ebpf::bindings::BPF_NOEXIST;
use bytemuck::Zeroable;
use cowtrace_ebpf::{
    config::ATTACH,
    drops::DropReason,
    event::{Join, kind},
    state::{Follow, JOINED, Process, ProcessKey, Thread},
};

use crate::{
    emit::{self, Wake},
    maps::{self, config},
    read,
    tree::{self, Task},
};

/// Generations that are looked up for a parent that is followed.
const ABOVE: u32 = 16;

/// Which processes may join.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Those whose faults count.
    Armed,
    /// Those that userspace has put into the table, whether it is ready for them or not.
    Claimed,
    /// Also those that the kernel program takes in by itself.
    Kin,
}

/// The slot of the current thread, which has none yet; `None` = it is none of the tree.
#[inline(always)]
pub(crate) fn current(wanted: Wanted) -> Option<&'static mut Thread> {
    if config!(flags) & ATTACH == 0 {
        return None;
    }
    let pid = read::current_pid();
    let follow = match maps::follow(pid) {
        Some(follow) if wanted == Wanted::Armed && follow.armed == 0 => return None,
        Some(follow) => follow,
        None if wanted == Wanted::Kin => kin(pid)?,
        None => return None,
    };
    if maps::process(&follow.key).is_none() {
        new_process(&follow)?;
    }
    new_thread(&follow.key)
}

/// Another thread of the process may do the same at this moment: one of them is first.
#[inline(always)]
fn new_process(follow: &Follow) -> Option<()> {
    let entry = maps::new_process()?;
    *entry = Process::zeroed();
    entry.parent = follow.parent;
    entry.image = follow.image;
    entry.generation = follow.generation;
    entry.threads = 1;
    entry.flags = JOINED;
    let entry: &Process = entry;
    if maps::PROCESSES.insert(follow.key, entry, u64::from(BPF_NOEXIST)).is_err()
        && maps::process(&follow.key).is_none()
    {
        emit::dropped(DropReason::ProcessTable);
        return None;
    }
    Some(())
}

#[inline(always)]
fn new_thread(key: &ProcessKey) -> Option<&'static mut Thread> {
    let task = Task(read::current_task());
    let tid = read::current_tid();
    let slot = maps::new_thread()?;
    *slot = Thread::zeroed();
    slot.process = *key;
    slot.fault.process = *key;
    slot.fault.tid = tid;
    slot.start = task.start()?;
    let slot: &Thread = slot;
    if maps::THREADS.insert(tid, slot, 0).is_err() {
        emit::dropped(DropReason::ThreadTable);
        return None;
    }
    maps::thread(tid)
}

/// Takes the current process in if it belongs to the tree by its parents or its cgroup.
#[inline(always)]
fn kin(pid: u32) -> Option<Follow> {
    let attaching = maps::attaching();
    if attaching.kin == 0 && attaching.cgroup == 0 || pid == config!(own_pid) {
        return None;
    }
    let is_in_cgroup = attaching.cgroup != 0 && read::current_is_in_cgroup(attaching.cgroup);
    if attaching.kin == 0 && !is_in_cgroup {
        return None;
    }
    let task = Task(read::current_task());
    let above = above(task);
    if above.is_none() && !is_in_cgroup {
        return None;
    }
    let key = task.key()?;
    let mut follow = Follow { key, image: key.start, armed: 1, ..Follow::zeroed() };
    if let Some((parent, generation)) = above {
        follow.parent = parent;
        follow.generation = generation;
    }
    if maps::FOLLOW.insert(pid, follow, u64::from(BPF_NOEXIST)).is_err() {
        let there = maps::follow(pid);
        if there.is_none() {
            emit::dropped(DropReason::ProcessTable);
        }
        return there;
    }
    let mut record = Join {
        header: emit::header(kind::JOIN, size_of::<Join>(), read::now()),
        process: key,
        parent: follow.parent,
        image: follow.image,
        generation: follow.generation,
        ..Join::zeroed()
    };
    read::kernel_into(task.0 + u64::from(config!(task_comm)), &mut record.comm);
    emit::record(&record, size_of::<Join>(), Wake::Yes, DropReason::RingLifecycle);
    Some(follow)
}

/// The nearest process above a task that is followed, and the generation of the task below it.
#[inline(always)]
fn above(task: Task) -> Option<(ProcessKey, u32)> {
    let mut task: Task = Task(task.word(config!(task_group_leader))?);
    let mut steps = 0;
    while steps < ABOVE {
        steps += 1;
        task = Task(task.word(config!(task_real_parent))?);
        let pid = task.pid()?;
        if pid <= 1 {
            return None;
        }
        if let Some(follow) = maps::follow(pid) {
            return Some((follow.key, follow.generation + steps));
        }
    }
    None
}

/// The key of a child that is being forked, which userspace may have seen already: it is visible before the fork is told.
#[inline(always)]
pub(crate) fn forked(key: ProcessKey, process: &Process) -> ProcessKey {
    if config!(flags) & ATTACH == 0 {
        return key;
    }
    let follow = Follow {
        key,
        parent: process.parent,
        image: process.image,
        generation: process.generation,
        armed: 1,
    };
    if maps::FOLLOW.insert(key.pid, follow, u64::from(BPF_NOEXIST)).is_ok() {
        return key;
    }
    match maps::follow(key.pid) {
        Some(there) => there.key,
        None => {
            emit::dropped(DropReason::ProcessTable);
            key
        }
    }
}

/// Whether a thread that exits is the last of its process. `counted` is what the count of its threads says.
#[inline(always)]
pub(crate) fn is_last(process: &Process, task: Task, counted: bool) -> bool {
    if config!(flags) & ATTACH == 0 {
        return counted;
    }
    let last = if process.flags & JOINED == 0 { counted } else { live(task) == 0 };
    // Threads that exit together all see that none is left; one of them finds the entry.
    last && task.pid().is_some_and(|pid| maps::FOLLOW.remove(pid).is_ok())
}

/// Threads of a task's process that have not begun to exit.
#[inline(always)]
pub(crate) fn live(task: Task) -> u32 {
    let signal = task.word::<u64>(config!(task_signal));
    signal.and_then(|signal| tree::field(signal, config!(signal_live))).unwrap_or(2)
}
