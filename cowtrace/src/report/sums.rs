//! A trace reduced to what each of its processes copied for which cause: little enough to keep many of them.
//!
//! Causes are told by names alone: what the program was doing, the file and the function of the place, what was written.
//! Ids, addresses, pids and lines differ from run to run or from one edit to the next; two lines of one function are one
//! place here. Only copies of memory that a fork shared count; first writes to private file mappings are apart.

use std::collections::HashMap;

use serde::Serialize;

use super::cuts::{Class, Key};
use super::escape::escape;
use super::filter::Part;
use super::groups::Group;
use super::scope::{Copied, Scope};
use super::{cuts, words};
use crate::record::schema::{Fault, PageSize, Trace};

/// What a trace is reduced to.
#[derive(Clone, Debug)]
pub struct Sums {
    /// What it is called: the file it was read from.
    pub(super) name: String,
    /// The command that was traced.
    pub(super) command: Vec<String>,
    /// Every process.
    pub(super) processes: Vec<Process>,
    /// Causes, by the numbers in [`Process::causes`].
    pub(super) causes: Vec<Name>,
    /// Why the true numbers may be higher, each a clause; empty = they are exact.
    pub(super) doubts: Vec<String>,
    /// The pages of the machine.
    pub(super) pages: PageSize,
    /// What part of the trace it is of, in words; `None` = the whole.
    pub(super) part: Option<String>,
}

/// What one process copied.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// Its name, as it came.
    pub(super) comm: String,
    /// What it inherited; `None` = it is no worker (see [`Scope::inherited`]).
    pub(super) inherited: Option<u64>,
    /// All of it, counted in the kernel.
    pub(super) copied: Copied,
    /// For each cause, by its number.
    pub(super) causes: HashMap<usize, Copied>,
}

/// A cause by its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    /// Where, and what was done there.
    pub(super) place: Place,
    /// What was written.
    pub(super) write: Write,
}

/// A place, and what was done there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(super) struct Place {
    /// In words, ready to be shown: `multi.py (f)`.
    pub(super) text: String,
    /// The same of what was done; empty = nothing that the place does not say.
    pub(super) what: String,
    /// Kind of the operation, as it came.
    pub(super) operation: Option<&'static str>,
    /// Part of the report's table.
    #[serde(skip)]
    pub(super) class: Class,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(super) struct Write {
    /// In words, ready to be shown.
    pub(super) text: String,
    /// As it came; `None` = not known.
    pub(super) kind: Option<&'static str>,
    /// Type of the object, as it came.
    #[serde(rename = "type")]
    pub(super) of: Option<String>,
}

impl Name {
    /// Its words in a sentence.
    pub(super) fn words(&self) -> String {
        let place = self.place.words();
        if place == self.write.text { place } else { format!("{place}, {}", self.write.text) }
    }
}

impl Place {
    /// Its words in a sentence.
    pub(super) fn words(&self) -> String {
        if self.what.is_empty() { self.text.clone() } else { format!("{}: {}", self.text, self.what) }
    }
}

impl Sums {
    /// Reduces a trace. `name` is what it is called, `directory` what file names are shown relative to, `part` what
    /// [`Filter::apply`](super::filter::Filter::apply) left.
    #[must_use]
    pub fn of(trace: &Trace, name: &str, directory: Option<&str>, part: Option<&Part>) -> Self {
        let scope = Scope::of_part(trace, directory, part);
        let mut processes: Vec<Process> = (0..trace.processes.len())
            .map(|index| Process {
                pid: trace.processes[index].pid,
                comm: trace.processes[index].comm.clone(),
                inherited: scope.inherited(index).filter(|_| scope.is_chosen(index)),
                copied: scope.copied(index),
                causes: HashMap::new(),
            })
            .collect();
        let mut causes = Vec::new();
        let mut numbers: HashMap<Name, usize> = HashMap::new();
        let mut number = |name: Name| {
            *numbers.entry(name).or_insert_with_key(|name| {
                causes.push(name.clone());
                causes.len() - 1
            })
        };
        let mut groups: HashMap<([u32; 4], bool), usize> = HashMap::new();
        for Group { fault, copied, .. } in scope.copies().filter(|group| group.copied.pages > 0) {
            let group = (cuts::names(fault), scope.is_of_main(fault));
            let cause = *groups.entry(group).or_insert_with(|| number(cause(&scope, fault)));
            if let Some(process) = processes.get_mut(fault.process) {
                process.causes.entry(cause).or_default().add(copied);
            }
        }
        let lost = number(Name {
            place: Place {
                text: "details lost".to_owned(),
                what: String::new(),
                operation: None,
                class: Class::Unknown,
            },
            write: Write { text: "details lost".to_owned(), kind: None, of: None },
        });
        for process in &mut processes {
            let mut listed = Copied::default();
            process.causes.values().for_each(|copied| listed.add(copied));
            let rest = process.copied.without(&listed);
            if rest.pages > 0 {
                process
                    .causes
                    .insert(lost, Copied { pages: rest.pages, bytes: rest.bytes, ..Copied::default() });
            }
        }
        let doubts = doubts(&scope);
        Self {
            name: name.to_owned(),
            command: trace.header.command.clone(),
            processes,
            causes,
            doubts,
            pages: trace.header.pages(),
            part: part.map(|part| part.words().to_owned()),
        }
    }

    /// The same, if the recording that it is from is known to have been cut off.
    #[must_use]
    pub fn cut(mut self, is: bool) -> Self {
        if is {
            self.doubts.push("the recording was cut off".to_owned());
        }
        self
    }

    /// Its workers.
    pub(super) fn workers(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(|process| process.inherited.is_some())
    }
}

/// Why the true numbers may be higher.
fn doubts(scope: &Scope<'_>) -> Vec<String> {
    let trace = scope.trace;
    let records = trace.losses.iter().filter(|loss| loss.is_of_records());
    let lost = trace.summary.lost.max(records.map(|loss| loss.count).sum());
    let running =
        (0..trace.processes.len()).filter(|p| scope.is_chosen(*p) && trace.processes[*p].end.is_none());
    let running = running.count() as u64;
    let number = super::numbers::counted;
    let lost = (lost > 0).then(|| format!("{} lost", number(lost, "record")));
    let were = if running == 1 { "was" } else { "were" };
    let running = (running > 0)
        .then(|| format!("{} {were} still running when the trace ended", number(running, "process")));
    lost.into_iter().chain(running).collect()
}

/// The cause of a fault by its names.
fn cause(scope: &Scope<'_>, fault: &Fault) -> Name {
    let operation = scope.trace.operations.get(fault.operation);
    let Key { place, what, class } = cuts::by_operation(scope, fault);
    // Lines shift with every edit, functions stay.
    let site = fault.site.and_then(|site| scope.trace.sites.get(site)).filter(|site| site.line.is_some());
    let text = match site.filter(|_| class == Class::Own) {
        Some(site) => {
            let function = site.function.as_deref().filter(|function| *function != "<module>");
            let function = function.map_or_else(String::new, |function| format!(" ({})", escape(function)));
            format!("{}{function}", words::file_of(site, scope))
        }
        None => place,
    };
    let write = scope.trace.writes.get(fault.write);
    Name {
        place: Place { text, what: what.unwrap_or_default(), operation: operation.map(|o| o.kind), class },
        write: Write {
            text: write.map_or_else(|| "unknown write".to_owned(), words::write_sort),
            kind: write.map(|write| write.kind),
            of: write.and_then(|write| write.of.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture::{Builder, line, operation, page, write as wrote};
    use crate::record::schema::Outcome;

    const MIB: u64 = 1 << 20;

    /// Names, not lines or pids; what no cause is known of is a cause; file pages are apart.
    #[test]
    fn sums() {
        let mut b = Builder::new(&["python", "a.py"]);
        let parent = b.process(None, "python3", 0);
        let child = b.process(Some(parent), "python3", MIB);
        let at =
            |number| page(operation("call", ""), wrote("refcount", "str", ""), line("/x/a.py", number, "f"));
        b.faults(child, 3, &at(1));
        b.faults(child, 4, &at(2));
        let mut file = at(3);
        file.outcome = Outcome::FileCopy;
        b.faults(child, 5, &file);
        b.lost(child, Outcome::Copy, 6, 0);
        b.faults(parent, 1, &at(9));
        let shell = b.process(Some(parent), "sh", MIB);
        b.exec(shell, "ls");
        let sums = Sums::of(&b.finish(), "a.cow", Some("/x"), None);
        let names: Vec<String> = sums.causes.iter().map(Name::words).collect();
        assert_eq!(names, ["a.py (f), refcount of str", "details lost"]);
        let worker: Vec<&Process> = sums.workers().collect();
        assert_eq!(worker.len(), 1, "who runs something else is no worker");
        assert_eq!((worker[0].pid, worker[0].inherited), (7001, Some(MIB)));
        assert_eq!((worker[0].copied.pages, worker[0].copied.file_pages), (13, 5));
        assert_eq!((worker[0].causes[&0].pages, worker[0].causes[&1].pages), (7, 6));
        assert_eq!(sums.processes[0].causes[&0].pages, 1);
        assert_eq!(sums.doubts, ["6 records lost"]);
    }
}
