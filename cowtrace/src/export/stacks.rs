//! The mixed stack of a fault, for every format that shows stacks: the interpreter's frames, outermost first, then the
//! native ones, then the write.
//!
//! Of the native frames those are shown that an interpreter's innermost loop called: what lies outside it is how the
//! interpreter was started and how its frames called each other, which its own frames tell better. The formats that
//! have the native stack by itself have all of it.
//!
//! Stacks of a trace share their beginnings, so they are one tree; a stack is the node of its innermost frame.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::record::schema::{Fault, Id, NativeFrame, Outcome, PythonFrame, Trace, Write};
use crate::report::escape::escape;
use crate::report::words;

/// No name of the target takes more characters than this.
const LONGEST: usize = 512;

/// One frame. Two that are equal are the same row of a table of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Frame<'a> {
    /// A line of interpreted code.
    Python {
        /// Qualified name.
        function: &'a str,
        /// File as the interpreter names it.
        file: &'a str,
        /// Line; `None` = the instruction has none.
        line: Option<u32>,
        /// The line is near the right one.
        approximate: bool,
    },
    /// Native code.
    Native {
        /// Its symbol; `None` = there is none.
        symbol: Option<&'a str>,
        /// File that holds the code; `None` = not known.
        object: Option<&'a str>,
        /// Offset in that file where no symbol tells more; `None` = there is a symbol.
        offset: Option<u64>,
        /// Source file; `None` = no debug information tells.
        file: Option<&'a str>,
        /// Line in it.
        line: Option<u32>,
    },
    /// The write that caused the fault, always innermost.
    Write {
        /// Kind of the write.
        kind: &'a str,
        /// Type of the object.
        of: Option<&'a str>,
        /// Which one, where that is a place of the program rather than one of many objects.
        name: Option<&'a str>,
    },
}

impl<'a> Frame<'a> {
    /// The frame of interpreted code.
    pub(super) fn python(frame: &'a PythonFrame) -> Self {
        let PythonFrame { function, file, line, approximate, op: _ } = frame;
        Self::Python { function, file, line: *line, approximate: *approximate }
    }

    /// The frame of native code.
    pub(super) fn native(frame: &'a NativeFrame) -> Self {
        let (symbol, object) = (frame.symbol.as_deref(), frame.object.as_deref());
        let offset = symbol.is_none().then_some(frame.offset);
        Self::Native { symbol, object, offset, file: frame.file.as_deref(), line: frame.line }
    }

    /// The frame of the write; `None` = it is not in its table.
    pub(super) fn write(write: Option<&'a Write>) -> Self {
        let Some(write) = write else { return Self::Write { kind: "unknown", of: None, name: None } };
        // Every object has a name of its own: a frame for each would hide how much they are together.
        let one_of_many =
            matches!(write.kind, "refcount" | "gc_header" | "object_body" | "allocator" | "buffer");
        let name = write.name.as_deref().filter(|_| !one_of_many);
        Self::Write { kind: write.kind, of: write.of.as_deref(), name }
    }

    /// What it is called, without its place: the function, the symbol, the write in words. Of bounded length.
    pub(super) fn name(&self) -> String {
        match *self {
            Self::Python { function, .. } => bounded(function),
            Self::Native { symbol: Some(symbol), .. } => bounded(symbol),
            Self::Native { object: Some(object), offset, .. } => {
                format!("{}+{:#x}", bounded(file_name(object)), offset.unwrap_or_default())
            }
            Self::Native { offset, .. } => format!("{:#x}", offset.unwrap_or_default()),
            Self::Write { kind: "unknown", .. } => "unknown write".to_owned(),
            Self::Write { kind, name: Some(name), .. } => {
                format!("{} {}", words::kind_words(kind), bounded(name))
            }
            // `dict entry of dict` says it twice.
            Self::Write { kind, of: Some(of), .. } if !kind.starts_with(of) => {
                format!("{} of {}", words::kind_words(kind), bounded(of))
            }
            Self::Write { kind, .. } => words::kind_words(kind),
        }
    }

    /// Its name with its place, for formats that have a frame's name and nothing more: `f (seed/multi.py:9)`.
    pub(super) fn label(&self) -> String {
        match *self {
            Self::Python { file, line, approximate, .. } => {
                let near = if approximate { "~" } else { "" };
                let line = line.map_or_else(String::new, |line| format!(":{near}{line}"));
                format!("{} ({}{line})", self.name(), bounded(last_two(file)))
            }
            Self::Native { symbol: Some(_), file: Some(file), line: Some(line), .. } => {
                format!("{} ({}:{line})", self.name(), bounded(last_two(file)))
            }
            Self::Native { symbol: Some(_), object: Some(object), .. } => {
                format!("{} ({})", self.name(), bounded(file_name(object)))
            }
            Self::Native { .. } | Self::Write { .. } => self.name(),
        }
    }

    /// Its source file, or the file that holds its code, of bounded length; `None` = a write, or not known.
    pub(super) fn file(&self) -> Option<String> {
        match *self {
            Self::Python { file, .. } => Some(bounded(file)),
            Self::Native { file, object, .. } => file.or(object).map(bounded),
            Self::Write { .. } => None,
        }
    }

    /// Its line; `None` = it has none.
    pub(super) const fn line(&self) -> Option<u32> {
        match *self {
            Self::Python { line, .. } | Self::Native { line, .. } => line,
            Self::Write { .. } => None,
        }
    }
}

/// Functions that run an interpreter's frames: CPython's, also by the names of its parts (`.cold`).
const LOOPS: [&str; 1] = ["_PyEval_EvalFrameDefault"];

/// The native frames that belong behind an interpreter's, if there are such: those inside its innermost loop, and the
/// innermost frame in any case, which is the one that wrote. All, if no frame is known to be the loop.
pub(super) fn called(native: &[NativeFrame], interpreted: bool) -> &[NativeFrame] {
    let is_loop = |frame: &NativeFrame| {
        let symbol = frame.symbol.as_deref().unwrap_or_default();
        LOOPS.iter().any(|name| {
            symbol.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    let end = native.iter().position(is_loop).filter(|_| interpreted);
    end.map_or(native, |end| &native[..end.max(1)])
}

/// The text, or its beginning and its end around `…` where it is too long.
pub(super) fn bounded(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let length = text.chars().count();
    if length <= LONGEST {
        return text.to_owned();
    }
    let half = LONGEST / 2;
    text.chars().take(half).chain(['…']).chain(text.chars().skip(length - half)).collect()
}

/// A frame as it stands in a collapsed stack, `frame;frame number`: whatever it is called, it is one frame of one line, and
/// neither its end nor its beginning is taken for something else. What is escaped is so as in reports, `\\x3b` for `;`.
pub(super) fn collapsed(label: &str) -> String {
    let shown = escape(label).replace(';', "\\x3b");
    let escaped = |c: char| format!("\\x{:02x}", u32::from(c));
    let mut text = String::with_capacity(shown.len());
    // Spaces at the ends are cut off by readers, and a line that begins with `#` is a comment to them.
    let inner = shown.trim_start();
    shown[..shown.len() - inner.len()].chars().for_each(|c| text.push_str(&escaped(c)));
    let inner = match inner.strip_prefix('#').filter(|_| text.is_empty()) {
        Some(rest) => {
            text.push_str(&escaped('#'));
            rest
        }
        None => inner,
    };
    let core = inner.trim_end();
    // A number behind a space is read as a second weight.
    let name = core.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let split = name.char_indices().next_back().filter(|(_, c)| c.is_whitespace() && name.len() < core.len());
    if let Some((at, space)) = split {
        text.push_str(&core[..at]);
        text.push_str(&escaped(space));
        text.push_str(&core[name.len()..]);
    } else {
        text.push_str(core);
    }
    inner[core.len()..].chars().for_each(|c| text.push_str(&escaped(c)));
    if text.is_empty() { "?".to_owned() } else { text }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(path)
}

/// File and directory: `__init__.py` and `utils.py` alone are many files.
fn last_two(path: &str) -> &str {
    path.rmatch_indices('/').nth(1).map_or(path, |(at, slash)| &path[at + slash.len()..])
}

/// A stack: its innermost frame's node in the tree of [`Stacks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Stack(u32);

impl Stack {
    /// Its position among the nodes; a node comes after the one that it hangs from.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A node of the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// The frame that called this one; `None` = it is the outermost.
    pub(super) caller: Option<Stack>,
    /// Position in [`Stacks::frames`].
    pub(super) frame: u32,
}

/// Everything that a fault's stack is made of.
type Parts = (Id<Vec<PythonFrame>>, Id<Vec<NativeFrame>>, Id<Write>);

/// The stacks of a trace. Each is put together when the first fault that has it is asked about.
#[derive(Debug)]
pub(super) struct Stacks<'a> {
    trace: &'a Trace,
    frames: Vec<Frame<'a>>,
    of_frame: HashMap<Frame<'a>, u32>,
    nodes: Vec<Node>,
    of_node: HashMap<(Option<Stack>, u32), Stack>,
    of_fault: HashMap<Parts, Stack>,
}

impl<'a> Stacks<'a> {
    /// None yet.
    pub(super) fn new(trace: &'a Trace) -> Self {
        Self {
            trace,
            frames: Vec::new(),
            of_frame: HashMap::new(),
            nodes: Vec::new(),
            of_node: HashMap::new(),
            of_fault: HashMap::new(),
        }
    }

    /// The stack of a fault.
    pub(super) fn of(&mut self, fault: &Fault) -> Stack {
        let parts = (fault.python, fault.native, fault.write);
        if let Some(&stack) = self.of_fault.get(&parts) {
            return stack;
        }
        let trace = self.trace;
        let python = trace.python.get(fault.python).map_or(&[][..], Vec::as_slice);
        let native = trace.native.get(fault.native).map_or(&[][..], Vec::as_slice);
        let native = called(native, !python.is_empty());
        let frames = python.iter().rev().map(Frame::python).chain(native.iter().rev().map(Frame::native));
        let mut caller = None;
        for frame in frames {
            caller = Some(self.node(caller, frame));
        }
        let stack = self.node(caller, Frame::write(trace.writes.get(fault.write)));
        self.of_fault.insert(parts, stack);
        stack
    }

    fn node(&mut self, caller: Option<Stack>, frame: Frame<'a>) -> Stack {
        let next = number(self.frames.len());
        let frame = *self.of_frame.entry(frame).or_insert_with(|| {
            self.frames.push(frame);
            next
        });
        let next = Stack(number(self.nodes.len()));
        *self.of_node.entry((caller, frame)).or_insert_with(|| {
            self.nodes.push(Node { caller, frame });
            next
        })
    }

    /// Every frame met so far.
    pub(super) fn frames(&self) -> &[Frame<'a>] {
        &self.frames
    }

    /// Every node made so far, by [`Stack::index`].
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Positions of a stack's frames in [`Stacks::frames`], outermost first.
    pub(super) fn path(&self, stack: Stack) -> Vec<u32> {
        let up =
            std::iter::successors(self.nodes.get(stack.index()), |node| self.nodes.get(node.caller?.index()));
        let mut path: Vec<u32> = up.map(|node| node.frame).collect();
        path.reverse();
        path
    }
}

/// A position as it is stored. There are fewer than 2³² faults, of which each needs a few frames that others have, too.
fn number(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// Whether a fault copied a page. What weighs stacks by copied bytes leaves the others out.
pub(super) const fn is_copy(fault: &Fault) -> bool {
    matches!(fault.outcome, Outcome::Copy | Outcome::FileCopy)
}
