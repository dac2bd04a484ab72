//! Threads and processes of the tree. A child enters the tables in its parent's fork, before it can run, so that no
//! fault of it is missed.

use aya_log_ebpf::debug;
use bytemuck::Zeroable;
use cowtrace_ebpf::{
    config::ABSENT,
    drops::DropReason,
    event::{Exec, Exit, Fork, Hint, exit_flag, fork_flag, kind},
    state::{ENDED, JOINED, LOOKED, ModuleTable, NO_HINTS, Process, ProcessKey, SHARES_MEMORY, Thread},
};

use crate::{
    emit::{self, Wake},
    fault,
    join::{self, Wanted},
    maps::{self, config},
    read, walk,
};

/// A `task_struct`.
#[derive(Clone, Copy)]
pub(crate) struct Task(pub(crate) u64);

impl Task {
    #[inline(always)]
    pub(crate) fn word<T: Copy>(self, offset: u32) -> Option<T> {
        field(self.0, offset)
    }

    #[inline(always)]
    pub(crate) fn tid(self) -> Option<u32> {
        self.word(config!(task_pid))
    }

    #[inline(always)]
    pub(crate) fn pid(self) -> Option<u32> {
        self.word(config!(task_tgid))
    }

    #[inline(always)]
    pub(crate) fn start(self) -> Option<u64> {
        self.word(config!(task_start_time))
    }

    #[inline(always)]
    pub(crate) fn memory(self) -> Option<u64> {
        self.word(config!(task_mm))
    }

    #[inline(always)]
    pub(crate) fn key(self) -> Option<ProcessKey> {
        let leader = Task(self.word(config!(task_group_leader))?);
        Some(ProcessKey { start: leader.start()?, pid: self.pid()?, zero: 0 })
    }
}

/// A field of a kernel structure; `None` also if this kernel does not have it.
#[inline(always)]
pub(crate) fn field<T: Copy>(structure: u64, offset: u32) -> Option<T> {
    if offset == ABSENT { None } else { read::kernel(structure + u64::from(offset)) }
}

/// The parent (the current thread) has made a child that does not run yet.
#[inline(always)]
pub(crate) fn forked<C: aya_ebpf::EbpfContext>(context: &C, parent: Task, child: Task) -> Option<()> {
    let thread = maps::thread(parent.tid()?).or_else(|| join::current(Wanted::Kin))?;
    fault::finish(thread);
    thread.plain = 0;
    let time = read::now();
    let record = maps::fork_scratch()?;
    *record = Fork::zeroed();
    record.header = emit::header(kind::FORK, size_of::<Fork>(), time);
    record.parent = thread.process;
    record.parent_tid = parent.tid()?;
    record.child_tid = child.tid()?;
    read::kernel_into(child.0 + u64::from(config!(task_comm)), &mut record.comm);
    if child.pid()? == thread.process.pid {
        record.child = thread.process;
        record.flags = fork_flag::THREAD;
        let process = maps::process(&thread.process)?;
        maps::add_shared(&mut process.threads, 1);
        record.generation = process.generation;
        record.image = process.image;
    } else {
        new_process(thread, record, parent, child)?;
        debug!(context, "fork {} -> {}", record.parent.pid, record.child.pid);
    }
    new_thread(record, thread, child)?;
    emit::record(record, size_of::<Fork>(), Wake::Yes, DropReason::RingLifecycle);
    Some(())
}

#[inline(always)]
fn new_process(thread: &mut Thread, record: &mut Fork, parent: Task, child: Task) -> Option<()> {
    let forking = maps::process(&thread.process)?;
    adopt(forking);
    let entry = maps::new_process()?;
    *entry = *forking;
    entry.totals = Zeroable::zeroed();
    entry.parent = thread.process;
    entry.threads = 1;
    entry.generation += 1;
    entry.flags = forking.flags & NO_HINTS;
    record.generation = entry.generation;
    record.image = entry.image;
    let key = join::forked(child.key()?, entry);
    record.child = key;
    if parent.memory()? == child.memory()? {
        record.flags = fork_flag::SHARES_MEMORY;
        entry.flags |= SHARES_MEMORY;
    } else {
        record.inherited_pages = private_pages(child);
        forking.epoch += 1;
        forking.flags |= LOOKED;
        record.stack = walk::forking_stack();
        entry.epoch = forking.epoch;
        entry.modules = forking.modules;
        record.modules = forking.modules;
    }
    if let Some(session) = maps::session() {
        session.forked = 1;
    }
    let entry: &Process = entry;
    if maps::PROCESSES.insert(key, entry, 0).is_err() {
        emit::dropped(DropReason::ProcessTable);
        return None;
    }
    Some(())
}

#[inline(always)]
fn new_thread(record: &Fork, forking: &Thread, child: Task) -> Option<()> {
    let slot = maps::new_thread()?;
    *slot = Zeroable::zeroed();
    slot.process = record.child;
    slot.fault.process = record.child;
    slot.fault.tid = record.child_tid;
    slot.start = child.start()?;
    if record.flags & fork_flag::THREAD == 0 {
        // The child of a fork goes on in the interpreter state of the thread that forked.
        slot.thread_state = forking.thread_state;
    }
    let slot: &Thread = slot;
    if maps::THREADS.insert(record.child_tid, slot, 0).is_err() {
        emit::dropped(DropReason::ThreadTable);
    }
    Some(())
}

/// Anonymous pages, resident and swapped out, that a new process has: its counters' shared part. What its creator's
/// CPU has not added yet (`percpu_counter`: fewer than 32 pages, or twice the CPUs, each) is missing.
#[inline(always)]
fn private_pages(child: Task) -> u64 {
    let Some(memory) = child.memory() else { return 0 };
    let mut pages = 0;
    for offset in [config!(mm_anon), config!(mm_swap)] {
        let count = field::<i64>(memory, offset).unwrap_or(0);
        pages += if count > 0 { count as u64 } else { 0 };
    }
    pages
}

/// The current process runs another program; `old` was its thread's id before, `name` is where the kernel has the file's name.
#[inline(always)]
pub(crate) fn executed<C: aya_ebpf::EbpfContext>(
    context: &C,
    task: Task,
    old: u32,
    name: Option<u64>,
) -> Option<()> {
    let tid = task.tid()?;
    // A thread that joins here has its new id already.
    let (slot, old) = match maps::thread(old) {
        Some(slot) => (slot, old),
        None => (join::current(Wanted::Kin)?, tid),
    };
    fault::finish(slot);
    let key = slot.process;
    fault::settle(slot, &key);
    if old != tid {
        take_over(slot, old, tid);
    }
    let slot = maps::thread(tid)?;
    slot.thread_state = 0;
    slot.plain = 0;
    slot.fault.tid = tid;
    slot.start = task.start()?;
    let time = read::now();
    let process = maps::process(&key)?;
    process.image = time;
    process.plan = 0;
    process.runtime = 0;
    process.argument_code = 0;
    process.argument_checked = 0;
    process.modules = ModuleTable::zeroed();
    process.epoch += 1;
    process.flags &= !(SHARES_MEMORY | NO_HINTS | LOOKED);
    if process.flags & JOINED != 0 {
        // The others are gone by now.
        process.flags &= !JOINED;
        process.threads = 1;
    }

    let record = maps::exec_scratch()?;
    record.header = emit::header(kind::EXEC, size_of::<Exec>(), time);
    record.process = key;
    record.heap = 0;
    record.file_len = 0;
    record.arguments_len = 0;
    read::kernel_into(task.0 + u64::from(config!(task_comm)), &mut record.comm);
    if let Some(name) = name {
        record.file_len = read::kernel_string(name, &mut record.file);
    }
    if let Some(memory) = task.memory() {
        record.heap = field::<u64>(memory, config!(mm_start_brk)).unwrap_or(0);
        arguments(memory, record);
    }
    emit::record(record, size_of::<Exec>(), Wake::Yes, DropReason::RingLifecycle);
    debug!(context, "exec {}", key.pid);
    Some(())
}

/// A thread that is not the leader has called exec: it takes over the leader's id.
#[inline(always)]
fn take_over(slot: &mut Thread, old: u32, tid: u32) {
    if let Some(leader) = maps::thread(tid) {
        fault::finish(leader);
        let key = leader.process;
        fault::settle(leader, &key);
    }
    let _ = maps::THREADS.insert(tid, core::convert::identity::<&Thread>(slot), 0);
    let _ = maps::THREADS.remove(old);
}

#[inline(always)]
fn arguments(memory: u64, record: &mut Exec) {
    let start = field::<u64>(memory, config!(mm_arg_start)).unwrap_or(0);
    let end = field::<u64>(memory, config!(mm_arg_end)).unwrap_or(0);
    let len = end.wrapping_sub(start);
    let len = if len > record.arguments.len() as u64 { record.arguments.len() as u32 } else { len as u32 };
    if len != 0 && read::user_into(start, &mut record.arguments, len) {
        record.arguments_len = len;
    }
}

/// Whether the current process has more than one thread.
#[inline(always)]
pub(crate) fn is_threaded(process: &Process) -> bool {
    if process.flags & JOINED == 0 { process.threads > 1 } else { join::live(Task(read::current_task())) > 1 }
}

/// The current thread exits. It may still fault on its way out, so its slot stays until the task is freed.
#[inline(always)]
pub(crate) fn exited<C: aya_ebpf::EbpfContext>(context: &C, task: Task) -> Option<()> {
    let tid = task.tid()?;
    let slot = maps::thread(tid).or_else(|| join::current(Wanted::Claimed))?;
    fault::finish(slot);
    let key = slot.process;
    fault::settle(slot, &key);
    let process = maps::process(&key)?;
    maps::add_shared(&mut process.threads, u64::MAX);
    let last = join::is_last(process, task, process.threads == 0);
    if last {
        process.flags |= ENDED;
    }
    let mut record = Exit {
        header: emit::header(kind::EXIT, size_of::<Exit>(), read::now()),
        process: key,
        tid,
        code: task.word(config!(task_exit_code)).unwrap_or(0),
        flags: if last { exit_flag::LAST } else { 0 },
        ..Exit::zeroed()
    };
    read::kernel_into(task.0 + u64::from(config!(task_comm)), &mut record.comm);
    emit::record(&record, size_of::<Exit>(), Wake::Yes, DropReason::RingLifecycle);
    debug!(context, "exit {}", tid);
    Some(())
}

/// A task is freed, some time after its exit and by whoever comes along.
#[inline(always)]
pub(crate) fn freed(task: Task) -> Option<()> {
    let tid = task.tid()?;
    let slot = maps::thread(tid)?;
    if slot.start != task.start()? {
        return None;
    }
    fault::finish(slot);
    let key = slot.process;
    fault::settle(slot, &key);
    let _ = maps::THREADS.remove(tid);
    Some(())
}

/// Takes over what userspace has found out about the process's image since this was last asked.
#[inline(always)]
pub(crate) fn adopt(process: &mut Process) {
    let assigned = maps::assigned();
    if process.checked == assigned {
        return;
    }
    process.checked = assigned;
    let Some(assignment) = maps::ASSIGNMENTS.get_ptr(process.image).and_then(maps::copied) else { return };
    if assignment.plan == 0 {
        process.flags |= NO_HINTS;
        return;
    }
    process.runtime = assignment.runtime;
    process.type_type = assignment.type_type;
    process.string_type = assignment.string_type;
    process.plan = assignment.plan;
}

/// Faults of a thread between two hints at first, a power of two.
const HINT_EVERY: u64 = 32;
/// After so many faults of a thread the hints become rare: a program that has come so far seldom turns into an interpreter.
const HINT_OFTEN: u64 = 4096;
/// The same for a process that was forked and has run no program of its own: its parent was looked at, when it forked for the
/// last time. Each hint wakes a thread that takes the CPU from the process.
const HINT_OFTEN_FORKED: u64 = 512;

/// Tells userspace now and then that a process without a known interpreter goes on: by now it may have mapped one.
#[inline(always)]
pub(crate) fn hint(begun: u64, time: u64) {
    if !begun.is_multiple_of(HINT_EVERY) || (begun > HINT_OFTEN && begun & (begun - 1) != 0) {
        return;
    }
    let Some(thread) = maps::thread(read::current_tid()) else { return };
    let key = thread.process;
    let Some(process) = maps::process(&key) else { return };
    adopt(process);
    if process.plan != 0 || process.flags & NO_HINTS != 0 {
        return;
    }
    // An image is as old as its exec.
    if process.image < key.start && begun > HINT_OFTEN_FORKED && begun & (begun - 1) != 0 {
        return;
    }
    let record = Hint { header: emit::header(kind::HINT, size_of::<Hint>(), time), process: key };
    emit::record(&record, size_of::<Hint>(), Wake::Yes, DropReason::RingDefinition);
}
