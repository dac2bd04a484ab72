//! How much of what was copied has a name: a line of an interpreter's, or a function.

use std::collections::BTreeMap;

use crate::trace::{Fault, Trace};

/// Functions that every program is in, which say nothing about a write.
const START: [&str; 8] = [
    "_start",
    "main",
    "__libc_start_main",
    "__libc_start_call_main",
    "start_thread",
    "clone",
    "clone3",
    "_dl_runtime_resolve",
];

/// Bytes that were copied, and those of them that have a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// All that was copied.
    pub bytes: u64,
    /// With a line or a symbol.
    pub named: u64,
    /// What has none, by region and object.
    pub without: BTreeMap<String, u64>,
}

impl Named {
    /// Of this trace: what was copied after a fork. A mapped file's first writes, most of which programs do as they start, are no
    /// part of it, as they are none of what a report calls copied memory of a fork.
    #[must_use]
    pub fn of(trace: &Trace) -> Self {
        let mut this = Self::default();
        for fault in trace.faults.iter().filter(|fault| fault.outcome == "copy") {
            this.bytes += fault.bytes;
            if has_name(fault) {
                this.named += fault.bytes;
            } else {
                *this.without.entry(description(fault)).or_default() += fault.bytes;
            }
        }
        this
    }

    /// Percent of the bytes that have a name.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a percentage of less than 2⁵² bytes")]
    pub fn percent(&self) -> f64 {
        if self.bytes == 0 { 0.0 } else { self.named as f64 * 100.0 / self.bytes as f64 }
    }

    /// Something was copied, and 95 of 100 bytes have a name.
    pub fn check(&self) {
        println!("{:.2} % of {} bytes have a name; without: {:?}", self.percent(), self.bytes, self.without);
        assert!(self.bytes > 0, "nothing was copied");
        assert!(self.named * 100 >= self.bytes * 95, "{:.2} %: {self:#?}", self.percent());
    }
}

/// Whether a fault has a line of an interpreter's, or a function; an address in a file is none.
#[must_use]
pub fn has_name(fault: &Fault) -> bool {
    let line = fault.python.iter().any(|frame| frame.line.is_some())
        || fault.site.as_ref().is_some_and(|site| site.line.is_some());
    // A stripped library exports what others call, and nothing of what that calls inside.
    let symbols = fault.native.iter().filter_map(|frame| frame.symbol.as_deref());
    line || symbols
        .map(|symbol| symbol.split('@').next())
        .any(|name| !START.iter().any(|start| name == Some(start)))
}

fn description(fault: &Fault) -> String {
    let object = fault.native.first().and_then(|frame| frame.object.as_deref()).unwrap_or("no object");
    format!("{} {} by {object}", fault.region.kind, fault.operation.kind)
}
