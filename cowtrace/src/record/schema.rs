//! A finished trace: everything that reports and exports know. Nothing here is live, needs root, or imports other parts
//! of cowtrace.
//!
//! Times are nanoseconds since [`Header::start`]; sizes are bytes; addresses are the target's. Names of the target are
//! kept as they came (valid UTF-8, lossy); whoever prints them escapes them.

mod code;
mod page;
mod process;
mod read;
mod table;

use std::num::NonZero;

pub use cowtrace_ebpf::page::PageSize;
use serde::{Deserialize, Serialize};

pub use code::{FrameLanguage, NativeFrame, PythonFrame, Site};
pub use page::{Added, ModuleTable, Page, PageState};
pub use process::{Outcome, OutcomeTotal, Process, ProcessTotals};
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
    /// Interpreter stacks, innermost frame first, by [`Fault::python`]: CPython's and Ruby's, each of one language.
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
    /// Kind of the machine, as in `uname -m`; `None` = it is not said: x86_64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Bytes of the machine's pages; `None` = it is not said: 4096. See [`Header::pages`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_size: Option<PageBytes>,
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

    /// The pages of the machine that the trace comes from, which need not be those of this one.
    #[must_use]
    pub fn pages(&self) -> PageSize {
        self.page_size.map_or(PageSize::SMALLEST, |bytes| bytes.0)
    }
}

/// A size of pages, which is written as its bytes. No other than those that machines have can be read.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct PageBytes(pub PageSize);

impl From<PageBytes> for u64 {
    fn from(PageBytes(size): PageBytes) -> Self {
        size.bytes()
    }
}

impl TryFrom<u64> for PageBytes {
    type Error = String;

    fn try_from(bytes: u64) -> Result<Self, String> {
        PageSize::of_bytes(bytes).map(Self).ok_or_else(|| format!("no machine has pages of {bytes} bytes"))
    }
}

/// An interpreter build that was recognised, or met and not known.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash, Serialize)]
pub struct Interpreter {
    /// `CPython` or `Ruby`.
    pub name: String,
    /// Full version, e.g. `3.11.7`.
    pub version: String,
    /// File that holds its runtime.
    pub path: String,
    /// Which layout was used: its row's name; `None` = not supported, its frames are not seen.
    pub layout: Option<String>,
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
    "gc_mark_bits",
    "object_flags",
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
