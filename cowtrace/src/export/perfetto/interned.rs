//! What packets name by a number: each string, frame and stack is in the first packet that names it, and in no other.

use std::collections::HashMap;

use super::proto::{
    Callstack, DebugAnnotation, Frame, InternedData, InternedString, KIND_INTERPRETED, KIND_NATIVE, Name,
};
use crate::export::stacks::{self, Stack, Stacks, bounded};

/// Strings of one kind by their number, from 1 on.
#[derive(Default)]
struct Numbers(HashMap<String, u64>);

impl Numbers {
    /// The number of a text, and whether it is new.
    fn of(&mut self, text: &str) -> (u64, bool) {
        if let Some(&number) = self.0.get(text) {
            return (number, false);
        }
        let number = self.0.len() as u64 + 1;
        self.0.insert(text.to_owned(), number);
        (number, true)
    }

    fn name(&mut self, text: &str, new: &mut Vec<Name>) -> u64 {
        let (iid, is_new) = self.of(text);
        if is_new {
            new.push(Name { iid: Some(iid), name: Some(text.to_owned()) });
        }
        iid
    }

    fn string(&mut self, text: &str, new: &mut Vec<InternedString>) -> u64 {
        let (iid, is_new) = self.of(text);
        if is_new {
            new.push(InternedString { iid: Some(iid), str: Some(text.to_owned()) });
        }
        iid
    }
}

/// Everything that was named so far.
#[derive(Default)]
pub(super) struct Interned {
    new: InternedData,
    categories: Numbers,
    names: Numbers,
    annotations: Numbers,
    values: Numbers,
    functions: Numbers,
    paths: Numbers,
    /// By position in [`Stacks::frames`].
    frames: Vec<bool>,
    /// By [`Stack::index`].
    stacks: Vec<bool>,
}

impl Interned {
    /// What the next packet must tell; nothing if it is all known.
    pub(super) fn take(&mut self) -> Option<InternedData> {
        let new = std::mem::take(&mut self.new);
        (new != InternedData::default()).then_some(new)
    }

    pub(super) fn category(&mut self, text: &str) -> u64 {
        self.categories.name(text, &mut self.new.event_categories)
    }

    /// The name of an event, which may be the target's.
    pub(super) fn name(&mut self, text: &str) -> u64 {
        self.names.name(&bounded(text), &mut self.new.event_names)
    }

    /// An annotation without a value yet.
    fn annotation(&mut self, name: &str) -> DebugAnnotation {
        let name_iid = Some(self.annotations.name(name, &mut self.new.debug_annotation_names));
        DebugAnnotation { name_iid, ..DebugAnnotation::default() }
    }

    pub(super) fn uint(&mut self, name: &str, value: u64) -> DebugAnnotation {
        DebugAnnotation { uint_value: Some(value), ..self.annotation(name) }
    }

    pub(super) fn int(&mut self, name: &str, value: i64) -> DebugAnnotation {
        DebugAnnotation { int_value: Some(value), ..self.annotation(name) }
    }

    pub(super) fn bool(&mut self, name: &str, value: bool) -> DebugAnnotation {
        DebugAnnotation { bool_value: Some(value), ..self.annotation(name) }
    }

    pub(super) fn pointer(&mut self, name: &str, value: u64) -> DebugAnnotation {
        DebugAnnotation { pointer_value: Some(value), ..self.annotation(name) }
    }

    pub(super) fn text(&mut self, name: &str, value: &str) -> DebugAnnotation {
        DebugAnnotation { string_value_iid: self.value(value).string_value_iid, ..self.annotation(name) }
    }

    /// A text in a list.
    pub(super) fn value(&mut self, value: &str) -> DebugAnnotation {
        let value = self.values.string(&bounded(value), &mut self.new.debug_annotation_string_values);
        DebugAnnotation { string_value_iid: Some(value), ..DebugAnnotation::default() }
    }

    pub(super) fn list(&mut self, name: &str, array_values: Vec<DebugAnnotation>) -> DebugAnnotation {
        DebugAnnotation { array_values, ..self.annotation(name) }
    }

    pub(super) fn dictionary(&mut self, name: &str, dict_entries: Vec<DebugAnnotation>) -> DebugAnnotation {
        DebugAnnotation { dict_entries, ..self.annotation(name) }
    }

    pub(super) fn stack(&mut self, stacks: &Stacks<'_>, stack: Stack) -> u64 {
        let iid = stack.index() as u64 + 1;
        if first(&mut self.stacks, stack.index()) {
            let path = stacks.path(stack);
            let frame_ids = path.iter().map(|&frame| self.frame(stacks, frame as usize)).collect();
            self.new.callstacks.push(Callstack { iid: Some(iid), frame_ids });
        }
        iid
    }

    fn frame(&mut self, stacks: &Stacks<'_>, position: usize) -> u64 {
        let iid = position as u64 + 1;
        if first(&mut self.frames, position)
            && let Some(frame) = stacks.frames().get(position)
        {
            let (kind, kind_str) = match frame {
                stacks::Frame::Python { .. } => (Some(KIND_INTERPRETED), None),
                stacks::Frame::Native { .. } => (Some(KIND_NATIVE), None),
                stacks::Frame::Write { .. } => (None, Some("write".to_owned())),
            };
            let function = self.functions.string(&frame.name(), &mut self.new.function_names);
            let path = frame.file().map(|file| self.paths.string(&file, &mut self.new.source_paths));
            self.new.frames.push(Frame {
                iid: Some(iid),
                function_name_id: Some(function),
                source_path_iid: path,
                line_number: frame.line(),
                kind,
                kind_str,
            });
        }
        iid
    }
}

/// Whether this position comes for the first time.
fn first(seen: &mut Vec<bool>, position: usize) -> bool {
    if seen.len() <= position {
        seen.resize(position + 1, false);
    }
    !std::mem::replace(&mut seen[position], true)
}
