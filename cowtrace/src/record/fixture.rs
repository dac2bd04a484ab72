//! A small builder of traces for tests of what reads them.

use super::schema::{
    Collection, Confidence, Fault, Header, Id, Interpreter, Loss, NativeFrame, Operation, Outcome,
    OutcomeTotal, PageBytes, PageSize, Process, ProcessTotals, PythonFrame, Region, SCHEMA, Site, Table,
    Trace, Write,
};

/// A trace under construction. Totals are counted from the faults that are added.
#[derive(Clone)]
pub(crate) struct Builder {
    trace: Trace,
    time: u64,
}

/// One fault, or many alike at successive pages.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) outcome: Outcome,
    pub(crate) bytes: u64,
    pub(crate) region: Region,
    pub(crate) operation: Operation,
    pub(crate) write: Write,
    pub(crate) site: Option<Site>,
    pub(crate) python: Vec<PythonFrame>,
    pub(crate) native: Vec<NativeFrame>,
}

/// An operation.
pub(crate) fn operation(kind: &'static str, name: &str) -> Operation {
    let name = (!name.is_empty()).then(|| name.to_owned());
    Operation { kind, name, detail: None, chain: Vec::new(), confidence: Confidence::Certain, reason: None }
}

/// A write.
pub(crate) fn write(kind: &'static str, of: &str, name: &str) -> Write {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Write { kind, of: text(of), name: text(name), action: None, confidence: Confidence::Likely, reason: None }
}

/// An operation that is not known.
pub(crate) fn unknown(reason: &str) -> Operation {
    let confidence = Confidence::None;
    Operation { confidence, reason: Some(reason.to_owned()), ..operation("unknown", "") }
}

/// A line of code.
pub(crate) fn line(file: &str, line: u32, function: &str) -> Option<Site> {
    let (file, function) = (Some(file.to_owned()), Some(function.to_owned()));
    Some(Site { file, line: Some(line), approximate: false, function, library: None })
}

/// A symbol.
pub(crate) fn symbol(function: &str, file: &str) -> Option<Site> {
    let function = (!function.is_empty()).then(|| function.to_owned());
    let library = file.rsplit('/').next().filter(|name| name.contains(".so")).map(str::to_owned);
    Some(Site { file: Some(file.to_owned()), line: None, approximate: false, function, library })
}

/// A copied anonymous page.
pub(crate) fn page(operation: Operation, write: Write, site: Option<Site>) -> Page {
    let region = Region { kind: "anonymous", path: None, offset: None };
    let (python, native) = (Vec::new(), Vec::new());
    Page { outcome: Outcome::Copy, bytes: 4096, region, operation, write, site, python, native }
}

impl Builder {
    pub(crate) fn new(command: &[&str]) -> Self {
        let header = Header {
            schema: SCHEMA,
            version: "0.1.0".to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            attached: Vec::new(),
            cgroup: None,
            start: "2026-01-02T03:04:05.000000006Z".to_owned(),
            kernel: "6.18.5".to_owned(),
            architecture: None,
            page_size: None,
            rung: "base".to_owned(),
            probes: ["page_fault_user", "page_fault_kernel", "mm_page_alloc", "rss_stat"]
                .map(str::to_owned)
                .to_vec(),
            missing: Vec::new(),
            interpreters: Vec::new(),
        };
        Self { trace: Trace { header, ..Trace::default() }, time: 1_000_000 }
    }

    pub(crate) fn python(&mut self, version: &str, layout: Option<&str>) {
        self.trace.header.interpreters.push(Interpreter {
            name: "CPython".to_owned(),
            version: version.to_owned(),
            path: "/usr/lib/libpython3.11.so.1.0".to_owned(),
            layout: layout.map(str::to_owned),
        });
    }

    /// It comes from a machine with such pages.
    pub(crate) fn pages(&mut self, size: PageSize) {
        self.trace.header.page_size = Some(PageBytes(size));
    }

    pub(crate) fn missing(&mut self, sentence: &str) {
        self.trace.header.missing.push(sentence.to_owned());
    }

    /// A process; its index.
    pub(crate) fn process(&mut self, parent: Option<usize>, comm: &str, inherited_bytes: u64) -> usize {
        let index = self.trace.processes.len();
        let pid = 7000 + u32::try_from(index).unwrap();
        let above = parent.map(|parent| &self.trace.processes[parent]);
        self.time += 1000;
        let process = Process {
            pid,
            ppid: above.map_or(6999, |above| above.pid),
            parent,
            generation: above.map_or(0, |above| above.generation + 1),
            start: if parent.is_some() { self.time } else { 0 },
            end: Some(self.time + 1_000_000),
            execs: Vec::new(),
            comm: comm.to_owned(),
            exe: Some("/usr/bin/".to_owned() + comm),
            command: self.trace.header.command.clone(),
            inherited_bytes,
            attached: false,
            private_bytes: None,
            container: None,
            borrows: parent.is_some() && inherited_bytes == 0,
            exit_status: Some(0),
            totals: ProcessTotals {
                outcomes: Outcome::ALL.map(|outcome| (outcome, OutcomeTotal::default())).to_vec(),
                ..ProcessTotals::default()
            },
        };
        self.trace.processes.push(process);
        index
    }

    pub(crate) fn exit(&mut self, process: usize, status: Option<i32>) {
        self.trace.processes[process].exit_status = status;
    }

    /// A process runs another program.
    pub(crate) fn exec(&mut self, process: usize, comm: &str) {
        self.time += 1000;
        let process = &mut self.trace.processes[process];
        process.execs.push(self.time);
        (process.comm, process.exe) = (comm.to_owned(), Some("/usr/bin/".to_owned() + comm));
    }

    /// Adds as many faults like this one.
    pub(crate) fn faults(&mut self, process: usize, number: u64, page: &Page) {
        let trace = &mut self.trace;
        let (region, operation) =
            (trace.regions.intern(page.region.clone()), trace.operations.intern(page.operation.clone()));
        let write = trace.writes.intern(page.write.clone());
        let site = page.site.clone().map(|site| trace.sites.intern(site));
        let (python, native) =
            (intern(&mut trace.python, &page.python), intern(&mut trace.native, &page.native));
        for nth in 0..number {
            self.time += 500;
            let bytes =
                if matches!(page.outcome, Outcome::Copy | Outcome::FileCopy) { page.bytes } else { 0 };
            trace.faults.push(Fault {
                time: self.time,
                process,
                tid: trace.processes[process].pid,
                address: 0x7f00_0000_0018 + nth * 4096,
                ip: 0x5555_0000_1234,
                outcome: page.outcome,
                bytes,
                latency: None,
                region,
                operation,
                write,
                site,
                python,
                native,
                collection: None,
            });
        }
        self.count(process, page.outcome, number, page.bytes, |_| ());
    }

    /// Adds faults that are one collection's.
    pub(crate) fn collection(&mut self, process: usize, generation: Option<u8>, number: u64, page: &Page) {
        let first = self.trace.faults.len();
        self.faults(process, number, page);
        let collection = u32::try_from(self.trace.collections.len() + 1).unwrap();
        let mut table = Collection {
            number: collection,
            process,
            tid: self.trace.processes[process].pid,
            generation,
            start: self.trace.faults[first].time,
            end: self.time,
            pages: 0,
            bytes: 0,
            site: self.trace.faults[first].site,
        };
        for fault in &mut self.trace.faults[first..] {
            fault.collection = Some(collection);
            table.pages += u64::from(fault.bytes > 0);
            table.bytes += fault.bytes;
        }
        self.trace.collections.push(table);
    }

    /// Counts faults that are not listed.
    pub(crate) fn unlisted(&mut self, process: usize, outcome: Outcome, number: u64) {
        self.count(process, outcome, number, 4096, |total| total.unlisted += number);
    }

    /// Counts faults whose details are lost at the ring.
    pub(crate) fn lost(&mut self, process: usize, outcome: Outcome, number: u64, cpu: u32) {
        self.count(process, outcome, number, 4096, |total| total.lost += number);
        self.trace.losses.push(Loss { stage: "ring".to_owned(), cpu, count: number });
        self.trace.summary.lost += number;
    }

    fn count(
        &mut self,
        process: usize,
        outcome: Outcome,
        number: u64,
        bytes: u64,
        more: impl Fn(&mut OutcomeTotal),
    ) {
        let totals = &mut self.trace.processes[process].totals;
        let (_, total) = totals.outcomes.iter_mut().find(|(o, _)| *o == outcome).unwrap();
        total.faults += number;
        more(total);
        let summary = &mut self.trace.summary;
        summary.faults += number;
        match outcome {
            Outcome::Copy => {
                totals.copied_bytes += number * bytes;
                summary.copies += number;
                summary.copied_bytes += number * bytes;
            }
            Outcome::FileCopy => {
                totals.file_copied_bytes += number * bytes;
                summary.file_copies += number;
            }
            Outcome::Reuse => summary.reuses += number,
            _ => {}
        }
    }

    /// The finished trace.
    pub(crate) fn finish(mut self) -> Trace {
        let summary = &mut self.trace.summary;
        summary.duration = 1_480_000_000;
        summary.probe_ns = summary.faults * 2_100;
        summary.setup_ns = 96_000_000;
        summary.tool_cpu_ns = 118_000_000 + summary.probe_ns;
        if self.trace.losses.is_empty() {
            self.trace.losses = (0..2).map(|cpu| Loss { stage: "ring".to_owned(), cpu, count: 0 }).collect();
        }
        self.trace
    }
}

fn intern<T: Clone + Eq + std::hash::Hash>(table: &mut Table<Vec<T>>, stack: &[T]) -> Id<Vec<T>> {
    table.intern(stack.to_vec())
}
