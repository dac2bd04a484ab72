//! Copied bytes by stack: the interpreter's frames, outermost first, then the native ones that they called.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;

use super::limits::Limits;
use super::strings::{Strings, Words};
use super::timeline::copies;
use crate::record::schema::{Id, NativeFrame, PythonFrame, Trace};
use crate::report::escape::escape;
use crate::report::view::View;

/// Frames of the whole tree, at most; the lightest stacks are one frame then.
const NODES: usize = 20_000;
/// Frames of one stack, at most: the innermost ones.
const DEPTH: usize = 200;

/// Whose frame it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Sort {
    Python = 0,
    Native = 1,
    /// Stands for others, or for none.
    Other = 2,
}

/// The tree of frames and what was copied in each; columns.
#[derive(Serialize, Default)]
pub(super) struct Flame {
    /// For each frame: 0 = outermost, otherwise one more than its parent, which comes before it.
    parent: Vec<usize>,
    name: Vec<usize>,
    sort: Vec<u8>,
    /// What was copied in a frame itself, by cause.
    node: Vec<usize>,
    cause: Vec<usize>,
    pub(super) pages: Vec<u64>,
    pub(super) bytes: Vec<u64>,
    /// Stacks that are one frame because there are too many.
    merged: usize,
    #[serde(skip)]
    children: HashMap<(usize, Sort, usize), usize>,
}

type StackId = (Id<Vec<PythonFrame>>, Id<Vec<NativeFrame>>);

/// The stacks of all copies.
pub(super) fn flame(trace: &Trace, view: &View<'_>, limits: &Limits, strings: &mut Strings) -> Flame {
    let mut stacks: HashMap<StackId, HashMap<usize, (u64, u64)>> = HashMap::new();
    for (fault, cause) in copies(trace, view, limits) {
        let (pages, bytes) =
            stacks.entry((fault.python, fault.native)).or_default().entry(cause).or_default();
        *pages += 1;
        *bytes += fault.bytes;
    }
    let mut stacks: Vec<(StackId, Vec<(usize, (u64, u64))>)> =
        stacks.into_iter().map(|(stack, causes)| (stack, causes.into_iter().collect())).collect();
    let weight = |causes: &[(usize, (u64, u64))]| causes.iter().map(|(_, (_, bytes))| bytes).sum::<u64>();
    stacks.sort_by_key(|((python, native), causes)| {
        (Reverse(weight(causes)), python.index(), native.index())
    });
    let mut flame = Flame::default();
    let mut rest: HashMap<usize, (u64, u64)> = HashMap::new();
    let mut frames = Frames { python: Words::new(), native: Words::new(), numbers: HashMap::new() };
    for (stack, mut causes) in stacks {
        causes.sort_unstable();
        if flame.parent.len() + DEPTH > NODES {
            flame.merged += 1;
            for (cause, (pages, bytes)) in causes {
                let sum = rest.entry(cause).or_default();
                *sum = (sum.0 + pages, sum.1 + bytes);
            }
            continue;
        }
        let mut node = 0;
        for (sort, name) in frames.of(trace, stack, strings) {
            node = flame.child(node, sort, name);
        }
        flame.add(node, causes);
    }
    if flame.merged > 0 {
        let name = strings.intern("(other stacks)".to_owned());
        let node = flame.child(0, Sort::Other, name);
        let mut rest: Vec<_> = rest.into_iter().collect();
        rest.sort_unstable();
        flame.add(node, rest);
    }
    flame
}

impl Flame {
    /// One more than the position of this child of a frame, which is made if it is new.
    fn child(&mut self, parent: usize, sort: Sort, name: usize) -> usize {
        *self.children.entry((parent, sort, name)).or_insert_with(|| {
            self.parent.push(parent);
            self.name.push(name);
            self.sort.push(sort as u8);
            self.parent.len()
        })
    }

    fn add(&mut self, node: usize, causes: Vec<(usize, (u64, u64))>) {
        for (cause, (pages, bytes)) in causes {
            self.node.push(node - 1);
            self.cause.push(cause);
            self.pages.push(pages);
            self.bytes.push(bytes);
        }
    }
}

/// Names of frames, made once for each.
struct Frames<'a> {
    python: Words,
    native: Words,
    numbers: HashMap<FrameOf<'a>, usize>,
}

#[derive(PartialEq, Eq, Hash)]
enum FrameOf<'a> {
    Python(&'a PythonFrame),
    Native(&'a NativeFrame),
}

impl<'a> Frames<'a> {
    /// The frames of a stack, outermost first; never empty.
    fn of(
        &mut self,
        trace: &'a Trace,
        (python, native): StackId,
        strings: &mut Strings,
    ) -> Vec<(Sort, usize)> {
        let python = trace.python.get(python).map_or(&[][..], Vec::as_slice);
        let native = trace.native.get(native).map_or(&[][..], Vec::as_slice);
        let all = python.len() + native.len();
        let mut shown = Vec::with_capacity(all.min(DEPTH) + 1);
        if all == 0 {
            shown.push((Sort::Other, strings.intern("(no stack)".to_owned())));
        }
        let outer = all.saturating_sub(DEPTH - 1);
        if outer > 0 {
            shown.push((Sort::Other, strings.intern(format!("… {outer} frames further out"))));
        }
        for (number, frame) in python.iter().rev().enumerate() {
            if number >= outer {
                let next = self.numbers.len();
                let row = *self.numbers.entry(FrameOf::Python(frame)).or_insert(next);
                shown.push((Sort::Python, self.python.of(row, strings, || python_name(frame))));
            }
        }
        for (number, frame) in native.iter().rev().enumerate() {
            if python.len() + number >= outer {
                let next = self.numbers.len();
                let row = *self.numbers.entry(FrameOf::Native(frame)).or_insert(next);
                shown.push((Sort::Native, self.native.of(row, strings, || native_name(frame))));
            }
        }
        shown
    }
}

/// The last part of a path.
fn file(path: &str) -> String {
    escape(path.rsplit('/').next().unwrap_or(path))
}

/// `f (multi.py:7)`, with `~` before a line that is near the right one.
fn python_name(frame: &PythonFrame) -> String {
    let near = if frame.approximate { "~" } else { "" };
    let line = frame.line.map_or_else(String::new, |line| format!(":{near}{line}"));
    format!("{} ({}{line})", escape(&frame.function), file(&frame.file))
}

/// `insertdict (libpython3.11.so.1.0)`, the offset where there is no symbol.
fn native_name(frame: &NativeFrame) -> String {
    let object = frame.object.as_deref().map(file);
    match (frame.symbol.as_deref().map(escape), object) {
        (Some(symbol), Some(object)) => format!("{symbol} ({object})"),
        (Some(symbol), None) => symbol,
        (None, Some(object)) => format!("{object}+{:#x}", frame.offset),
        (None, None) => "(unknown code)".to_owned(),
    }
}
