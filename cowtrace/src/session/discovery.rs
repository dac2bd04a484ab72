//! Finds the interpreter of each image while it starts, and tells the kernel how to walk its frames.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::Arc;

use cowtrace_ebpf::event::fork_flag;
use cowtrace_ebpf::state::{Assignment, ProcessKey};

use super::pipeline::Message;
use super::unwinding::Onward;
use crate::bpf::Plans;
use crate::event::Event;
use crate::interp::{self, Found};
use crate::memory::Live;
use crate::process::maps::Maps;
use crate::record::schema::Interpreter;

/// Looks at an image that are made at every hint; later ones only at powers of two. A look takes some 0.15 ms. An interpreter
/// that is linked into its program is there from the first look on and answers only when it has started, by about the
/// twelfth hint: to stop near there is to know it too late for the first fork.
const EARLY: u32 = 64;

/// What is known of every image that is running.
pub(super) struct Discovery {
    plans: Plans,
    images: HashMap<u64, Image>,
    processes: HashMap<ProcessKey, u64>,
    /// Every interpreter that was met, with the reason if its frames are not seen.
    pub(super) met: Vec<(Interpreter, Option<String>)>,
}

#[derive(Default)]
struct Image {
    settled: bool,
    looks: u32,
    /// The file it runs, as it was seen right after the exec; `None` = by then the process ran something else, or was gone.
    exe: Option<Vec<u8>>,
    /// The mappings in which no interpreter was found: as long as they are the same, there is none.
    without: Option<Arc<Maps>>,
}

impl Discovery {
    /// Begins with the command itself, if one is run.
    pub(super) fn new(plans: Plans, root: Option<ProcessKey>) -> Self {
        let processes = root.into_iter().map(|root| (root, root.start)).collect();
        Self { plans, images: HashMap::new(), processes, met: Vec::new() }
    }

    /// Looks at what a process runs that was there before, so that the kernel can walk its frames from the first fault on.
    pub(super) fn image(&mut self, image: u64, pid: u32, to: &Onward) {
        self.images.entry(image).or_default().exe = exe(pid);
        if let Ok(maps) = Maps::of(pid) {
            self.recognise(pid, image, &Arc::new(maps), to);
        }
    }

    /// A process that was there before runs this image.
    pub(super) fn runs(&mut self, process: ProcessKey, image: u64) {
        self.processes.insert(process, image);
    }

    /// Looks at a process when an event says that it is worth it.
    pub(super) fn event(&mut self, event: &Event, to: &Onward) {
        match event {
            Event::Exec(exec) => {
                self.processes.insert(exec.process, exec.time);
                let comm = fs::read(format!("/proc/{}/comm", exec.process.pid)).unwrap_or_default();
                if comm.trim_ascii_end() == name(&exec.comm).trim_ascii_end() {
                    self.images.entry(exec.time).or_default().exe = exe(exec.process.pid);
                }
                self.look(exec.process, to, true);
            }
            Event::Fork(fork) if fork.flags & fork_flag::THREAD == 0 => {
                self.look(fork.parent, to, true);
                self.processes.insert(fork.child, fork.image);
            }
            Event::Hint(hint) => self.look(hint.process, to, false),
            Event::Exit(exit) if exit.flags & cowtrace_ebpf::event::exit_flag::LAST != 0 => {
                self.processes.remove(&exit.process);
            }
            _ => {}
        }
    }

    fn look(&mut self, process: ProcessKey, to: &Onward, always: bool) {
        let Some(&image) = self.processes.get(&process) else { return };
        let state = self.images.entry(image).or_default();
        state.looks += 1;
        if !always && (state.settled || !(state.looks <= EARLY || state.looks.is_power_of_two())) {
            return;
        }
        let settled = state.settled;
        let Ok(maps) = Maps::of(process.pid) else { return };
        // Events are looked at a little later than they happen: what is seen may be another program's.
        let seen = exe(process.pid);
        if maps.iter().next().is_none() || seen.is_none() || seen != self.images.entry(image).or_default().exe
        {
            log::debug!(
                "process {} is not looked at: it runs another program by now, or is gone",
                process.pid
            );
            return;
        }
        let maps = Arc::new(maps);
        // The other thread ends only after this one.
        let _ = to.send(Message::Saw(process, Arc::clone(&maps), seen));
        if !settled {
            self.recognise(process.pid, image, &maps, to);
        }
    }

    fn recognise(&mut self, pid: u32, image: u64, maps: &Arc<Maps>, to: &Onward) {
        let known = self.images.get(&image).and_then(|image| image.without.as_ref());
        if known.is_some_and(|without| without == maps) {
            return;
        }
        let answer = interp::discover(pid, maps, &Live::new(pid));
        if matches!(answer, interp::Discovery::None) {
            self.images.entry(image).or_default().without = Some(Arc::clone(maps));
        }
        let settled = match answer {
            interp::Discovery::Found(found) => {
                self.found(image, &Arc::new(*found), to);
                true
            }
            interp::Discovery::Unsupported { interpreter, reason } => {
                self.unsupported(image, interpreter, reason.to_string());
                true
            }
            interp::Discovery::NotYet | interp::Discovery::None => false,
        };
        self.images.entry(image).or_default().settled = settled;
    }

    fn found(&mut self, image: u64, found: &Arc<Found>, to: &Onward) {
        let plan = match self.plans.plan(&found.plan) {
            Ok(plan) => plan,
            Err(error) => return self.unsupported(image, found.interpreter.clone(), error.to_string()),
        };
        // Before the kernel knows: what it then sends can be read.
        if to.send(Message::Interpreter(image, Arc::clone(found))).is_err() {
            return;
        }
        let assignment = Assignment {
            runtime: found.runtime,
            type_type: found.type_type,
            // What strings are known by, or names.
            string_type: found.string_type.max(found.symbols),
            plan,
            zero: 0,
        };
        let reason = self.plans.assign(image, assignment).err().map(|error| error.to_string());
        self.meet(found.interpreter.clone(), reason);
    }

    fn unsupported(&mut self, image: u64, interpreter: Interpreter, reason: String) {
        // Plan 0: no further hints.
        if let Err(error) = self.plans.assign(image, Assignment::default()) {
            log::warn!("{error}");
        }
        self.meet(interpreter, Some(reason));
    }

    fn meet(&mut self, interpreter: Interpreter, reason: Option<String>) {
        if !self.met.iter().any(|(other, _)| *other == interpreter) {
            self.met.push((interpreter, reason));
        }
    }
}

/// The file that a process runs at this moment.
fn exe(pid: u32) -> Option<Vec<u8>> {
    fs::read_link(format!("/proc/{pid}/exe")).ok().map(|path| path.into_os_string().into_vec())
}

/// A name of the kernel's without its padding.
fn name(comm: &[u8]) -> &[u8] {
    comm.split(|&byte| byte == 0).next().unwrap_or_default()
}
