//! A finished trace: everything that reports and exports know. Nothing here is live, needs root, or imports other parts
//! of cowtrace.
//!
//! Times are nanoseconds since [`Header::start`]; sizes are bytes; addresses are the target's. Names of the target are
//! kept as they came (valid UTF-8, lossy); whoever prints them escapes them.

mod read;
mod table;

use std::num::NonZero;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use table::{Id, Table};

/// Version of the JSON Lines schema.
pub const SCHEMA: u32 = 1;

/// A whole trace. `faults` are sorted by time.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// What was traced, and by which means.
    pub header: Header,
    /// Every process of the tree, in the order of their starts.
    pub processes: Vec<Process>,
    /// The listed faults.
    pub faults: Vec<Fault>,
    /// Listed faults before these that were added up instead of kept; empty for a trace that keeps all.
    pub alike: Vec<Alike>,
    /// Regions, by [`Fault::region`].
    pub regions: Table<Region>,
    /// Operations, by [`Fault::operation`].
    pub operations: Table<Operation>,
    /// Writes, by [`Fault::write`].
    pub writes: Table<Write>,
    /// Sites, by [`Fault::site`].
    pub sites: Table<Site>,
    /// Interpreter stacks, innermost frame first, by [`Fault::python`].
    pub python: Table<Vec<PythonFrame>>,
    /// Native stacks, innermost frame first, by [`Fault::native`].
    pub native: Table<Vec<NativeFrame>>,
    /// Garbage collections in which a page was listed, by number: [`Fault::collection`] 1 is the first.
    pub collections: Vec<Collection>,
    /// Where the entries of `sys.modules` lay, for every table that was met at a fork.
    pub module_tables: Vec<ModuleTable>,
    /// Pages that were asked about, in each process that has them.
    pub pages: Vec<Page>,
    /// What was lost: a row for every stage and CPU, also where the count is 0.
    pub losses: Vec<Loss>,
    /// Totals, counted in the kernel.
    pub summary: Summary,
}

/// What was traced, and by which means.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Header {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of cowtrace.
    pub version: String,
    /// The command that was run; with [`Header::attached`] the command line of the first of them.
    pub command: Vec<String>,
    /// Processes that ran already and were named to be traced, with their trees; empty = the command was run, or a cgroup
    /// was followed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attached: Vec<u32>,
    /// The cgroup that was followed, as in `/proc/PID/cgroup`; `None` = none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Wall clock at the start, RFC 3339.
    pub start: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Way of attaching: `base` or `functions`.
    pub rung: String,
    /// Probes that were attached.
    pub probes: Vec<String>,
    /// What could not be attached or seen, each a sentence.
    pub missing: Vec<String>,
    /// Interpreters that were recognised.
    pub interpreters: Vec<Interpreter>,
}

impl Header {
    /// True when processes were traced that ran already: they may have shared memory from the start.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        !self.attached.is_empty() || self.cgroup.is_some()
    }
}

/// An interpreter build that was recognised, or met and not known.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash, Serialize)]
pub struct Interpreter {
    /// `CPython`.
    pub name: String,
    /// Full version, e.g. `3.11.7`.
    pub version: String,
    /// File that holds its runtime.
    pub path: String,
    /// Which layout was used: its row's name; `None` = not supported, its frames are not seen.
    pub layout: Option<String>,
}

/// One process of the tree.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Who forked it; for the command itself cowtrace.
    pub ppid: u32,
    /// Index of the parent in [`Trace::processes`]; `None` for the command itself.
    pub parent: Option<usize>,
    /// 0 for the command itself, +1 for each fork.
    pub generation: u32,
    /// When it was forked; 0 for one that was there before the trace.
    pub start: u64,
    /// When its last thread exited; `None` = it was running when the trace ended.
    pub end: Option<u64>,
    /// When it began to run another program, by exec; 0 = before the trace, after its parent had forked it.
    pub execs: Vec<u64>,
    /// Last name.
    pub comm: String,
    /// File it runs; `None` = not found out.
    pub exe: Option<String>,
    /// Command line of what it runs.
    pub command: Vec<String>,
    /// Private memory at the moment it was forked; 0 for one that began by sharing all of its parent's memory (vfork).
    ///
    /// With [`Process::attached`] a baseline from `/proc/PID/smaps`, read right after the process began to be followed:
    /// the anonymous memory that it still shared with another process then, in memory. That is `Shared_Clean` and
    /// `Shared_Dirty` of every private mapping without a file, and of private mappings of files as much of `Shared_Dirty`
    /// as `Anonymous` allows. What was swapped out is not in it: who shares that is not told. 0 also if it could not be
    /// read: then [`Process::private_bytes`] is `None`.
    pub inherited_bytes: u64,
    /// It was there before the trace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attached: bool,
    /// With `attached`: anonymous memory that was its own when [`Process::inherited_bytes`] was read, in memory or swapped
    /// out. Which writes had made it its own nobody saw. `None` = not read, or it was forked while traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_bytes: Option<u64>,
    /// The container that it was in when the trace, or the process, began: the runtime's id of it (64 hexadecimal digits for
    /// Docker, Podman, containerd and CRI-O), or the name that LXC or systemd-nspawn gave it; by its cgroup. `None` = none
    /// that its cgroup names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Exit status, 128+n for a signal; `None` = not ended.
    pub exit_status: Option<i32>,
    /// Totals of this process.
    pub totals: ProcessTotals,
}

/// Totals of one process, counted in the kernel.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct ProcessTotals {
    /// Faults by outcome, every outcome present.
    pub outcomes: Vec<(Outcome, OutcomeTotal)>,
    /// Bytes of `copy`.
    pub copied_bytes: u64,
    /// Bytes of `file_copy`.
    pub file_copied_bytes: u64,
}

impl ProcessTotals {
    /// Faults with this outcome.
    #[must_use]
    pub fn faults(&self, outcome: Outcome) -> u64 {
        self.of(outcome).faults
    }

    /// The total of this outcome; all 0 if the kernel counted none.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> OutcomeTotal {
        self.outcomes.iter().find(|(o, _)| *o == outcome).map_or_else(OutcomeTotal::default, |(_, t)| *t)
    }
}

/// Faults with one outcome. `faults = listed + unlisted + lost`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct OutcomeTotal {
    /// All.
    pub faults: u64,
    /// Not listed: before the first fork, or an outcome that was not asked for.
    pub unlisted: u64,
    /// Details lost.
    pub lost: u64,
}

/// What the kernel did about a fault.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are explained where they are decided, in the kernel half")]
pub enum Outcome {
    Copy,
    FileCopy,
    Reuse,
    ZeroFill,
    SharedWrite,
    Read,
    SwapIn,
    Other,
    Failed,
}

impl Outcome {
    /// Every outcome, in the order in which they are listed.
    pub const ALL: [Self; 9] = [
        Self::Copy,
        Self::FileCopy,
        Self::Reuse,
        Self::ZeroFill,
        Self::SharedWrite,
        Self::Read,
        Self::SwapIn,
        Self::Other,
        Self::Failed,
    ];
}

/// One listed page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it began.
    pub time: u64,
    /// Index into [`Trace::processes`].
    pub process: usize,
    /// Thread id.
    pub tid: u32,
    /// The exact byte address.
    pub address: u64,
    /// User instruction pointer.
    pub ip: u64,
    /// What the kernel did.
    pub outcome: Outcome,
    /// Copied bytes; 0 for outcomes that copy nothing.
    pub bytes: u64,
    /// Nanoseconds it took; `None` = not measured.
    pub latency: Option<NonZero<u64>>,
    /// Mapping that holds the address.
    pub region: Id<Region>,
    /// What the workload was doing.
    pub operation: Id<Operation>,
    /// What was written.
    pub write: Id<Write>,
    /// The user's own line; `None` = no such frame, no symbol.
    pub site: Option<Id<Site>>,
    /// Interpreter stack; empty if there is none.
    pub python: Id<Vec<PythonFrame>>,
    /// Native stack.
    pub native: Id<Vec<NativeFrame>>,
    /// Number of the garbage collection that it belongs to; `None` = to none.
    pub collection: Option<u32>,
}

/// Listed faults that nothing but their times, addresses and threads tells apart, added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alike {
    /// The first of them.
    pub first: Fault,
    /// Time of the last.
    pub last: u64,
    /// How many.
    pub faults: u64,
    /// Their copied bytes.
    pub bytes: u64,
}

/// One garbage collection, as far as its page faults show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collection {
    /// From 1 on, in the order of `start`.
    pub number: u32,
    /// Index into [`Trace::processes`].
    pub process: usize,
    /// Thread that collected.
    pub tid: u32,
    /// 0 the youngest to 2 all; `None` = not told, or the interpreter has no generations.
    pub generation: Option<u8>,
    /// Time of its first listed fault: it began then or a little before.
    pub start: u64,
    /// Time of its last listed fault: it ended then or later.
    pub end: u64,
    /// Pages that it copied.
    pub pages: u64,
    /// Bytes that it copied.
    pub bytes: u64,
    /// Line that triggered it.
    pub site: Option<Id<Site>>,
}

/// Where the entries of a table of `sys.modules` lay.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct ModuleTable {
    /// Address of each key's value, at which a replacement writes.
    pub entries: Vec<(String, u64)>,
    /// Addresses of the entries that had no key yet: a key that is added goes to the next of them, unless there is none and
    /// the table is replaced.
    pub free: Range<u64>,
    /// Processes (indices into [`Trace::processes`]) that had it, and when: at a fork, its parent and its child.
    pub seen: Vec<(usize, u64)>,
}

/// What became of a page that was asked about in one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Index into [`Trace::processes`].
    pub process: usize,
    /// The address asked about.
    pub address: u64,
    /// The key of `sys.modules` asked about, whose value lies there; `None` = the address was given.
    pub key: Option<String>,
    /// The key was added after the process was forked; `None` = it was there, or an address was given.
    pub added: Option<Added>,
    /// What became of it.
    pub state: PageState,
    /// Index into [`Trace::faults`] of the last write that made it private, of the first of the import where the table was
    /// replaced; `None` = none is known.
    pub fault: Option<usize>,
}

/// What is known of the page to which a key was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Added {
    /// It is this page.
    Here,
    /// It is this page or another one: the table had free entries on both.
    Perhaps,
}

/// What became of a page in one process since its memory was last shared by a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PageState {
    /// A write made it private.
    Private,
    /// A write had made it private before the last fork by the process; since then it is shared again.
    PrivateBeforeFork,
    /// No write to it since the fork: shared, if there is such a page.
    Shared,
    /// The key's table had no free entry at the fork, so that the import that added the key replaced it: the page is a part of
    /// the old one.
    Replaced,
    /// No write to it is known, but details of this process were lost.
    Unknown,
}

/// The mapping that holds an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Region {
    /// `heap`, `stack`, `anonymous`, `file`, `special` or `unknown`.
    pub kind: &'static str,
    /// Mapped file.
    pub path: Option<String>,
    /// Offset of the faulting page in it.
    pub offset: Option<u64>,
}

/// How sure an answer is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Every piece of evidence agrees and none other would.
    Certain,
    /// The evidence agrees; something else could look the same.
    Likely,
    /// Nothing is known; `reason` says why.
    None,
}

/// What the workload was doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Operation {
    /// `import`, `module_swap`, `gc`, `fork_bookkeeping`, `worker_bookkeeping`, `startup`, `exit`, `call`, `native`,
    /// `kernel` or `unknown`.
    pub kind: &'static str,
    /// Its object: the module whose import a line outside of it began, the swapped key, the fork hook, the library, the
    /// system call.
    pub name: Option<String>,
    /// How, or which part: `reload` of an import, `delete` of a swap, a library's part (`pool`, `forkserver`, …).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Imports under way, outermost first; empty for other operations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// How sure.
    pub confidence: Confidence,
    /// Why it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What [`Write::kind`] may be.
pub const WRITE_KINDS: &[&str] = &[
    "refcount",
    "gc_header",
    "dict_entry",
    "dict_resize",
    "list_item",
    "attribute",
    "object_body",
    "bytecode",
    "type_cache",
    "allocator",
    "interpreter_frame",
    "interpreter_state",
    "thread_state",
    "c_stack",
    "library_data",
    "malloc",
    "native_data",
    "buffer",
    "kernel_copy",
    "unknown",
];

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Write {
    /// One of [`WRITE_KINDS`].
    pub kind: &'static str,
    /// Type of the object.
    #[serde(rename = "type")]
    pub of: Option<String>,
    /// Which one, e.g. `sys.modules['statistics']`.
    pub name: Option<String>,
    /// What was done to it: `incref`, `decref`, `new object`, …; `None` = not told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
    /// How sure.
    pub confidence: Confidence,
    /// Why it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The innermost line of the user's own code; for native code the innermost function outside the libraries that come with
/// its language, allocators among them.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash, Serialize)]
pub struct Site {
    /// Source file, or the object of native code without lines.
    pub file: Option<String>,
    /// Line; `None` = native code without lines.
    pub line: Option<u32>,
    /// The line is near the right one: see [`PythonFrame::approximate`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
    /// Function or symbol.
    pub function: Option<String>,
    /// Whose code it is, if it is not the user's own: a package, `standard library`, or the file of native code.
    pub library: Option<String>,
}

/// One interpreter frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PythonFrame {
    /// Qualified name.
    pub function: String,
    /// File as the interpreter names it.
    pub file: String,
    /// Line; `None` = the instruction has none.
    pub line: Option<u32>,
    /// The frame ran machine code that the interpreter had compiled from its instructions, and was not told at each of them
    /// where it was: the line is that of an instruction before, or of the end of the loop.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
    /// Base opcode at the instruction; `None` = not read.
    pub op: Option<&'static str>,
}

/// One native frame. The outermost one of a stack that is not whole stands for what is missing: it has no object, and why
/// in brackets as its symbol.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Hash, Serialize)]
pub struct NativeFrame {
    /// Symbol whose size covers the address, or an inlined function; `None` = there is none.
    pub symbol: Option<String>,
    /// File that holds the code.
    pub object: Option<String>,
    /// Offset in that file: of the instruction that faulted; of a caller's frame that of the last byte of its call, which is
    /// what lines are looked up by.
    #[serde(serialize_with = "hexadecimal", deserialize_with = "read::hexadecimal")]
    pub offset: u64,
    /// Source file, as the debug information names it; `None` = there is none that tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in it; `None` as for `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The function was compiled into the one of the next frame, which has the same address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inlined: bool,
    /// What names the code may be out of date: a list of compiled functions that has changed since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
    /// Why there is no symbol, where more can be said than that the file has none for this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

fn hexadecimal<S: serde::Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:#x}"))
}

/// What one stage lost on one CPU.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// The stage.
    pub stage: String,
    /// The CPU.
    pub cpu: u32,
    /// How much.
    pub count: u64,
}

/// [`Loss::stage`] of callers that were not recorded: the fault itself was.
pub const CALLERS: &str = "native_stack";

impl Loss {
    /// Whether what was lost are records; else something of faults that are recorded.
    #[must_use]
    pub fn is_of_records(&self) -> bool {
        self.stage != CALLERS
    }
}

/// Totals of the whole trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// All faults of the tree, counted in the kernel.
    pub faults: u64,
    /// Faults with outcome `copy`.
    pub copies: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Faults with outcome `file_copy`.
    pub file_copies: u64,
    /// Faults with outcome `reuse`.
    pub reuses: u64,
    /// Everything lost, over all stages.
    pub lost: u64,
    /// CPU time of cowtrace itself, user and kernel side, nanoseconds.
    pub tool_cpu_ns: u64,
    /// Part of it spent before the command ran, mostly for loading the probes.
    pub setup_ns: u64,
    /// Part of it spent inside the traced program's faults.
    pub probe_ns: u64,
    /// How long the trace ran, nanoseconds.
    pub duration: u64,
}
