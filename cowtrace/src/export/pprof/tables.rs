//! What samples name by a number: strings, functions, locations, mappings.

use std::collections::HashMap;

use super::proto::{Function, Line, Location, Mapping};
use crate::export::stacks::{Frame, bounded};
use crate::record::schema::{NativeFrame, Trace};
use crate::report::escape::escape;

/// Strings by their position; the first is empty. Readers print them on terminals as they are: what would act there is
/// escaped as in reports.
pub(super) struct Strings {
    all: Vec<String>,
    positions: HashMap<String, i64>,
}

impl Strings {
    pub(super) fn new() -> Self {
        Self { all: vec![String::new()], positions: HashMap::from([(String::new(), 0)]) }
    }

    pub(super) fn of(&mut self, text: &str) -> i64 {
        let text = escape(text);
        if let Some(&position) = self.positions.get(&text) {
            return position;
        }
        let position = i64::try_from(self.all.len()).unwrap_or(i64::MAX);
        self.all.push(text.clone());
        self.positions.insert(text, position);
        position
    }

    pub(super) fn into_all(self) -> Vec<String> {
        self.all
    }
}

/// Places in code.
pub(super) struct Places<'a> {
    strings: Strings,
    mappings: Vec<Mapping>,
    /// By the file.
    of_mapping: HashMap<&'a str, usize>,
    functions: Vec<Function>,
    /// By name and file.
    of_function: HashMap<(i64, i64), u64>,
    locations: Vec<Location>,
    /// By the frame and, of native code, its offset.
    of_location: HashMap<(Frame<'a>, Option<u64>), u64>,
}

impl<'a> Places<'a> {
    /// With a mapping for each file of the trace's native code, the command's own first: pprof takes that one for the main
    /// program.
    ///
    /// A file lies at many addresses in many processes. In the profile each has a range of its own, so that an address
    /// there names file and offset.
    pub(super) fn new(trace: &'a Trace) -> Self {
        let mut sizes: Vec<(&str, u64)> = Vec::new();
        let mut of_mapping: HashMap<&str, usize> = HashMap::new();
        let program = trace.processes.first().and_then(|process| process.exe.as_deref());
        let frames = trace.native.values().iter().flatten();
        let used = frames.filter_map(|frame| Some((frame.object.as_deref()?, frame.offset)));
        for (object, offset) in program.map(|program| (program, 0)).into_iter().chain(used) {
            let position = *of_mapping.entry(object).or_insert_with(|| {
                sizes.push((object, 0));
                sizes.len() - 1
            });
            sizes[position].1 = sizes[position].1.max(offset.saturating_add(1));
        }
        // Nothing lies on the first page.
        let page = trace.header.pages().bytes();
        let (mut strings, mut start) = (Strings::new(), page);
        let mappings = sizes.iter().zip(1..).map(|((object, size), id)| {
            let limit = start.saturating_add(size.next_multiple_of(page));
            let (memory_start, memory_limit) = (start, limit);
            start = limit;
            let filename = strings.of(&bounded(object));
            // Where a symbol is missing, none could be found: nobody needs to look again.
            Mapping { id, memory_start, memory_limit, filename, has_functions: true }
        });
        let mappings = mappings.collect();
        Self {
            strings,
            mappings,
            of_mapping,
            functions: Vec::new(),
            of_function: HashMap::new(),
            locations: Vec::new(),
            of_location: HashMap::new(),
        }
    }

    /// The strings of everything.
    pub(super) const fn strings(&mut self) -> &mut Strings {
        &mut self.strings
    }

    /// The location of native code.
    pub(super) fn native(&mut self, frame: &'a NativeFrame) -> u64 {
        self.location(Frame::native(frame), Some(frame.offset))
    }

    /// The location of any other frame.
    pub(super) fn of(&mut self, frame: Frame<'a>) -> u64 {
        self.location(frame, None)
    }

    fn location(&mut self, frame: Frame<'a>, offset: Option<u64>) -> u64 {
        if let Some(&id) = self.of_location.get(&(frame, offset)) {
            return id;
        }
        let function_id = self.function(&frame);
        let line = Line { function_id, line: frame.line().unwrap_or_default().into() };
        let mapping = match frame {
            Frame::Native { object: Some(object), .. } => self.of_mapping.get(object),
            Frame::Native { .. } | Frame::Python { .. } | Frame::Write { .. } => None,
        };
        let mapping = mapping.and_then(|position| self.mappings.get(*position));
        let start = mapping.map_or(0, |mapping| mapping.memory_start);
        let id = self.locations.len() as u64 + 1;
        self.locations.push(Location {
            id,
            mapping_id: mapping.map_or(0, |mapping| mapping.id),
            address: offset.map_or(0, |offset| start.saturating_add(offset)),
            line: vec![line],
        });
        self.of_location.insert((frame, offset), id);
        id
    }

    fn function(&mut self, frame: &Frame<'_>) -> u64 {
        let name = self.strings.of(&frame.name());
        let filename = self.strings.of(&frame.file().unwrap_or_default());
        let next = self.functions.len() as u64 + 1;
        *self.of_function.entry((name, filename)).or_insert_with(|| {
            self.functions.push(Function { id: next, name, system_name: name, filename });
            next
        })
    }

    /// Everything that was named.
    pub(super) fn into_parts(self) -> (Vec<Mapping>, Vec<Location>, Vec<Function>, Strings) {
        (self.mappings, self.locations, self.functions, self.strings)
    }
}
