//! The ways to cut a trace into rows. One more way is one more row of [`REPORTS`].

use std::cmp::Ordering;

use super::causes::Cause;
use super::escape::escape;
use super::scope::Scope;
use super::{modules, words};
use crate::record::schema::{Fault, Id, Operation};

/// One way to cut a trace.
#[derive(Debug)]
pub struct Report {
    /// Value of `--by`.
    pub name: &'static str,
    /// What its rows are, for the help.
    pub about: &'static str,
    /// Heading of the first column.
    pub(super) heading: &'static str,
    /// Numbers that faults of one row share; faults of other rows of the same program may share them too only if their
    /// key is equal.
    pub(super) group: fn(&Fault) -> [u32; 4],
    /// The row of a fault.
    pub(super) key: fn(&Scope<'_>, &Fault) -> Key,
    /// Rows also say what was mostly written.
    pub(super) writes: bool,
}

impl Report {
    /// Heading of the first column.
    #[must_use]
    pub const fn heading(&self) -> &'static str {
        self.heading
    }
}

/// How `--by` names a [`Report`].
pub type Cut = &'static Report;

/// Every cut, the first is the one without `--by`.
pub static REPORTS: &[Report] = &[
    Report {
        name: "operation",
        about: "what the program was doing, and where",
        heading: "where",
        group: |fault| [id(fault.operation), site_number(fault), 0, 0],
        key: by_operation,
        writes: true,
    },
    Report {
        name: "write",
        about: "what was written: reference counts, GC headers, the allocator, …",
        heading: "first write",
        group: |fault| [id(fault.write), 0, 0, 0],
        key: by_write,
        writes: false,
    },
    Report {
        name: "site",
        about: "line of code, or symbol of native code",
        heading: "line or symbol",
        group: |fault| [id(fault.operation), site_number(fault), 0, 0],
        key: by_site,
        writes: true,
    },
    Report {
        name: "process",
        about: "process",
        heading: "process",
        group: |fault| [number(fault.process), 0, 0, 0],
        key: by_process,
        writes: true,
    },
    Report {
        name: "region",
        about: "mapping: heap, stack, file, …",
        heading: "mapping",
        group: |fault| [id(fault.region), 0, 0, 0],
        key: by_region,
        writes: true,
    },
    Report {
        name: "object",
        about: "object that was written to, by its type and name",
        heading: "object",
        group: |fault| [id(fault.write), 0, 0, 0],
        key: by_object,
        writes: false,
    },
    Report {
        name: "module",
        about: "Python module that was imported or whose code ran, or file of native code",
        heading: "module",
        group: |fault| [id(fault.operation), id(fault.python), id(fault.native), site_number(fault)],
        key: modules::key,
        writes: true,
    },
];

/// One order of rows.
#[derive(Debug)]
pub struct Sort {
    /// Value of `--sort`.
    pub name: &'static str,
    /// What comes first, for the help.
    pub about: &'static str,
    /// The order.
    pub(super) compare: fn(&Cause, &Cause) -> Ordering,
}

/// Every order, the first is the one without `--sort`.
pub static SORTS: &[Sort] = &[
    Sort { name: "bytes", about: "most copied bytes first", compare: |a, b| most(a, b, Cause::bytes) },
    Sort { name: "pages", about: "most copied pages first", compare: |a, b| most(a, b, Cause::pages) },
    Sort { name: "processes", about: "most processes first", compare: |a, b| most(a, b, Cause::processes) },
    Sort { name: "name", about: "by name", compare: |a, b| (&a.place, &a.what).cmp(&(&b.place, &b.what)) },
];

fn most(a: &Cause, b: &Cause, number: fn(&Cause) -> u64) -> Ordering {
    number(b).cmp(&number(a)).then_with(|| (&a.place, &a.what).cmp(&(&b.place, &b.what)))
}

/// What a row stands for. Faults with equal keys are one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Where, in words.
    pub(super) place: String,
    /// What was done there; `None` = the row shows what was mostly written.
    pub(super) what: Option<String>,
    /// Which part of the table it belongs to.
    pub(super) class: Class,
}

/// Parts of the table, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Class {
    /// What the program's own code did: its lines, or the functions of its executable if it is native.
    Own,
    /// What other native code did.
    Native,
    /// What a fork, a pool, a start or an exit does by itself.
    Machinery,
    /// Not known.
    Unknown,
}

/// An index as a number of a group; there are no more ids than it can tell apart.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn id<T>(id: Id<T>) -> u32 {
    number(id.index())
}

/// Numbers of everything that names a cause.
pub(super) fn names(fault: &Fault) -> [u32; 4] {
    [id(fault.operation), site_number(fault), id(fault.write), 0]
}

fn site_number(fault: &Fault) -> u32 {
    fault.site.map_or(u32::MAX, id)
}

impl Key {
    fn own(place: String, what: Option<String>) -> Self {
        Self { place, what, class: Class::Own }
    }

    fn unknown(place: &str) -> Self {
        Self { place: place.to_owned(), what: None, class: Class::Unknown }
    }
}

/// The one row of a kind that is not the program's own code; `None` for the others.
pub(super) fn machinery(operation: &Operation) -> Option<String> {
    Some(match (operation.kind, operation.name.as_deref()) {
        ("fork_bookkeeping", _) => "fork and its hooks".to_owned(),
        ("worker_bookkeeping", Some(library)) => escape(library),
        ("worker_bookkeeping", None) => "worker pool".to_owned(),
        ("startup", _) => "start-up".to_owned(),
        ("exit", _) => "exit".to_owned(),
        ("gc", _) => "garbage collector".to_owned(),
        _ => return None,
    })
}

pub(super) fn by_operation(scope: &Scope<'_>, fault: &Fault) -> Key {
    let Some(operation) = scope.trace.operations.get(fault.operation).filter(|o| o.kind != "unknown") else {
        return Key::unknown("unknown");
    };
    if let Some(place) = machinery(operation) {
        return Key { place, what: None, class: Class::Machinery };
    }
    let Some(site) = fault.site.and_then(|site| scope.trace.sites.get(site)) else {
        return Key {
            place: "place unknown".to_owned(),
            what: words::action(operation),
            class: Class::Native,
        };
    };
    match (&site.library, site.line) {
        (None, None) if !scope.is_of_main(fault) => {
            Key { place: words::file_of(site, scope), what: words::action(operation), class: Class::Native }
        }
        (None, _) => Key::own(words::site(site, scope), words::action(operation)),
        (Some(library), Some(_)) => Key { place: escape(library), what: None, class: Class::Machinery },
        (Some(library), None) => {
            Key { place: escape(library), what: words::action(operation), class: Class::Native }
        }
    }
}

fn by_write(scope: &Scope<'_>, fault: &Fault) -> Key {
    match scope.trace.writes.get(fault.write) {
        Some(write) if write.kind != "unknown" => Key::own(words::write_sort(write), None),
        Some(_) | None => Key::unknown("unknown"),
    }
}

fn by_site(scope: &Scope<'_>, fault: &Fault) -> Key {
    if let Some(site) = fault.site.and_then(|site| scope.trace.sites.get(site)) {
        return Key::own(words::site(site, scope), None);
    }
    match scope.trace.operations.get(fault.operation) {
        Some(operation) if operation.kind != "unknown" => {
            let place = machinery(operation).unwrap_or_else(|| operation.kind.replace('_', " "));
            Key { place: format!("no line: {place}"), what: None, class: Class::Machinery }
        }
        Some(_) | None => Key::unknown("unknown"),
    }
}

fn by_process(scope: &Scope<'_>, fault: &Fault) -> Key {
    let process = scope.trace.processes.get(fault.process);
    process.map_or_else(|| Key::unknown("unknown"), |process| Key::own(words::process(process), None))
}

fn by_region(scope: &Scope<'_>, fault: &Fault) -> Key {
    match scope.trace.regions.get(fault.region) {
        Some(region) if region.kind != "unknown" => Key::own(words::region(region, scope), None),
        Some(_) | None => {
            Key { what: Some("no mapping is known at the address".to_owned()), ..Key::unknown("unknown") }
        }
    }
}

fn by_object(scope: &Scope<'_>, fault: &Fault) -> Key {
    let write = scope.trace.writes.get(fault.write);
    match write.and_then(words::object) {
        Some(object) => Key::own(object, None),
        None => match write.filter(|write| write.kind != "unknown") {
            Some(write) => Key {
                place: format!("no object: {}", words::write_sort(write)),
                what: None,
                class: Class::Machinery,
            },
            None => Key::unknown("unknown"),
        },
    }
}
