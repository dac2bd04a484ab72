//! Pages that were asked about, and the tables of modules that are asked about by key.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Where the entries of a table of `sys.modules` lay.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct ModuleTable {
    /// Address of each key's value, at which a replacement writes.
    pub entries: Vec<(String, u64)>,
    /// Addresses of the entries that had no key yet: a key that is added goes to the next of them, unless there is none and
    /// the table is replaced.
    pub free: Range<u64>,
    /// Processes (indices into [`Trace::processes`](super::Trace::processes)) that had it, and when: at a fork, its parent and
    /// its child.
    pub seen: Vec<(usize, u64)>,
}

/// What became of a page that was asked about in one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Index into [`Trace::processes`](super::Trace::processes).
    pub process: usize,
    /// The address asked about.
    pub address: u64,
    /// The key of `sys.modules` asked about, whose value lies there; `None` = the address was given.
    pub key: Option<String>,
    /// The key was added after the process was forked; `None` = it was there, or an address was given.
    pub added: Option<Added>,
    /// What became of it.
    pub state: PageState,
    /// Index into [`Trace::faults`](super::Trace::faults) of the last write that made it private, of the first of the import
    /// where the table was replaced; `None` = none is known.
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
