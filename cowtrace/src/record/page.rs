//! A page that was asked about, as a line of JSON.

use serde::Serialize;

use super::schema::{Added, Operation, Outcome, Page, PageState, Site, Trace, Write};

/// The line; `type` is `page`.
#[derive(Clone, Debug, Serialize)]
pub struct PageLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    pid: Option<u32>,
    address: String,
    key: Option<&'a str>,
    /// The key was added after the fork: `here`, or on this page or another (`perhaps`).
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<Added>,
    state: PageState,
    /// When it was made private; null if it is not, or not since the last fork.
    time: Option<u64>,
    /// What made it private last, before the fork or since.
    outcome: Option<Outcome>,
    operation: Option<&'a Operation>,
    write: Option<&'a Write>,
    site: Option<&'a Site>,
}

/// The line of a page.
#[must_use]
pub fn line<'a>(trace: &'a Trace, page: &'a Page) -> PageLine<'a> {
    let fault = page.fault.and_then(|fault| trace.faults.get(fault));
    PageLine {
        kind: "page",
        pid: trace.processes.get(page.process).map(|process| process.pid),
        address: format!("{:#x}", page.address),
        key: page.key.as_deref(),
        added: page.added,
        state: page.state,
        time: fault.filter(|_| page.state == PageState::Private).map(|fault| fault.time),
        outcome: fault.map(|fault| fault.outcome),
        operation: fault.and_then(|fault| trace.operations.get(fault.operation)),
        write: fault.and_then(|fault| trace.writes.get(fault.write)),
        site: fault.and_then(|fault| fault.site).and_then(|site| trace.sites.get(site)),
    }
}
