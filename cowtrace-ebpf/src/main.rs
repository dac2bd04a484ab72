//! The kernel program: probes that see every page fault of one process tree, decide what the kernel did about it, and
//! write down what only can be read at that moment.
//!
//! | file | what |
//! |---|---|
//! | `probes/` | entries: one attribute function each, arguments in, plain functions called |
//! | `fault.rs` | the life of one fault: begun, marked, decided, written |
//! | `call.rs` | faults as calls of the kernel's own handler |
//! | `counters.rs` | which resident-set counters changed in a fault |
//! | `tree.rs` | threads and processes: born, executing, gone |
//! | `join.rs` | processes that were there before |
//! | `walk.rs`, `thread_state.rs` | interpreter frames, by a plan from userspace |
//! | `image.rs` | the memory around the write |
//! | `modules.rs` | where the table of modules lies |
//! | `detail.rs` | registers, and the allocator's block, where the memory around the write does not tell enough |
//! | `callers.rs` | native stacks, by templates from userspace |
//! | `define.rs` | code objects, types and names that were not met before |
//! | `ruby.rs`, `slots.rs` | frames and details of an interpreter whose frames lie on a stack and whose objects lie in slots |
//! | `registers.rs` | registers that the kernel has put by |
//! | `read.rs` | the only reads of kernel and user memory |
//! | `maps.rs`, `emit.rs` | maps; the ring buffer and what did not fit into it |
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod call;
mod callers;
mod counters;
mod define;
mod detail;
mod emit;
mod fault;
mod image;
mod join;
mod maps;
mod modules;
mod probes;
mod read;
mod registers;
mod ruby;
mod slots;
mod thread_state;
mod tree;
mod walk;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[expect(unsafe_code, reason = "the loader looks for this section")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
