//! Registers that the kernel has put by, `struct pt_regs`: where they lie is told by userspace ([`Config`]), for each kind of
//! machine has its own. The facts are in userspace's `arch`.
//!
//! [`Config`]: cowtrace_ebpf::config::Config

use cowtrace_ebpf::{
    event::{REGISTERS, STACK_POINTER},
    state::{INTERRUPTED, Interrupted},
};

use crate::{maps::config, read};

/// What an exception or a system call interrupted, of the registers at an address.
#[inline(always)]
pub(crate) fn interrupted(registers: u64) -> Option<Interrupted> {
    read::kernel(registers + u64::from(config!(registers_interrupted)))
}

/// The same, into its place: on the stack it would take more than Linux 6.1 and before have room for.
#[inline(always)]
pub(crate) fn interrupted_onto(registers: u64, into: &mut Interrupted) -> bool {
    read::kernel_words(registers + u64::from(config!(registers_interrupted)), &mut into.words)
}

/// Number of the system call that a thread is in, its instruction pointer and its stack pointer, of the registers at an address.
#[inline(always)]
pub(crate) fn called(registers: u64) -> Option<(i32, u64, u64)> {
    let start = registers + u64::from(config!(registers_interrupted));
    let at = |position: u32| read::kernel::<u64>(start + u64::from(position) * 8);
    Some((at(config!(interrupted_call))? as i32, at(config!(interrupted_ip))?, at(config!(interrupted_sp))?))
}

/// The instruction pointer.
#[inline(always)]
pub(crate) fn ip(interrupted: &Interrupted) -> u64 {
    word(interrupted, config!(interrupted_ip))
}

/// The stack pointer.
#[inline(always)]
pub(crate) fn sp(interrupted: &Interrupted) -> u64 {
    word(interrupted, config!(interrupted_sp))
}

/// The verifier knows the position, so that this is one load.
#[inline(always)]
fn word(interrupted: &Interrupted, position: u32) -> u64 {
    if (position as usize) < INTERRUPTED { interrupted.words[position as usize] } else { 0 }
}

/// The registers that records have, of which the last is the stack pointer; whether they could be read.
#[inline(always)]
pub(crate) fn all(registers: u64, sp: u64, into: &mut [u64; REGISTERS]) -> bool {
    let found = read::kernel_words::<REGISTERS>(registers, into);
    into[STACK_POINTER] = sp;
    found
}

/// The first four arguments of a function that is being called.
#[inline(always)]
pub(crate) fn arguments(registers: u64) -> Option<[u64; 4]> {
    let [first, second, third, fourth] = read::kernel(registers + u64::from(config!(registers_arguments)))?;
    if config!(arguments_reversed) != 0 {
        Some([fourth, third, second, first])
    } else {
        Some([first, second, third, fourth])
    }
}

/// What a function returns.
#[inline(always)]
pub(crate) fn returned(registers: u64) -> Option<u64> {
    read::kernel(registers + u64::from(config!(registers_returned)))
}
