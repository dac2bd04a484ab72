//! The JSON Lines that cowtrace promises (schema 1), as far as the tests look at them. Fields that are not named here are
//! ignored, as a reader should.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Deserializer, de::Error};

/// Every outcome that a process line has totals for.
pub const OUTCOMES: [&str; 9] =
    ["copy", "file_copy", "reuse", "zero_fill", "shared_write", "read", "swap_in", "other", "failed"];

/// Outcomes that are listed without being asked for.
pub const LISTED: [&str; 3] = ["copy", "file_copy", "reuse"];

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Header(Header),
    Process(Process),
    Fault(Box<Fault>),
    Collection(Collection),
    Fork(Fork),
    Latency(Latency),
    Page(Box<Page>),
    Loss(Loss),
    Summary(Summary),
    #[serde(other)]
    Unknown,
}

/// The first line.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct Header {
    pub schema: u32,
    pub version: String,
    pub command: Vec<String>,
    #[serde(default)]
    pub attached: Vec<u32>,
    #[serde(default)]
    pub cgroup: Option<String>,
    pub start: String,
    pub kernel: String,
    #[serde(default)]
    pub rung: String,
    pub probes: Vec<String>,
    pub missing: Vec<String>,
    #[serde(default)]
    pub interpreters: Vec<Interpreter>,
}

/// An interpreter that was met.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct Interpreter {
    pub name: String,
    pub version: String,
    pub path: String,
    /// `None` = not known, its frames are not seen.
    pub layout: Option<String>,
}

/// One process.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct Process {
    pub pid: u32,
    pub ppid: u32,
    pub generation: u32,
    pub start: u64,
    pub end: Option<u64>,
    #[serde(default)]
    pub execs: Vec<u64>,
    pub comm: String,
    pub exe: Option<String>,
    pub command: Vec<String>,
    pub inherited_bytes: u64,
    #[serde(default)]
    pub attached: bool,
    #[serde(default)]
    pub private_bytes: Option<u64>,
    #[serde(default)]
    pub container: Option<String>,
    pub exit_status: Option<i32>,
    pub totals: BTreeMap<String, Total>,
    pub copied_bytes: u64,
}

/// Faults of a process with one outcome.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct Total {
    pub faults: u64,
    pub unlisted: u64,
    pub lost: u64,
}

/// One listed fault.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct Fault {
    pub time: u64,
    pub pid: u32,
    pub tid: u32,
    #[serde(deserialize_with = "address")]
    pub address: u64,
    #[serde(deserialize_with = "address")]
    pub ip: u64,
    pub outcome: String,
    #[serde(default)]
    pub side: Option<String>,
    pub bytes: u64,
    pub latency: Option<u64>,
    pub region: Region,
    pub operation: Operation,
    pub write: Write,
    pub site: Option<Site>,
    pub python: Vec<PythonFrame>,
    #[serde(default)]
    pub ruby: Vec<PythonFrame>,
    pub native: Vec<NativeFrame>,
}

impl Fault {
    /// The line of its site, if it lies in this file.
    #[must_use]
    pub fn line_in(&self, file: &Path) -> Option<u32> {
        self.site.as_ref()?.line_in(file)
    }
}

/// A mapping.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct Region {
    pub kind: String,
    pub path: Option<String>,
    pub offset: Option<u64>,
}

/// What the workload was doing.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct Operation {
    pub kind: String,
    pub name: Option<String>,
    #[serde(default)]
    pub detail: Option<String>,
    #[serde(default)]
    pub chain: Vec<String>,
    #[serde(default)]
    pub reason: Option<String>,
    /// The garbage collection that the fault belongs to.
    #[serde(default)]
    pub collection: Option<u32>,
}

/// What was written.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct Write {
    pub kind: String,
    #[serde(rename = "type")]
    pub of: Option<String>,
    pub name: Option<String>,
    #[serde(default)]
    pub action: Option<String>,
    pub reason: Option<String>,
}

/// The user's own line.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct Site {
    pub file: Option<String>,
    pub line: Option<u32>,
    #[serde(default)]
    pub approximate: bool,
    pub function: Option<String>,
}

impl Site {
    /// Its line, if it lies in this file.
    #[must_use]
    pub fn line_in(&self, file: &Path) -> Option<u32> {
        (self.file.as_deref().map(Path::new) == Some(file)).then_some(self.line)?
    }
}

/// A frame of the interpreter.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct PythonFrame {
    pub function: String,
    pub file: String,
    pub line: Option<u32>,
    #[serde(default)]
    pub approximate: bool,
    pub op: Option<String>,
}

/// A native frame.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct NativeFrame {
    pub symbol: Option<String>,
    pub object: Option<String>,
    #[serde(deserialize_with = "address")]
    pub offset: u64,
    pub file: Option<String>,
    pub line: Option<u32>,
    #[serde(default)]
    pub inlined: bool,
    #[serde(default)]
    pub approximate: bool,
    pub reason: Option<String>,
}

/// What a fork cost while its child lived.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "README, JSON Lines")]
pub struct Fork {
    pub pid: u32,
    pub ppid: u32,
    pub start: u64,
    pub end: Option<u64>,
    pub ended: String,
    pub by_child: Copies,
    pub by_parent: Copies,
    pub copied_bytes: u64,
    pub lost: u64,
}

/// Pages that were copied.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[expect(missing_docs, reason = "README, JSON Lines")]
pub struct Copies {
    pub copies: u64,
    pub copied_bytes: u64,
}

/// How long the copies of a process took, nanoseconds.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "README, JSON Lines")]
pub struct Latency {
    pub pid: u32,
    pub copies: u64,
    pub timed: u64,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
    pub total: u64,
    pub buckets: Vec<Bucket>,
}

/// Copies that took less than `below`, and not less than half of it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[expect(missing_docs, reason = "README, JSON Lines")]
pub struct Bucket {
    pub below: u64,
    pub copies: u64,
}

/// One garbage collection.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct Collection {
    pub number: u32,
    pub pid: u32,
    pub tid: u32,
    pub generation: Option<u8>,
    pub start: u64,
    pub end: u64,
    pub pages: u64,
    pub bytes: u64,
    pub site: Option<Site>,
}

/// What became of a page that was asked about, in one process.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct Page {
    pub pid: u32,
    #[serde(deserialize_with = "address")]
    pub address: u64,
    pub key: Option<String>,
    #[serde(default)]
    pub added: Option<String>,
    pub state: String,
    pub time: Option<u64>,
    pub outcome: Option<String>,
    pub operation: Option<Operation>,
    pub write: Option<Write>,
    pub site: Option<Site>,
}

/// What one stage lost.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct Loss {
    pub stage: String,
    pub cpu: u32,
    pub count: u64,
}

/// The last line.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct Summary {
    pub faults: u64,
    pub copies: u64,
    pub copied_bytes: u64,
    pub file_copies: u64,
    pub reuses: u64,
    pub lost: u64,
    pub processes: Vec<SummaryProcess>,
}

/// One process in the summary.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct SummaryProcess {
    pub pid: u32,
    pub copies: u64,
    pub copied_bytes: u64,
    pub inherited_bytes: u64,
}

/// All lines of one export.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "DESIGN.md, chapter 5")]
pub struct Trace {
    pub header: Header,
    pub processes: Vec<Process>,
    pub faults: Vec<Fault>,
    pub collections: Vec<Collection>,
    pub forks: Vec<Fork>,
    pub latencies: Vec<Latency>,
    pub pages: Vec<Page>,
    pub losses: Vec<Loss>,
    pub summary: Summary,
}

impl Trace {
    /// Reads an export; anything that is not as promised panics with its line.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{} was not written: {error}", path.display()));
        Self::parse(&text)
    }

    /// Reads an export's text.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut trace = Self::default();
        let (mut headers, mut summaries) = (0, 0);
        for (index, line) in text.lines().enumerate() {
            match serde_json::from_str(line) {
                Ok(Line::Header(header)) => {
                    assert_eq!(index, 0, "the header is not the first line");
                    trace.header = header;
                    headers += 1;
                }
                Ok(Line::Process(process)) => trace.processes.push(process),
                Ok(Line::Fault(fault)) => trace.faults.push(*fault),
                Ok(Line::Collection(collection)) => trace.collections.push(collection),
                Ok(Line::Fork(fork)) => trace.forks.push(fork),
                Ok(Line::Latency(latency)) => trace.latencies.push(latency),
                Ok(Line::Page(page)) => trace.pages.push(*page),
                Ok(Line::Loss(loss)) => trace.losses.push(loss),
                Ok(Line::Summary(summary)) => {
                    trace.summary = summary;
                    summaries += 1;
                }
                Ok(Line::Unknown) => {}
                Err(error) => panic!("line {}: {error}: {line}", index + 1),
            }
        }
        assert_eq!((headers, summaries), (1, 1), "headers and summaries of the export");
        assert_eq!(trace.header.schema, 1, "schema");
        trace
    }

    /// The process with this id, which must be there once.
    #[must_use]
    pub fn process(&self, pid: u32) -> &Process {
        let mut found = self.processes.iter().filter(|process| process.pid == pid);
        let process = found.next().unwrap_or_else(|| panic!("no process {pid} in {:?}", self.pids()));
        assert!(found.next().is_none(), "process {pid} is there twice");
        process
    }

    /// Faults of one process.
    pub fn faults_of(&self, pid: u32) -> impl Iterator<Item = &Fault> {
        self.faults.iter().filter(move |fault| fault.pid == pid)
    }

    fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(|process| process.pid).collect()
    }
}

/// An address as the export and the test programs write it.
pub(crate) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.strip_prefix("0x").ok_or_else(|| D::Error::custom(format!("{text:?} has no 0x")))?;
    u64::from_str_radix(digits, 16).map_err(|error| D::Error::custom(format!("{text:?}: {error}")))
}
