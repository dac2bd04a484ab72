//! Copied bytes by stack, as a tree of frames that is small enough to be drawn.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::super::stacks::{Frame, Stacks};
use super::limits::Limits;
use super::strings::Strings;
use super::timeline::copies;
use crate::record::schema::Trace;
use crate::report::escape::visible;
use crate::report::view::View;

/// Frames of the tree, at most: those with most bytes.
const FRAMES: usize = 20_000;

/// Whose frame it is, as the page's scripts know it.
#[derive(Clone, Copy)]
enum Sort {
    Python = 0,
    Native = 1,
    Write = 2,
}

/// The tree of frames and what was copied in each; columns.
#[derive(Serialize, Default)]
pub(super) struct Flame {
    /// For each frame: 0 = outermost, otherwise one more than its caller, which comes before it.
    parent: Vec<usize>,
    name: Vec<usize>,
    sort: Vec<u8>,
    /// Frames that are left out; what was copied in them counts in those that called them.
    left_out: usize,
    /// Position of a frame, and what was copied in it itself, by cause. One more than the last = in frames that are left out
    /// and that nothing called.
    node: Vec<usize>,
    cause: Vec<usize>,
    pub(super) pages: Vec<u64>,
    pub(super) bytes: Vec<u64>,
}

/// The stacks of all copies.
pub(super) fn flame(trace: &Trace, view: &View<'_>, limits: &Limits, strings: &mut Strings) -> Flame {
    let mut stacks = Stacks::new(trace);
    let mut copied: BTreeMap<(usize, usize), (u64, u64)> = BTreeMap::new();
    for (fault, cause) in copies(trace, view, limits) {
        let (pages, bytes) = copied.entry((stacks.of(fault).index(), cause)).or_default();
        *pages += 1;
        *bytes += fault.bytes;
    }
    let nodes = stacks.nodes();
    let caller = |node: usize| nodes[node].caller.map(|caller| caller.index());
    let mut sums = vec![0_u64; nodes.len()];
    copied.iter().for_each(|((node, _), (_, bytes))| sums[*node] += bytes);
    for node in (0..nodes.len()).rev() {
        if let Some(caller) = caller(node) {
            sums[caller] += sums[node];
        }
    }
    // Who calls has no fewer bytes and comes first, so that no frame is kept without its callers.
    let mut kept: Vec<usize> = (0..nodes.len()).collect();
    kept.sort_by_key(|node| (Reverse(sums[*node]), *node));
    kept.truncate(FRAMES);
    kept.sort_unstable();
    let mut flame = Flame { left_out: nodes.len() - kept.len(), ..Flame::default() };
    // One more than the position of a node, or of the nearest that is kept above it.
    let mut positions = vec![0; nodes.len()];
    let mut next = kept.iter().peekable();
    for node in 0..nodes.len() {
        let above = caller(node).map_or(0, |caller| positions[caller]);
        if next.next_if_eq(&&node).is_none() {
            positions[node] = above;
            continue;
        }
        let frame = stacks.frames()[nodes[node].frame as usize];
        flame.parent.push(above);
        flame.name.push(strings.intern(visible(&frame.label()).into_owned()));
        flame.sort.push(sort(&frame) as u8);
        positions[node] = flame.parent.len();
    }
    let mut merged: BTreeMap<(usize, usize), (u64, u64)> = BTreeMap::new();
    for ((node, cause), (pages, bytes)) in copied {
        let sum = merged.entry((positions[node], cause)).or_default();
        *sum = (sum.0 + pages, sum.1 + bytes);
    }
    for ((node, cause), (pages, bytes)) in merged {
        flame.node.push(node.checked_sub(1).unwrap_or(flame.parent.len()));
        flame.cause.push(cause);
        flame.pages.push(pages);
        flame.bytes.push(bytes);
    }
    flame
}

const fn sort(frame: &Frame<'_>) -> Sort {
    match frame {
        Frame::Python { .. } => Sort::Python,
        Frame::Native { .. } => Sort::Native,
        Frame::Write { .. } => Sort::Write,
    }
}
