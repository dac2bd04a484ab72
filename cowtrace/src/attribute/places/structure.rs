//! Structures of the interpreter itself, the thread's stack, and what its registers point to.

use cowtrace_ebpf::event::{STACK_POINTER, flag};
use cowtrace_ebpf::plan::UNUSED;

use super::Query;
use crate::attribute::block::Block;
use crate::attribute::evidence::Structure;
use crate::attribute::names::Names;
use crate::process::maps::Mapping;

/// A thread's stack reaches this far from its pointer: below it the red zone, above it its callers.
const BELOW_STACK: u64 = 256;
const ABOVE_STACK: u64 = 256 << 10;
/// Bytes of a thread's state that every version has, where nothing tells how long it is.
const STATE: u64 = 256;

/// The structure of the interpreter that holds the address.
pub(in crate::attribute) fn structure(
    query: &Query<'_>,
    block: Option<&Block>,
    names: &Names,
) -> Option<Structure> {
    let fault = query.at.fault;
    if fault.flags & flag::FRAME_CHUNK != 0 {
        return Some(Structure::Frames);
    }
    let plan = &query.found.plan;
    if fault.state != 0 && query.has_detail() {
        let len = if plan.thread_chunk == UNUSED { STATE } else { u64::from(plan.thread_chunk) + 24 };
        let in_block = block.is_some_and(|block| fault.state.wrapping_sub(block.address) < block.size);
        if fault.address.wrapping_sub(fault.state) < len || in_block {
            return Some(Structure::ThreadState);
        }
        let interpreter = || {
            query.at.read(|memory| memory.u64(fault.state.checked_add(plan.thread_interpreter.into())?).ok())
        };
        if block.is_some_and(|block| !block.is_header && Some(block.address) == interpreter()) {
            return Some(Structure::InterpreterState);
        }
    }
    names.is_bytecode(query.at.image, fault.address, plan).then_some(Structure::Bytecode)
}

/// Whether the address lies next to the thread's stack pointer.
pub(in crate::attribute) fn near_stack(query: &Query<'_>) -> bool {
    let fault = query.at.fault;
    if !query.has_detail() || fault.flags & flag::KERNEL_MODE != 0 {
        return false;
    }
    let pointer = fault.detail.registers[STACK_POINTER];
    let near = fault.address.wrapping_sub(pointer.wrapping_sub(BELOW_STACK)) < BELOW_STACK + ABOVE_STACK;
    let same = |mapping: &Mapping| (mapping.start..mapping.end).contains(&pointer);
    near && query.at.mapping.is_some_and(same)
}

/// A type in the registers, by its name: first the one that is stored.
pub(in crate::attribute) fn type_in_register(
    query: &Query<'_>,
    stored: Option<u64>,
    names: &Names,
) -> Option<String> {
    let known = |address: u64| names.types().get(&(query.at.image, address)).map(|of| of.name.clone());
    stored.and_then(known).or_else(|| query.in_registers().find_map(known))
}

/// The one class among the variables and operands of a frame that calls something: that of what is made, as likely as not.
pub(in crate::attribute) fn type_in_frame(query: &Query<'_>, names: &mut Names) -> Option<String> {
    let mut found: Option<(u64, String)> = None;
    for value in query.in_frame() {
        names.learn_type(query.at.image, value, query.found, query.at.relatives);
        let Some(of) = names.types().get(&(query.at.image, value)).filter(|of| of.is_heap_type()) else {
            continue;
        };
        match &found {
            Some((address, _)) if *address == value => {}
            Some(_) => return None,
            None => found = Some((value, of.name.clone())),
        }
    }
    found.map(|(_, name)| name)
}
