//! The native stack of a fault, with its symbols, and the place in native code that it is named by.

use std::collections::HashMap;
use std::sync::Arc;

use cowtrace_ebpf::event as raw;
use cowtrace_ebpf::native::{FIRST_COPY, FIRST_ID, Unrecorded};

use super::Attributor;
use super::code::Symbol;
use crate::process::tree::Mapped;
use crate::record::schema::{Id, NativeFrame, Site};
use crate::unwind::{End, Unwound};

/// Copies whose fault has not come yet; those of faults that were lost stay.
const MAX_COPIES: usize = 1 << 18;
/// Stacks whose symbols are remembered.
const MAX_NAMED: usize = 1 << 18;

/// Native stacks by number.
#[derive(Debug, Default)]
pub(super) struct Callers {
    stacks: HashMap<u64, Arc<Unwound>>,
    copies: HashMap<u64, u64>,
    /// By the process's mappings, the stack and, of those that were not recorded, the address.
    named: HashMap<(u64, u64, u64), NamedStack>,
}

/// A native stack with its symbols.
#[derive(Clone, Debug)]
pub(super) struct NamedStack {
    pub(super) id: Id<Vec<NativeFrame>>,
    /// Innermost first.
    pub(super) frames: Arc<[NativeFrame]>,
}

impl Attributor {
    /// What native stacks turned out to be. Comes before the faults that have them.
    pub fn callers(&mut self, stacks: Vec<(u64, Arc<Unwound>)>, copies: Vec<(u64, u64)>) {
        self.callers.stacks.extend(stacks);
        if self.callers.copies.len() >= MAX_COPIES {
            self.callers.copies.clear();
        }
        self.callers.copies.extend(copies);
    }

    /// The native stack of a fault: at least its innermost frame, if its code is known.
    pub(super) fn native_stack(
        &mut self,
        process: usize,
        fault: &raw::Fault,
        symbol: Option<&Symbol>,
    ) -> NamedStack {
        let number = match fault.native {
            copy @ FIRST_COPY.. => self.callers.copies.remove(&copy).unwrap_or(Unrecorded::Limit as u64),
            number => number,
        };
        let mapped = self.tree.maps_at(process, fault.ip).map_or(0, |Mapped { id, .. }| id);
        let place = (mapped, number, if number < FIRST_ID { fault.ip } else { 0 });
        if let Some(named) = self.callers.named.get(&place) {
            return named.clone();
        }
        let mut frames: Vec<NativeFrame> = symbol.map_or_else(Vec::new, |symbol| symbol.frames.to_vec());
        match self.callers.stacks.get(&number).map(Arc::clone) {
            Some(stack) => {
                for &address in stack.addresses.iter().skip(1) {
                    frames.extend(self.native_frames(process, address));
                }
                if stack.end != End::Complete && !frames.is_empty() {
                    frames.push(missing(stack.end.about()));
                }
            }
            None if frames.is_empty() => {}
            None => frames.extend(Unrecorded::from_number(number).and_then(not_recorded)),
        }
        let id = self.output.native.intern(frames.clone());
        let named = NamedStack { id, frames: frames.into() };
        if self.callers.named.len() >= MAX_NAMED {
            self.callers.named.clear();
        }
        self.callers.named.insert(place, named.clone());
        named
    }

    fn native_frames(&mut self, process: usize, address: u64) -> Vec<NativeFrame> {
        let pid = self.tree.witness(process);
        let mapped = self.tree.maps_at(process, address);
        let mapping = mapped.as_ref().and_then(|mapped| mapped.maps.find(address));
        mapping.map_or_else(
            || vec![NativeFrame { offset: address, ..NativeFrame::default() }],
            |mapping| self.native.frames(pid, mapping, address),
        )
    }

    /// A place in native code: the innermost function that is not one of the language's own library, which many call for
    /// many reasons; if all are, or none else is known, the innermost. It is the user's own in the file that a process runs,
    /// if that is no interpreter, and then with its line where debug information tells.
    pub(super) fn native_site(&mut self, process: usize, stack: &NamedStack) -> Option<Site> {
        let caller =
            stack.frames.iter().find(|frame| frame.object.as_deref().is_some_and(|path| !is_runtime(path)));
        let NativeFrame { symbol, object, offset, file, line, .. } =
            caller.or_else(|| stack.frames.first())?;
        let module = object.as_deref().and_then(|path| path.rsplit('/').next()).unwrap_or("(no file)");
        let function = symbol.clone().unwrap_or_else(|| format!("{module}+{offset:#x}"));
        let own = object.is_some() && *object == self.own_object(process);
        let library = (!own).then(|| module.to_owned());
        // Of a library it is of use which one it is, as for those without debug information.
        let (file, line) = file.as_ref().filter(|_| own).map_or((object, None), |_| (file, *line));
        Some(Site { file: file.clone(), line, approximate: false, function: Some(function), library })
    }
}

/// Libraries that come with a language or stand in for a part of it: allocators among others. By the start of their names.
const RUNTIME: [&str; 12] = [
    "libc.so",
    "libc-",
    "libm.so",
    "libpthread",
    "ld-linux",
    "ld-musl",
    "libstdc++",
    "libgcc_s",
    "libjemalloc",
    "libtcmalloc",
    "libmimalloc",
    "[vdso]",
];

fn is_runtime(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    RUNTIME.iter().any(|runtime| name.starts_with(runtime))
}

/// Stands for the callers that are not known.
fn missing(why: &str) -> NativeFrame {
    NativeFrame { symbol: Some(format!("[{why}]")), ..NativeFrame::default() }
}

fn not_recorded(why: Unrecorded) -> Option<NativeFrame> {
    match why {
        Unrecorded::NotAsked => None,
        Unrecorded::Limit | Unrecorded::NoRegisters | Unrecorded::Unreadable | Unrecorded::Processor => {
            Some(missing(&format!("callers not recorded: {}", why.about())))
        }
    }
}
