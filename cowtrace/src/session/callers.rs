//! Unwinds the stacks that the kernel program copies, and tells it by which words it knows them again. Until
//! a place has its template, every fault there costs the traced program a copy.

use std::collections::HashMap;
use std::sync::Arc;

use cowtrace_ebpf::event::exit_flag;
use cowtrace_ebpf::native::{ALTERNATIVES, FIRST_ID, Template};
use cowtrace_ebpf::state::ProcessKey;

use crate::bpf::Templates;
use crate::event::{Event, StackCopy};
use crate::process::maps::Maps;
use crate::unwind::{self, End, Tables, Unwound};

/// Different stacks that are kept; of further ones the innermost function is.
const MAX_STACKS: usize = 1 << 18;
/// Places whose templates are remembered here, as many as the kernel's table holds.
const MAX_PLACES: usize = 8192;
/// Times that a process's mappings are read again because a stack led out of them.
const MOST_READS: u32 = 64;

/// What copies turned out to be.
#[derive(Default)]
pub(super) struct Answers {
    /// Stacks that were not met before, by number.
    pub(super) stacks: Vec<(u64, Arc<Unwound>)>,
    /// Number of the stack of each copy.
    pub(super) copies: Vec<(u64, u64)>,
}

impl Answers {
    /// Whether there is nothing to tell.
    pub(super) const fn is_empty(&self) -> bool {
        self.stacks.is_empty() && self.copies.is_empty()
    }
}

/// What is known of native stacks.
pub(super) struct Callers {
    templates: Templates,
    tables: Tables,
    processes: HashMap<ProcessKey, Mapped>,
    places: HashMap<u64, Place>,
    stacks: HashMap<Arc<Unwound>, u64>,
}

#[derive(Clone, Default)]
struct Mapped {
    maps: Arc<Maps>,
    reads: u32,
}

/// The templates of one place.
#[derive(Default)]
struct Place {
    templates: Vec<Template>,
    /// Which one makes room next.
    oldest: usize,
}

impl Callers {
    pub(super) fn new(templates: Templates) -> Self {
        Self {
            templates,
            tables: Tables::default(),
            processes: HashMap::new(),
            places: HashMap::new(),
            stacks: HashMap::new(),
        }
    }

    /// What a process has mapped, as it was seen just now.
    pub(super) fn saw(&mut self, process: ProcessKey, maps: Arc<Maps>) {
        self.processes.entry(process).or_default().maps = maps;
    }

    /// Follows what processes have mapped: a child begins with what its parent had.
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Fork(fork) if fork.child != fork.parent => {
                if let Some(parent) = self.processes.get(&fork.parent) {
                    let child = Mapped { maps: Arc::clone(&parent.maps), reads: 0 };
                    self.processes.insert(fork.child, child);
                }
            }
            Event::Exec(exec) => {
                self.processes.remove(&exec.process);
            }
            Event::Exit(exit) if exit.flags & exit_flag::LAST != 0 => {
                self.processes.remove(&exit.process);
            }
            _ => {}
        }
    }

    /// Unwinds a copy.
    pub(super) fn copy(&mut self, copy: &StackCopy, answers: &mut Answers) {
        let place = self.places.get(&copy.key);
        let known = place.and_then(|place| place.templates.iter().find(|known| unwind::fits(known, copy)));
        if let Some(known) = known {
            // It was copied before the kernel had the template, or the kernel has dropped it.
            answers.copies.push((copy.id, known.id));
            return self.put(copy.key);
        }
        let unwind::Known { stack, template } = self.unwind(copy);
        let id = self.number(stack, answers);
        answers.copies.push((copy.id, id));
        if let Some(template) = template {
            self.remember(copy.key, Template { id, ..template });
            self.put(copy.key);
        }
    }

    fn unwind(&mut self, copy: &StackCopy) -> unwind::Known {
        let pid = copy.process.pid;
        let mapped = self.processes.entry(copy.process).or_default();
        let known = unwind::unwind(&mut self.tables, pid, &mapped.maps, copy);
        if known.stack.end != End::NoCode || mapped.reads >= MOST_READS {
            return known;
        }
        mapped.reads += 1;
        match Maps::of(pid) {
            Ok(maps) if maps.iter().next().is_some() => mapped.maps = Arc::new(maps),
            // Gone already: what its parent had mapped is all there is.
            Ok(_) | Err(_) => return known,
        }
        unwind::unwind(&mut self.tables, pid, &mapped.maps, copy)
    }

    fn number(&mut self, stack: Unwound, answers: &mut Answers) -> u64 {
        let stack = if self.stacks.len() < MAX_STACKS {
            stack
        } else {
            let innermost = stack.addresses.first().copied();
            Unwound { addresses: innermost.into_iter().collect(), end: End::TooMany }
        };
        if let Some(&id) = self.stacks.get(&stack) {
            return id;
        }
        let id = FIRST_ID + self.stacks.len() as u64;
        let stack = Arc::new(stack);
        self.stacks.insert(Arc::clone(&stack), id);
        answers.stacks.push((id, stack));
        id
    }

    fn remember(&mut self, key: u64, template: Template) {
        if self.places.len() >= MAX_PLACES && !self.places.contains_key(&key) {
            self.places.clear();
        }
        let place = self.places.entry(key).or_default();
        if (place.templates.len() as u64) < ALTERNATIVES {
            place.templates.push(template);
        } else {
            place.templates[place.oldest] = template;
            place.oldest = (place.oldest + 1) % place.templates.len();
        }
    }

    fn put(&mut self, key: u64) {
        let templates = self.places.get(&key).map_or(&[][..], |place| &place.templates);
        for (alternative, template) in (0..).zip(templates) {
            if let Err(error) = self.templates.put(key.wrapping_add(alternative), template) {
                log::warn!("{error}");
            }
        }
    }
}
