//! What a ground-truth program says about itself: one JSON line for every region, process and outcome.

use serde::Deserialize;

use crate::needs;
use crate::trace::address;

/// So many faults with this outcome were taken by this process in this region, and no more.
#[derive(Clone, Debug, Deserialize)]
pub struct Fact {
    /// Name of the region.
    pub region: String,
    /// First byte.
    #[serde(deserialize_with = "address")]
    pub start: u64,
    /// First byte behind it.
    #[serde(deserialize_with = "address")]
    pub end: u64,
    /// Who took the faults.
    pub pid: u32,
    /// Which thread; 0 = any, and they contend for the pages.
    pub tid: u32,
    /// Forks between the first process and this one.
    pub generation: u32,
    /// What the kernel did.
    pub outcome: String,
    /// How many faults.
    pub pages: u64,
    /// Bytes copied in all.
    pub bytes: u64,
    /// Who wrote.
    pub mode: Mode,
    /// Taken before the first fork.
    pub before_fork: bool,
    /// Byte of the page that each fault names; `None` = not told.
    pub offset: Option<u64>,
    /// First witness: pages whose frame moved or is not the relative's.
    pub differ: Option<u64>,
    /// Second witness: faults that the kernel counted for the thread around the loop.
    pub faults: Option<u64>,
}

/// Who wrote.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// An instruction of the program.
    User,
    /// The kernel, for a system call.
    Kernel,
    /// The kernel, through `get_user_pages`: without a page fault.
    Gup,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Fact(Fact),
    Unavailable { region: String, unavailable: String },
    Note { note: String },
}

/// The facts of a program's output. A region that this kernel cannot make is skipped, aloud.
#[must_use]
pub fn parse(stdout: &str) -> Vec<Fact> {
    let mut facts = Vec::new();
    for line in stdout.lines() {
        match serde_json::from_str(line) {
            Ok(Line::Fact(fact)) => facts.push(fact),
            Ok(Line::Unavailable { region, unavailable }) => {
                needs::skipped(&format!("{region}: {unavailable}"))
            }
            Ok(Line::Note { note }) => println!("{note}"),
            Err(error) => panic!("{error}: {line}"),
        }
    }
    assert!(!stdout.is_empty(), "the program printed nothing");
    facts
}
