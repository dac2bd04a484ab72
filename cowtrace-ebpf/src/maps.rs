//! Every map and global of the kernel program. Sizes are upper bounds; userspace may set others before loading.
#![expect(unsafe_code, reason = "map values are reached through pointers that the kernel hands out")]

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use cowtrace_ebpf::{
    config::Config,
    drops::DROP_REASONS,
    event::{Code, Exec, Fork, Stack, Text, Type},
    native::{StackCopy, Template},
    outcome::OUTCOMES,
    page::PageSize,
    plan::{FRAME_WORDS, IDENTITY_WORDS, MAX_PLANS, Plan, STATE_WORDS},
    state::{Assignment, Attaching, Follow, Process, ProcessKey, Session, Thread, Totals},
};

/// Offsets and switches; read-only for the kernel, so that the verifier knows the values.
#[unsafe(no_mangle)]
pub(crate) static CONFIG: Config = Config {
    flags: 0,
    task_pid: 0,
    task_tgid: 0,
    task_start_time: 0,
    task_mm: 0,
    task_group_leader: 0,
    task_stack: 0,
    task_thread_pointer: 0,
    task_comm: 0,
    task_exit_code: 0,
    task_pagefault_disabled: 0,
    task_counters: 0,
    task_real_parent: 0,
    task_signal: 0,
    signal_live: 0,
    mm_arg_start: 0,
    mm_arg_end: 0,
    mm_start_brk: 0,
    mm_start_stack: 0,
    mm_anon: 0,
    mm_swap: 0,
    memory_owner: 0,
    area_memory: 0,
    bprm_filename: 0,
    gfp_zero: 0,
    gfp_movable: 0,
    gfp_highmem: 0,
    gfp_direct_reclaim: 0,
    gfp_never: 0,
    allocated_frame: 0,
    allocated_order: 0,
    allocated_flags: 0,
    freed_frame: 0,
    executed_name: 0,
    executed_old: 0,
    page_shift: 0,
    registers_interrupted: 0,
    interrupted_call: 0,
    interrupted_ip: 0,
    interrupted_sp: 0,
    registers_arguments: 0,
    arguments_reversed: 0,
    registers_returned: 0,
    own_pid: 0,
};

/// One field of [`CONFIG`].
macro_rules! config {
    ($field:ident) => {
        crate::maps::setting(&crate::maps::CONFIG.$field)
    };
}
pub(crate) use config;

/// The machine's pages.
#[inline(always)]
pub(crate) fn pages() -> PageSize {
    PageSize::of_shift(config!(page_shift))
}

/// The value of a field of [`CONFIG`] as it was set before loading.
#[inline(always)]
pub(crate) fn setting(field: &u32) -> u32 {
    // SAFETY: a reference to a plain integer; volatile, since its bytes are replaced after compilation.
    unsafe { core::ptr::read_volatile(field) }
}

#[map]
pub(crate) static RING: RingBuf = RingBuf::with_byte_size(64 << 20, 0);
#[map]
pub(crate) static THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(16384, 0);
#[map]
pub(crate) static PROCESSES: HashMap<ProcessKey, Process> = HashMap::with_max_entries(32768, 0);
#[map]
pub(crate) static FOLLOW: HashMap<u32, Follow> = HashMap::with_max_entries(32768, 0);
#[map]
pub(crate) static ATTACHING: Array<Attaching> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static PLANS: Array<Plan> = Array::with_max_entries(MAX_PLANS, 0);
#[map]
pub(crate) static SESSION: Array<Session> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static ASSIGNMENTS: LruHashMap<u64, Assignment> = LruHashMap::with_max_entries(4096, 0);
#[map]
pub(crate) static ASSIGNED: Array<u64> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static DROPS: PerCpuArray<u64> = PerCpuArray::with_max_entries(DROP_REASONS as u32, 0);

/// Stacks, code objects and types that were sent already; the oldest make room and are sent again.
#[map]
pub(crate) static SEEN: LruHashMap<u64, u64> = LruHashMap::with_max_entries(131_072, 0);
/// Native stacks that userspace has unwound; the oldest make room and are unwound again.
#[map]
pub(crate) static TEMPLATES: LruHashMap<u64, Template> = LruHashMap::with_max_entries(8192, 0);
/// Code object of the plan's `argument_function` in each image, once met.
#[map]
pub(crate) static ARGUMENT_CODE: LruHashMap<u64, u64> = LruHashMap::with_max_entries(4096, 0);
/// Pages that some thread of a process made private just now: when, and in which epoch.
#[map]
pub(crate) static PRIVATE: LruHashMap<PrivatePage, Made> = LruHashMap::with_max_entries(16384, 0);

/// Key of [`PRIVATE`].
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct PrivatePage {
    pub(crate) start: u64,
    pub(crate) page: u64,
}

/// Value of [`PRIVATE`].
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Made {
    pub(crate) time: u64,
    pub(crate) epoch: u64,
}

/// Buffers too large for the stack: one of each per CPU, used by one program at a time.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) frame: [u64; FRAME_WORDS],
    pub(crate) words: [u64; IDENTITY_WORDS],
    pub(crate) stack: Stack,
    /// Next frame of the walk under way.
    pub(crate) next: u64,
    /// Where the frames end, if they lie one behind the other.
    pub(crate) limit: u64,
    /// [`Process::argument_code`] of the process that is walked.
    pub(crate) argument_code: u64,
    /// [`Process::image`] of the process that is walked.
    pub(crate) image: u64,
    /// Index of the plan to walk by.
    pub(crate) plan: u32,
    /// The beginning of the thread's state in the interpreter.
    pub(crate) state: [u64; STATE_WORDS],
    /// Address and bytes of what the window has of interpreter frames.
    pub(crate) window_start: u64,
    pub(crate) window_len: u64,
    /// Frames of an interpreter, or the words of a native stack that templates compare, if they lie near enough.
    pub(crate) window: [u64; WINDOW],
}

/// 8-byte words of [`Scratch::window`], a power of two.
pub(crate) const WINDOW: usize = 512;

/// What limits the copies of stacks on one CPU.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Bucket {
    /// Copies that may still be made.
    pub(crate) tokens: u64,
    /// When tokens were last added.
    pub(crate) filled: u64,
    /// Copies made.
    pub(crate) copies: u64,
}

#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static STACK_COPY: PerCpuArray<StackCopy> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static BUCKET: PerCpuArray<Bucket> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static CODE: PerCpuArray<Code> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static TEXT: PerCpuArray<Text> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static TYPE: PerCpuArray<Type> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static FORK: PerCpuArray<Fork> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static EXEC: PerCpuArray<Exec> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static NEW_THREAD: PerCpuArray<Thread> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static NEW_PROCESS: PerCpuArray<Process> = PerCpuArray::with_max_entries(1, 0);

const _: () =
    assert!(BPF_F_NO_PREALLOC != 0, "tables are preallocated: nothing is allocated inside an allocation");

/// A value of a map, for the program that runs now.
macro_rules! value {
    ($pointer:expr) => {
        match $pointer {
            // SAFETY: the kernel checked the pointer; entries of preallocated maps stay mapped, and every entry has one
            // writer: the thread it belongs to, or the CPU.
            Some(pointer) => Some(unsafe { &mut *pointer }),
            None => None,
        }
    };
}

/// The slot of a thread.
#[inline(always)]
pub(crate) fn thread(tid: u32) -> Option<&'static mut Thread> {
    value!(THREADS.get_ptr_mut(tid))
}

/// The entry of a process.
#[inline(always)]
pub(crate) fn process(key: &ProcessKey) -> Option<&'static mut Process> {
    value!(PROCESSES.get_ptr_mut(key))
}

/// The session's state.
#[inline(always)]
pub(crate) fn session() -> Option<&'static mut Session> {
    value!(SESSION.get_ptr_mut(0))
}

/// The entry of a process that was there before, or came from one that was.
#[inline(always)]
pub(crate) fn follow(pid: u32) -> Option<Follow> {
    FOLLOW.get_ptr(pid).and_then(copied)
}

/// Which processes are to be taken in.
#[inline(always)]
pub(crate) fn attaching() -> Attaching {
    ATTACHING.get(0).copied().unwrap_or(Attaching { kin: 0, cgroup: 0 })
}

/// How many assignments userspace has made.
#[inline(always)]
pub(crate) fn assigned() -> u64 {
    ASSIGNED.get(0).copied().unwrap_or(0)
}

/// A plan.
#[inline(always)]
pub(crate) fn plan(index: u32) -> Option<&'static Plan> {
    PLANS.get(index)
}

/// This CPU's buffers for a walk.
#[inline(always)]
pub(crate) fn scratch() -> Option<&'static mut Scratch> {
    value!(SCRATCH.get_ptr_mut(0))
}

/// A native stack that userspace has unwound.
#[inline(always)]
pub(crate) fn template(key: u64) -> Option<&'static mut Template> {
    value!(TEMPLATES.get_ptr_mut(key))
}

/// This CPU's buffer for the copy of a stack.
#[inline(always)]
pub(crate) fn stack_copy() -> Option<&'static mut StackCopy> {
    value!(STACK_COPY.get_ptr_mut(0))
}

/// What limits the copies of stacks on this CPU.
#[inline(always)]
pub(crate) fn bucket() -> Option<&'static mut Bucket> {
    value!(BUCKET.get_ptr_mut(0))
}

/// This CPU's buffer for a code object.
#[inline(always)]
pub(crate) fn code_scratch() -> Option<&'static mut Code> {
    value!(CODE.get_ptr_mut(0))
}

/// This CPU's buffer for a text.
#[inline(always)]
pub(crate) fn text_scratch() -> Option<&'static mut Text> {
    value!(TEXT.get_ptr_mut(0))
}

/// This CPU's buffer for a type.
#[inline(always)]
pub(crate) fn type_scratch() -> Option<&'static mut Type> {
    value!(TYPE.get_ptr_mut(0))
}

/// This CPU's buffer for a fork.
#[inline(always)]
pub(crate) fn fork_scratch() -> Option<&'static mut Fork> {
    value!(FORK.get_ptr_mut(0))
}

/// This CPU's buffer for an exec.
#[inline(always)]
pub(crate) fn exec_scratch() -> Option<&'static mut Exec> {
    value!(EXEC.get_ptr_mut(0))
}

/// This CPU's buffer for a new thread's slot.
#[inline(always)]
pub(crate) fn new_thread() -> Option<&'static mut Thread> {
    value!(NEW_THREAD.get_ptr_mut(0))
}

/// This CPU's buffer for a new process's entry.
#[inline(always)]
pub(crate) fn new_process() -> Option<&'static mut Process> {
    value!(NEW_PROCESS.get_ptr_mut(0))
}

/// This CPU's counter of one kind of drop.
#[inline(always)]
pub(crate) fn drops(reason: u32) -> Option<&'static mut u64> {
    value!(DROPS.get_ptr_mut(reason))
}

/// The value behind a pointer that a lookup returned.
#[inline(always)]
pub(crate) fn copied<T: Copy>(pointer: *const T) -> Option<T> {
    // SAFETY: the kernel checked the pointer; a value that is replaced meanwhile is plain data all the same.
    (!pointer.is_null()).then(|| unsafe { core::ptr::read_volatile(pointer) })
}

/// Adds totals; several threads of a process may do so at once.
#[inline(always)]
pub(crate) fn add(to: &mut Totals, from: &Totals) {
    let mut outcome = 0;
    while outcome < OUTCOMES {
        add_one(&mut to.faults[outcome], from.faults[outcome]);
        add_one(&mut to.unlisted[outcome], from.unlisted[outcome]);
        add_one(&mut to.lost[outcome], from.lost[outcome]);
        outcome += 1;
    }
    add_one(&mut to.copied_bytes, from.copied_bytes);
    add_one(&mut to.file_copied_bytes, from.file_copied_bytes);
    add_one(&mut to.probe_ns, from.probe_ns);
}

#[inline(always)]
fn add_one(to: &mut u64, value: u64) {
    if value != 0 {
        add_shared(to, value);
    }
}

/// Adds to a counter that several CPUs change.
#[inline(always)]
pub(crate) fn add_shared(to: &mut u64, value: u64) {
    // SAFETY: one atomic addition to an aligned integer inside a map value. Rust's own atomics cannot add on this
    // target, which has no compare-and-exchange in its base instruction set.
    unsafe {
        core::arch::asm!("lock *(u64 *)({to} + 0) += {value}", to = in(reg) to, value = in(reg) value);
    }
}

/// The same number, of which the compiler knows nothing any more, so that it checks and uses the same register. Linux 6.1
/// does not carry what a check tells about a register over to its copies that were put on the stack before.
#[inline(always)]
#[expect(
    unsafe_code,
    reason = "only an instruction that the compiler does not look into hides a value from it"
)]
pub(crate) fn opaque(number: usize) -> usize {
    let mut number = number;
    // SAFETY: the instruction copies a register to itself.
    unsafe {
        core::arch::asm!("{number} = {number}", number = inout(reg) number, options(pure, nomem, nostack));
    }
    number
}
