//! What is known of the process and the thread at a fault: what it is at, whether its stack is missing, whether the place is one
//! in `sys.modules`.

use cowtrace_ebpf::event::{self as raw, StackEnd, flag};

use super::stack::KnownStack;
use super::{Attributor, ModuleEntry, Phase, keys};
use crate::interp::{Place, Slot};

impl Attributor {
    /// Whether a main thread without interpreter frames is before its first or behind its last. A forked child goes on
    /// where its parent was.
    pub(super) fn phase(
        &mut self,
        fault: &raw::Fault,
        process: usize,
        stack: Option<&KnownStack>,
        fork_stack: Option<&KnownStack>,
    ) -> Option<Phase> {
        let image = self.tree.get(process).image;
        self.names.interpreter_of(image)?;
        if fault.stack != 0 {
            self.ran.insert((process, image));
            // A block that the fork runs has returned: the process ends inside the fork.
            let (stack, fork) = stack.zip(fork_stack)?;
            let beyond = stack.beyond(fork)?;
            if stack.is_block_of(beyond) {
                self.in_block.insert(process);
            }
            return (beyond == 0 && self.in_block.contains(&process)).then_some(Phase::Exit);
        }
        if fault.tid != fault.process.pid {
            return None;
        }
        let ran = self.ran.contains(&(process, image)) || !self.tree.began(process);
        match StackEnd::from_number(fault.stack_end)? {
            StackEnd::NoThreadState | StackEnd::NoFrame if fault.flags & flag::WALKED != 0 => {
                Some(if ran { Phase::Exit } else { Phase::Startup })
            }
            StackEnd::NoPlan if !ran => Some(Phase::Startup),
            _ => None,
        }
    }

    /// Whether interpreter frames should be there and are not, and why.
    pub(super) fn missing(&self, fault: &raw::Fault, image: u64) -> (bool, Option<&'static str>) {
        if self.names.interpreter_of(image).is_none()
            || fault.stack != 0 && self.names.stack(fault.stack).is_some()
        {
            return (false, None);
        }
        if fault.stack != 0 {
            return (true, Some("the stack's names were lost: the buffer was full"));
        }
        match StackEnd::from_number(fault.stack_end) {
            Some(StackEnd::NoThreadState | StackEnd::NoFrame) => (false, None),
            Some(StackEnd::Unreadable) => (true, Some(StackEnd::Unreadable.about())),
            _ => (true, Some("the interpreter was not known yet when it happened")),
        }
    }

    /// The place in `sys.modules`, if the kernel program saw that its table is meant.
    pub(super) fn module_entry(
        &self,
        fault: &raw::Fault,
        process: usize,
        stack: Option<&KnownStack>,
    ) -> Option<ModuleEntry> {
        if fault.flags & flag::MODULE_TABLE == 0 || fault.flags & flag::IMAGE == 0 {
            return None;
        }
        let index = process;
        let process = self.tree.get(index);
        let language = self.names.interpreter_of(process.image)?.language;
        let table = language.module_table(&process.modules)?;
        let place = table.find(fault.address)?;
        let key = &fault.image.key[..(fault.image.key_len as usize).min(fault.image.key.len())];
        let key = (!key.is_empty()).then(|| String::from_utf8_lossy(key).into_owned());
        let imported = || stack.and_then(|stack| stack.imports().pop());
        let word = fault.address.checked_sub(fault.image.address)? / 8;
        let old = fault.image.words.get(usize::try_from(word).ok()?).copied()?;
        let existing = |key| Some(ModuleEntry { key, existing: true });
        let new = |key| Some(ModuleEntry { key, existing: false });
        match place {
            Place::Header(_) => None,
            Place::Entry { slot: Slot::Value, .. } | Place::NewEntry { slot: Slot::Value, .. } => {
                Some(ModuleEntry { existing: old != 0, key: key.or_else(imported) })
            }
            // A key that is taken away; of entries that are newer than the fork the names are not known.
            Place::Entry { slot: Slot::Key, index: entry } if old != 0 => {
                existing(self.keys.name(index, &table, entry))
            }
            Place::NewEntry { slot: Slot::Key, .. } if old != 0 => existing(None),
            Place::Index => match keys::index_entry(&table, fault.address, &fault.image) {
                Some(entry) => existing(self.keys.name(index, &table, entry)),
                None => new(imported()),
            },
            Place::Entry { .. } | Place::NewEntry { .. } => new(imported()),
        }
    }
}
