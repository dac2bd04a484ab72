//! Definitions as they are stored: each frame once, stacks as the numbers of their frames.

use std::collections::HashMap;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

use crate::record::piece::Definitions;
use crate::record::schema::{NativeFrame, Operation, PythonFrame, Region, Site, Write};

/// A body of definitions. Frames are those that are new in the file; their numbers go on from those of the body before.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Stored {
    #[serde(default)]
    regions: Vec<Region>,
    #[serde(default)]
    operations: Vec<Operation>,
    #[serde(default)]
    writes: Vec<Write>,
    #[serde(default)]
    sites: Vec<Site>,
    #[serde(default)]
    python_frames: Vec<PythonFrame>,
    #[serde(default)]
    python: Vec<Vec<u32>>,
    #[serde(default)]
    native_frames: Vec<NativeFrame>,
    #[serde(default)]
    native: Vec<Vec<u32>>,
}

/// The frames of a file that is written.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    python: HashMap<PythonFrame, u32>,
    native: HashMap<NativeFrame, u32>,
}

impl Numbers {
    /// Definitions as they are stored.
    pub(super) fn store(&mut self, definitions: Definitions) -> Stored {
        let Definitions { regions, operations, writes, sites, python, native } = definitions;
        let (python_frames, python) = numbered(&mut self.python, python);
        let (native_frames, native) = numbered(&mut self.native, native);
        Stored { regions, operations, writes, sites, python_frames, python, native_frames, native }
    }
}

fn numbered<F: Clone + Eq + Hash>(
    known: &mut HashMap<F, u32>,
    stacks: Vec<Vec<F>>,
) -> (Vec<F>, Vec<Vec<u32>>) {
    let mut new = Vec::new();
    let mut number = |frame: F| {
        let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
        *known.entry(frame).or_insert_with_key(|frame| {
            new.push(frame.clone());
            next
        })
    };
    let stacks = stacks.into_iter().map(|stack| stack.into_iter().map(&mut number).collect()).collect();
    (new, stacks)
}

/// The frames of a file that is read.
#[derive(Debug, Default)]
pub(super) struct Frames {
    python: Vec<PythonFrame>,
    native: Vec<NativeFrame>,
}

impl Frames {
    /// Definitions from how they were stored; `None` if they refer to frames that there are not, or would take more than `most`
    /// frames altogether: a few frames can be made into many stacks. What is left of `most` is for those behind.
    pub(super) fn restore(&mut self, stored: Stored, most: &mut usize) -> Option<Definitions> {
        let Stored { regions, operations, writes, sites, python_frames, python, native_frames, native } =
            stored;
        self.python.extend(python_frames);
        self.native.extend(native_frames);
        Some(Definitions {
            regions,
            operations,
            writes,
            sites,
            python: stacks(&self.python, &python, most)?,
            native: stacks(&self.native, &native, most)?,
        })
    }
}

fn stacks<F: Clone>(frames: &[F], stacks: &[Vec<u32>], most: &mut usize) -> Option<Vec<Vec<F>>> {
    let stack = |numbers: &Vec<u32>| -> Option<Vec<F>> {
        *most = most.checked_sub(numbers.len())?;
        numbers.iter().map(|&number| frames.get(number as usize).cloned()).collect()
    };
    stacks.iter().map(stack).collect()
}
