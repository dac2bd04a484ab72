//! Python programs with known answers, on every version of CPython that cowtrace knows.
#![expect(clippy::panic, clippy::print_stdout, reason = "helpers of tests; the figures are worth reading")]

use std::path::{Path, PathBuf};

use cowtrace_tests::python::Interpreter;
use cowtrace_tests::trace::Collection;
use cowtrace_tests::{Fault, Run, Trace, check, needs, programs, python};
use serde::Deserialize;

/// What a script says about itself.
#[derive(Debug, Deserialize)]
struct Told {
    /// The child that wrote.
    pid: u32,
    /// Its buffer, if there is one.
    #[serde(default)]
    start: u64,
    #[serde(default)]
    end: u64,
    /// Pages that its objects lie on.
    #[serde(default)]
    pages: usize,
    /// Its interpreter compiles what runs often.
    #[serde(default)]
    compiles: bool,
}

/// One traced run.
struct Experiment {
    trace: Trace,
    told: Told,
    /// Minor version of the interpreter.
    minor: u32,
    /// It was built without the lock.
    free_threaded: bool,
    /// The script with the write, as the program sees it.
    script: PathBuf,
    /// The line with the write.
    line: u32,
}

impl Experiment {
    /// Faults of the child in the script's buffer.
    fn in_buffer(&self) -> Vec<&Fault> {
        self.trace
            .faults_of(self.told.pid)
            .filter(|fault| (self.told.start..self.told.end).contains(&fault.address))
            .collect()
    }

    /// Faults of the child at the line with the write.
    fn at_line(&self) -> Vec<&Fault> {
        self.trace.faults_of(self.told.pid).filter(|fault| self.is_at_line(fault)).collect()
    }

    fn is_at_line(&self, fault: &Fault) -> bool {
        fault.line_in(&self.script) == Some(self.line)
    }

    /// The child's collection that copied most.
    fn collection(&self) -> &Collection {
        let of_child = self.trace.collections.iter().filter(|collection| collection.pid == self.told.pid);
        let most = of_child.max_by_key(|collection| collection.pages);
        most.unwrap_or_else(|| {
            panic!("no collection of process {}: {:?}", self.told.pid, self.trace.collections)
        })
    }

    /// What is told of a collection of this generation: nothing where the interpreter has no counts that tell.
    fn generation(&self, generation: u8) -> Option<u8> {
        let layouts: Vec<&str> =
            self.trace.header.interpreters.iter().filter_map(|found| found.layout.as_deref()).collect();
        let [layout] = layouts[..] else { panic!("interpreters: {:?}", self.trace.header.interpreters) };
        (layout != "cpython-3.14" && !layout.ends_with('t')).then_some(generation)
    }

    /// Percent of a collection's copies that are at least its own. Without the lock its lists of what is left to do lie in
    /// blocks of malloc's.
    const fn collected(&self) -> usize {
        if self.free_threaded { 90 } else { 97 }
    }

    /// It has so many percent of these copies, takes some time, and was triggered at the line with the write.
    fn has_share(&self, collection: &Collection, faults: &[&Fault], percent: usize) {
        let its_own = faults.iter().filter(|fault| {
            fault.operation.collection == Some(collection.number) && fault.write.kind == "gc_header"
        });
        let (its_own, all) = (its_own.count(), faults.iter().filter(|fault| fault.bytes > 0).count());
        println!("{its_own} of {all}, {collection:?}");
        assert!(is_share(its_own, all, percent), "{its_own} of {all} are this collection's: {collection:?}");
        assert!(collection.start < collection.end, "{collection:?}");
        let line = collection.site.as_ref().and_then(|site| site.line_in(&self.script));
        assert_eq!(line, Some(self.line), "{collection:?}");
        let pages = self
            .trace
            .faults
            .iter()
            .filter(|fault| fault.operation.collection == Some(collection.number) && fault.bytes > 0);
        assert_eq!(collection.pages, pages.count() as u64, "{collection:?}");
    }

    /// Every one of these is a copy at the line with the write.
    fn all_copied_at_line(&self, faults: &[&Fault]) {
        for fault in faults {
            assert_eq!(fault.outcome, "copy", "{fault:?}");
            assert!(self.is_at_line(fault), "not at {}:{}: {fault:?}", self.script.display(), self.line);
        }
    }
}

fn on_every_build(script: &str, argument: Option<&str>, written_in: &str, judge: impl Fn(&Experiment)) {
    if !needs::tracing() {
        return;
    }
    let script = programs::workload(&format!("experiments/{script}"));
    let written_in = programs::workload(&format!("experiments/{written_in}"));
    python::on_each(1, |interpreter| judge(&experiment(interpreter, &script, argument, &written_in)));
}

fn experiment(
    interpreter: &Interpreter,
    script: &Path,
    argument: Option<&str>,
    written_in: &Path,
) -> Experiment {
    let run = interpreter.run(script);
    let run = argument.into_iter().fold(run, |run, word| run.arg(word));
    experiment_of(interpreter, run, written_in)
}

fn experiment_of(interpreter: &Interpreter, run: Run, written_in: &Path) -> Experiment {
    let line = programs::line_ending(written_in, "  # the write");
    experiment_with_line(interpreter, run, written_in, line)
}

fn experiment_with_line(interpreter: &Interpreter, run: Run, written_in: &Path, line: u32) -> Experiment {
    let traced = run.trace();
    check::nothing_lost(&traced.trace);
    check::totals_add_up(&traced.trace);
    let told = serde_json::from_slice(&traced.finished.stdout).expect("the script prints one JSON object");
    Experiment {
        trace: traced.trace,
        told,
        minor: interpreter.minor.1,
        free_threaded: interpreter.free_threaded,
        line,
        script: interpreter.seen(written_in),
    }
}

/// Whether at least so many percent of the whole are this part.
fn is_share(part: usize, whole: usize, percent: usize) -> bool {
    part * 100 >= whole * percent
}

/// One store to `sys.modules` of a module that is there already: one write of the table, at its entry.
#[test]
fn swap_in_one_child() {
    on_every_build("swap.py", None, "swap.py", |experiment| {
        let swaps: Vec<&Fault> =
            experiment.trace.faults.iter().filter(|fault| fault.operation.kind == "module_swap").collect();
        assert_eq!(swaps.len(), 1, "{swaps:#?}");
        let swap = swaps[0];
        assert_eq!(swap.pid, experiment.told.pid);
        assert_eq!(swap.operation.name.as_deref(), Some("statistics"), "{swap:?}");
        assert_eq!(swap.write.kind, "dict_entry", "{swap:?}");
        assert_eq!(swap.write.name.as_deref(), Some("sys.modules['statistics']"), "{swap:?}");
        assert_eq!(swap.python.first().and_then(|f| f.op.as_deref()), Some("STORE_SUBSCR"), "{swap:?}");
        experiment.all_copied_at_line(&swaps);
    });
}

/// One byte written on each of 256 pages: 256 copies, at that line.
#[test]
fn bytearray_page_by_page() {
    on_every_build("bytearray.py", None, "bytearray.py", |experiment| {
        let faults = experiment.in_buffer();
        assert_eq!(faults.len(), 256);
        experiment.all_copied_at_line(&faults);
        for fault in faults {
            assert_eq!((fault.address - experiment.told.start) % 4096, 0, "{fault:?}");
            assert_eq!(fault.operation.kind, "call", "{fault:?}");
            assert_eq!(fault.write.kind, "buffer", "{fault:?}");
            assert_eq!(fault.python.first().and_then(|f| f.op.as_deref()), Some("STORE_SUBSCR"), "{fault:?}");
        }
    });
}

/// The kernel writes the same for a system call: the line is the call's, the operation is the kernel's.
#[test]
fn read_into_a_buffer() {
    on_every_build("readinto.py", None, "readinto.py", |experiment| {
        let faults = experiment.in_buffer();
        assert!((256..=259).contains(&faults.len()), "{} faults in the buffer", faults.len());
        experiment.all_copied_at_line(&faults);
        for fault in faults {
            assert_eq!(fault.operation.kind, "kernel", "{fault:?}");
            assert_eq!(fault.write.kind, "kernel_copy", "{fault:?}");
            assert_eq!(fault.write.name.as_deref(), Some("read"), "{fault:?}");
        }
    });
}

/// libc writes while the interpreter's lock is released: the line is found all the same.
#[test]
fn memset_without_the_lock() {
    on_every_build("memset.py", None, "memset.py", |experiment| {
        let faults = experiment.in_buffer();
        assert!((256..=258).contains(&faults.len()), "{} faults in the buffer", faults.len());
        experiment.all_copied_at_line(&faults);
        for fault in faults {
            assert_eq!(fault.write.kind, "buffer", "{fault:?}");
            let op = fault.python.first().and_then(|frame| frame.op.as_deref()).unwrap_or_default();
            let calls: &[&str] = match experiment.minor {
                ..=10 => &["CALL_METHOD", "CALL_FUNCTION"],
                // 3.11 has a call in two instructions; both are its.
                11 => &["CALL", "PRECALL"],
                _ => &["CALL"],
            };
            assert!(calls.contains(&op), "{fault:?}");
            let object = fault.native.first().and_then(|frame| frame.object.as_deref()).unwrap_or_default();
            // Before glibc 2.34 its file had its version in the name.
            assert!(object.contains("libc.so") || object.contains("/libc-2."), "{fault:?}");
        }
    });
}

/// Reading objects writes their reference counts: the page of every object, and hardly anything else (the iterator, and
/// the line's own bytecode, which counts how often it runs).
#[test]
fn reading_is_writing() {
    on_every_build("reading.py", None, "reading.py", |experiment| {
        let faults = experiment.at_line();
        let counts = faults
            .iter()
            .filter(|fault| fault.write.kind == "refcount" && fault.write.of.as_deref() == Some("Obj"))
            .count();
        assert!(
            is_share(counts, faults.len(), 90),
            "{counts} of {} are reference counts of Obj",
            faults.len()
        );
        // A page or two may have been private before, for something else that lies on it.
        let pages = experiment.told.pages;
        assert!(counts <= pages && is_share(counts, pages, 90), "{counts} for objects on {pages} pages");
    });
}

/// A collection in a child writes the header of every object, and is one collection, of all generations.
#[test]
fn collection_in_a_child() {
    on_every_build("collect.py", None, "collect.py", |experiment| {
        let faults = experiment.at_line();
        let headers =
            faults.iter().filter(|f| f.write.kind == "gc_header" && f.operation.kind == "gc").count();
        assert!(faults.len() >= 300, "{} faults at the line", faults.len());
        assert!(
            is_share(headers, faults.len(), experiment.collected()),
            "{headers} of {} are the collector's",
            faults.len()
        );
        let collection = experiment.collection();
        assert_eq!(collection.generation, experiment.generation(2), "{collection:?}");
        experiment.has_share(collection, &faults, experiment.collected());
    });
}

/// With `gc.freeze()` before the fork it writes none, so that there is no collection of the child's.
#[test]
fn collection_after_a_freeze() {
    on_every_build("collect.py", Some("freeze"), "collect.py", |experiment| {
        let faults = experiment.at_line();
        assert_eq!(experiment.trace.process(experiment.told.pid).generation, 1);
        // 8 on 3.13, 12 without the lock, less on the others; without the freeze they are hundreds.
        assert!(faults.len() <= if experiment.free_threaded { 16 } else { 10 }, "{faults:#?}");
        // The parent's own collection at its end is another matter; and a header that is written elsewhere is a
        // neighbour in the collector's list of something that was made or freed.
        for fault in experiment.trace.faults_of(experiment.told.pid) {
            assert_ne!(fault.operation.kind, "gc", "{fault:#?}");
            assert_eq!(fault.operation.collection, None, "{fault:#?}");
            assert!(fault.write.kind != "gc_header" || !experiment.is_at_line(fault), "{fault:#?}");
        }
        for collection in &experiment.trace.collections {
            assert_ne!(collection.pid, experiment.told.pid, "{collection:?}");
        }
    });
}

/// A collection that the interpreter begins by itself, of what is young: its generation is told, and the line of the
/// object that was one too many.
#[test]
fn young_collection_in_a_child() {
    on_every_build("young.py", None, "young.py", |experiment| {
        let mut faults = experiment.at_line();
        // Objects are made at the same line.
        faults.retain(|fault| fault.write.kind == "gc_header");
        let collection = experiment.collection();
        assert_eq!(collection.generation, experiment.generation(0), "{collection:?}");
        assert!(collection.pages >= 200, "{collection:?}");
        // The line also makes the objects that are too many.
        experiment.has_share(collection, &faults, 90);
    });
}

/// Code that only the child has imported is named by its file and line, and the import is named, too.
#[test]
fn code_born_in_the_child() {
    on_every_build("late.py", None, "late_module.py", |experiment| {
        let faults = experiment.in_buffer();
        assert_eq!(faults.len(), 256);
        experiment.all_copied_at_line(&faults);
        for fault in faults {
            let innermost = fault.python.first().unwrap_or_else(|| panic!("no frame: {fault:?}"));
            assert_eq!(innermost.function, "write_pages", "{fault:?}");
        }
        let imports = |fault: &&Fault| {
            fault.operation.kind == "import" && fault.operation.name.as_deref() == Some("late_module")
        };
        assert!(experiment.trace.faults_of(experiment.told.pid).any(|fault| imports(&fault)), "no import");
    });
}

/// A child that ends right after its one write still tells file and line.
#[test]
fn child_that_is_gone_at_once() {
    on_every_build("gone.py", None, "gone.py", |experiment| {
        let faults = experiment.in_buffer();
        assert_eq!(faults.len(), 1, "{faults:#?}");
        experiment.all_copied_at_line(&faults);
        let innermost = faults[0].python.first().expect("a frame");
        assert_eq!(innermost.function, "write_and_leave");
    });
}

/// A second thread of the child writes: the line is found in its own copy of the bytecode, too, where threads have copies.
#[test]
fn second_thread_of_the_child() {
    on_every_build("second_thread.py", None, "second_thread.py", |experiment| {
        let faults = experiment.in_buffer();
        assert_eq!(faults.len(), 256);
        experiment.all_copied_at_line(&faults);
        for fault in faults {
            assert_ne!(fault.tid, experiment.told.pid, "{fault:?}");
        }
    });
}

/// A loop that the interpreter has compiled: its frame says that the line is near the right one, and is in the function. On
/// interpreters that do not compile, no line says so.
#[test]
fn compiled_loop() {
    if !needs::tracing() {
        return;
    }
    let script = programs::workload("experiments/hot.py");
    let last = programs::line_ending(&script, "  # the last line");
    python::on_each(1, |interpreter| {
        let run = interpreter.run(&script).env("PYTHON_JIT", "1");
        let Experiment { trace, told, .. } = experiment_with_line(interpreter, run, &script, last);
        let in_loop: Vec<&Fault> = trace
            .faults_of(told.pid)
            .filter(|fault| fault.python.first().is_some_and(|frame| frame.function == "read"))
            .collect();
        let counts = in_loop.iter().filter(|fault| fault.write.of.as_deref() == Some("Obj")).count();
        assert!(is_share(counts, told.pages, 90), "{counts} for objects on {} pages", told.pages);
        let near = in_loop.iter().filter(|fault| fault.python[0].approximate).count();
        for fault in &in_loop {
            let site = fault.site.as_ref().expect("a line");
            assert_eq!(site.approximate, fault.python[0].approximate, "{fault:?}");
            assert!(site.line.is_some_and(|line| (last - 3..=last + 1).contains(&line)), "{fault:?}");
        }
        if told.compiles {
            assert!(is_share(near, told.pages, 80), "{near} of {} say so", in_loop.len());
        } else {
            assert_eq!(near, 0);
        }
    });
}

/// A program that has the interpreter's library in it runs the script.
#[test]
fn embedded_in_a_program() {
    if !needs::tracing() {
        return;
    }
    let script = programs::workload("experiments/bytearray.py");
    python::on_each(1, |interpreter| {
        let Some((program, prefix)) = programs::embedding(interpreter) else { return };
        let run =
            Run::new(program).arg(&script).env("PYTHONHOME", prefix).env("PYTHONDONTWRITEBYTECODE", "1");
        all_in_buffer(&experiment_of(interpreter, run, &script));
    });
}

/// A copy of a static interpreter without section headers, so that no symbol can be found, is known by what it tells of
/// itself since 3.13.
#[test]
fn interpreter_without_sections() {
    if !needs::tracing() {
        return;
    }
    let script = programs::workload("experiments/bytearray.py");
    python::on_each(1, |interpreter| {
        let Some(root) = interpreter.root.as_deref().filter(|_| interpreter.minor.1 >= 13) else { return };
        let seen = interpreter.seen(&script);
        let name = format!("python3.{}-without-sections", interpreter.minor.1);
        let copy = seen.with_file_name(name);
        let in_root = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        let mut bytes = std::fs::read(in_root(&interpreter.path)).expect("the interpreter is readable");
        // e_shoff; e_shentsize, e_shnum and e_shstrndx.
        bytes[0x28..0x30].fill(0);
        bytes[0x3a..0x40].fill(0);
        std::fs::write(in_root(&copy), bytes).expect("a copy of the interpreter");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(in_root(&copy), executable).expect("it is ours");
        let run = Run::new("chroot").arg(root).arg(&copy).arg(&seen);
        let run = run.env("PYTHONHOME", "/usr").env("PYTHONDONTWRITEBYTECODE", "1");
        all_in_buffer(&experiment_of(interpreter, run, &script));
        std::fs::remove_file(in_root(&copy)).expect("it is ours");
    });
}

/// The 256 writes of the script with the bytearray.
fn all_in_buffer(experiment: &Experiment) {
    let faults = experiment.in_buffer();
    assert_eq!(faults.len(), 256);
    experiment.all_copied_at_line(&faults);
}
