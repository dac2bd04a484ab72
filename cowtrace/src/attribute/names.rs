//! Names that the kernel program sends ahead of what uses them: code objects, types, texts, stacks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use cowtrace_ebpf::event::{self as raw, StackEnd};
use cowtrace_ebpf::plan::{Plan, UNUSED, walker};
use cowtrace_ebpf::state::ProcessKey;

use super::stack::{KnownFrame, KnownStack};
use super::types::{KnownType, Types};
use super::{library, requires};
use crate::event::{Code, Stack};
use crate::interp::{CodeFacts, Found};
use crate::memory::{Live, Memory};
use crate::record::schema::{FrameLanguage, PythonFrame, Table};

/// Texts that are kept; they are needed until the stack that follows them.
const MOST_TEXTS: usize = 4096;

/// Addresses that are remembered to be no types.
const MOST_NO_TYPES: usize = 1 << 16;
/// Classes whose names are remembered.
const MOST_CLASSES: usize = 1 << 16;
/// Bytecode units of a code object that are believed.
const MOST_UNITS: u64 = 1 << 20;

/// Names, by where they lie in an image.
#[derive(Default)]
pub(super) struct Names {
    interpreters: HashMap<u64, Arc<Found>>,
    codes: HashMap<(u64, u64, u64), KnownCode>,
    texts: HashMap<(ProcessKey, u64), raw::ShortText>,
    stacks: HashMap<u64, Arc<KnownStack>>,
    types: Types,
    /// Addresses that turned out to be no types.
    no_types: HashSet<(u64, u64)>,
    /// Bytecode units of code objects, by image and address.
    bytecode: BTreeMap<(u64, u64), u64>,
    /// What instructions remember, by image and address: its end, and what it is.
    caches: BTreeMap<(u64, u64), (u64, &'static str)>,
    /// Names of classes, by image and address; `None` = it is none, or has no name.
    classes: HashMap<(u64, u64), Option<String>>,
}

/// `tp_name` of a type made in C has its module in front; the short name is what people know it by.
fn short(name: &str) -> String {
    name.rsplit('.').next().unwrap_or_default().to_owned()
}

struct KnownCode {
    file: String,
    function: String,
    first_line: i32,
    lines: Vec<u8>,
    whole: bool,
}

impl Names {
    /// An image runs this interpreter.
    pub(super) fn interpreter(&mut self, image: u64, found: Arc<Found>) {
        self.interpreters.insert(image, found);
    }

    /// The interpreter that an image runs; `None` = none is known.
    #[must_use]
    pub(super) fn interpreter_of(&self, image: u64) -> Option<&Arc<Found>> {
        self.interpreters.get(&image)
    }

    /// Whether the collector of an image's interpreter has generations whose counts the kernel program reads.
    #[must_use]
    pub(super) fn counts_generations(&self, image: u64) -> bool {
        self.interpreters.get(&image).is_some_and(|found| {
            let Plan { interpreter_gc_counts, runtime_gc_counts, walker, .. } = found.plan;
            walker == walker::STACKED || interpreter_gc_counts != UNUSED || runtime_gc_counts != UNUSED
        })
    }

    /// Types, by image and address.
    #[must_use]
    pub(super) const fn types(&self) -> &Types {
        &self.types
    }

    /// The stack with this hash; `None` = its definition was lost.
    #[must_use]
    pub(super) fn stack(&self, hash: u64) -> Option<&Arc<KnownStack>> {
        self.stacks.get(&hash)
    }

    /// A code object.
    pub(super) fn code(&mut self, code: &Code, relatives: &[Rc<Live>]) {
        let Some(found) = self.interpreters.get(&code.image) else { return };
        let language = found.language;
        let name = |characters, state, bytes: &[u8]| {
            language.string(state, characters, bytes).unwrap_or_else(|| "(unreadable)".to_owned())
        };
        let native = language.native_file(code.owner);
        let whole = native.is_some() || language.is_whole(&found.plan, code);
        let read = || relatives.iter().find_map(|memory| language.whole_lines(&found.plan, &**memory, code));
        let lines = if whole { None } else { read() };
        let known = KnownCode {
            whole: whole || lines.is_some(),
            file: match native {
                Some(file) => file.to_owned(),
                None => name(code.file.characters, code.file.state, &code.file.bytes),
            },
            function: name(code.name.characters, code.name.state, &code.name.bytes),
            first_line: code.first_line,
            lines: lines.unwrap_or_else(|| code.lines.clone()),
        };
        for (range, what) in language.caches(code) {
            self.caches.insert((code.image, range.start), (range.end, what));
        }
        if (1..MOST_UNITS).contains(&code.units) {
            self.bytecode.insert((code.image, code.address), code.units);
        }
        self.codes.insert((code.image, code.address, code.identity), known);
    }

    /// A string that a stack will refer to.
    pub(super) fn text(&mut self, text: &raw::Text) {
        if self.texts.len() >= MOST_TEXTS {
            self.texts.clear();
        }
        self.texts.insert((text.process, text.address), text.text);
    }

    /// A type. Its name lies in a file's read-only data, which a child that was just forked has not mapped yet: then it is
    /// read from a relative that has the same image, or from the file.
    pub(super) fn define_type(
        &mut self,
        record: &raw::Type,
        relatives: &[Rc<Live>],
        in_file: impl FnOnce(u64) -> Option<String>,
    ) {
        let len = (record.len as usize).min(record.name.len());
        let bytes = record.name[..len].split(|&byte| byte == 0).next().unwrap_or_default();
        let found = self.interpreters.get(&record.image);
        let name = if bytes.is_empty() {
            let in_memory = found.and_then(|found| {
                relatives.iter().find_map(|memory| {
                    found.language.type_name(&found.plan, &**memory, found.type_type, record.address)
                })
            });
            in_memory.or_else(|| in_file(record.name_address))
        } else {
            // Its end may be cut; a name that is none is that of something else.
            let name = String::from_utf8_lossy(bytes);
            let name = name.trim_end_matches(char::REPLACEMENT_CHARACTER);
            let is_none = name.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER);
            (!is_none).then(|| name.to_owned())
        };
        if let Some(name) = name.map(|name| short(&name)).filter(|name| !name.is_empty()) {
            self.types.insert((record.image, record.address), KnownType { name, flags: record.flags });
        }
    }

    /// A type that was met in memory: read now, if it is one.
    pub(super) fn learn_type(&mut self, image: u64, address: u64, found: &Found, relatives: &[Rc<Live>]) {
        let key = (image, address);
        if address < 0x1_0000 || self.types.contains_key(&key) || self.no_types.contains(&key) {
            return;
        }
        if self.no_types.len() >= MOST_NO_TYPES {
            self.no_types.clear();
        }
        let Found { language, plan, type_type, .. } = found;
        let learned = relatives.iter().find_map(|memory| {
            let name = language.type_name(plan, &**memory, *type_type, address)?;
            let flags = memory.u64(address.checked_add(plan.type_flags.into())?).ok()?;
            Some(KnownType { name: short(&name), flags })
        });
        match learned {
            Some(known) => drop(self.types.insert(key, known)),
            None => drop(self.no_types.insert(key)),
        }
    }

    /// Whether an address lies in the bytecode of a code object that is known.
    pub(super) fn is_bytecode(&self, image: u64, address: u64, plan: &Plan) -> bool {
        let Some((&(of, start), &units)) = self.bytecode.range(..=(image, address)).next_back() else {
            return false;
        };
        let offset = address.wrapping_sub(start).wrapping_sub(plan.code_bytecode.into());
        of == image && offset < units.saturating_mul(2)
    }

    /// What an address is of what the instructions of a known code object remember.
    pub(super) fn cache(&self, image: u64, address: u64) -> Option<&'static str> {
        let (&(of, _), &(end, what)) = self.caches.range(..=(image, address)).next_back()?;
        (of == image && address < end).then_some(what)
    }

    /// The name of a class.
    pub(super) fn class(
        &mut self,
        image: u64,
        class: u64,
        found: &Found,
        relatives: &[Rc<Live>],
    ) -> Option<String> {
        if class == 0 {
            return None;
        }
        if self.classes.len() >= MOST_CLASSES {
            self.classes.clear();
        }
        let read = || relatives.iter().find_map(|memory| found.language.class_name(found, &**memory, class));
        self.classes.entry((image, class)).or_insert_with(read).clone()
    }

    /// A stack, whose code objects and texts have come before it.
    pub(super) fn define_stack(
        &mut self,
        stack: &Stack,
        image: u64,
        relatives: &[Rc<Live>],
        table: &mut Table<Vec<PythonFrame>>,
    ) {
        let Some(found) = self.interpreters.get(&image).map(Arc::clone) else { return };
        let mut frames: Vec<KnownFrame> = stack
            .frames
            .iter()
            .enumerate()
            .map(|(depth, frame)| self.frame(&found, image, stack.process, frame, depth == 0))
            .collect();
        if found.plan.walker == walker::STACKED {
            requires::mark(&mut frames);
        }
        let id = table.intern(frames.iter().map(|frame| frame.shown.clone()).collect());
        let cut = (stack.end != StackEnd::Complete).then(|| stack.end.about());
        let stored = stack.frames.first().filter(|frame| frame.unit_read != 0).and_then(|frame| {
            let Found { language, plan, string_type, .. } = &*found;
            relatives.iter().find_map(|memory| {
                language.stored_name(plan, &**memory, *string_type, frame.code, frame.unit)
            })
        });
        let known = KnownStack { stored, ..KnownStack::new(id, frames, cut) };
        self.stacks.insert(stack.hash, Arc::new(known));
    }

    fn frame(
        &self,
        found: &Found,
        image: u64,
        process: ProcessKey,
        frame: &raw::Frame,
        innermost: bool,
    ) -> KnownFrame {
        let language = found.language;
        let op = (frame.unit_read != 0).then(|| language.opcode(frame.unit, innermost)).flatten();
        let approximate = frame.unit_read != 0 && language.enters_compiled(frame.unit);
        let imports = (frame.argument != 0)
            .then(|| self.texts.get(&(process, frame.argument)))
            .flatten()
            .and_then(|text| language.string(text.state, text.characters, &text.bytes));
        let stacked = found.plan.walker == walker::STACKED;
        let of = if stacked { FrameLanguage::Ruby } else { FrameLanguage::Python };
        let Some(code) = self.codes.get(&(image, frame.code, frame.identity)) else {
            let unknown = "(lost)".to_owned();
            return KnownFrame {
                shown: PythonFrame {
                    language: of,
                    function: unknown.clone(),
                    file: unknown,
                    line: None,
                    approximate,
                    op,
                },
                library: library::Library::Installed,
                imports,
                place: (frame.identity, frame.instruction),
            };
        };
        let facts = CodeFacts { address: frame.code, first_line: code.first_line, lines: &code.lines };
        let line = language.frame(&found.plan, &facts, frame.instruction).line;
        // A table that was cut gives no lines behind the cut, and none before it that would be wrong.
        let has_lines = language.native_file(frame.owner).is_none();
        let line =
            line.or_else(|| if code.whole && has_lines { u32::try_from(code.first_line).ok() } else { None });
        KnownFrame {
            library: library::of_file(&code.file),
            shown: PythonFrame {
                language: of,
                function: code.function.clone(),
                file: code.file.clone(),
                line,
                approximate,
                op,
            },
            imports,
            place: (frame.identity, frame.instruction),
        }
    }
}
