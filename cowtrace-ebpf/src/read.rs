//! The only reads of memory that is not a map: the kernel's, and the traced program's. Nothing here can fault or sleep;
//! what is not resident fails.
#![expect(unsafe_code, reason = "calls of the helpers that read foreign memory")]

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_probe_read_kernel, bpf_probe_read_user,
    generated::{
        bpf_get_current_ancestor_cgroup_id, bpf_get_current_task, bpf_ktime_get_ns,
        bpf_probe_read_kernel as read_kernel, bpf_probe_read_kernel_str as read_kernel_string,
        bpf_probe_read_user as read_user, bpf_probe_read_user_str as read_user_string,
    },
};

use crate::maps;

/// A length, bounded here, whatever the compiler knows of it already: Linux 6.1 and before forget the bounds of a number that was
/// put on the stack.
#[inline(always)]
fn bounded(len: u32, most: u32) -> u32 {
    let len = maps::opaque(len as usize) as u32;
    if len > most { most } else { len }
}

/// Reads kernel memory.
#[inline(always)]
pub(crate) fn kernel<T: Copy>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address; T is plain data.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

/// Reads the traced program's memory.
#[inline(always)]
pub(crate) fn user<T: Copy>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address; T is plain data.
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}

/// Reads `len` bytes of the traced program into a buffer; `len` must be bounded by its size.
#[inline(always)]
pub(crate) fn user_into<const N: usize>(address: u64, buffer: &mut [u8; N], len: u32) -> bool {
    let len = bounded(len, N as u32);
    // SAFETY: len is at most the buffer's size; the helper checks the address.
    unsafe { read_user(buffer.as_mut_ptr().cast(), len, address as *const _) == 0 }
}

/// Reads a value of the traced program into its place, which is zeroed if it cannot be read.
#[inline(always)]
pub(crate) fn user_onto<T: Copy>(address: u64, value: &mut T) {
    // SAFETY: the length is the value's own; T is plain data; the helper checks the address.
    unsafe { read_user(core::ptr::from_mut(value).cast(), size_of::<T>() as u32, address as *const _) };
}

/// Reads 8-byte words of the traced program.
#[inline(always)]
pub(crate) fn user_words<const N: usize>(address: u64, words: &mut [u64; N]) -> bool {
    // SAFETY: the length is the buffer's own; the helper checks the address.
    unsafe { read_user(words.as_mut_ptr().cast(), (N * 8) as u32, address as *const _) == 0 }
}

/// Reads the first `len` bytes of some words of the traced program.
#[inline(always)]
pub(crate) fn user_part<const N: usize>(address: u64, words: &mut [u64; N], len: u32) -> bool {
    let len = bounded(len, (N * 8) as u32);
    // SAFETY: len is at most the buffer's size; the helper checks the address.
    unsafe { read_user(words.as_mut_ptr().cast(), len, address as *const _) == 0 }
}

/// Reads words of the kernel.
#[inline(always)]
pub(crate) fn kernel_words<const N: usize>(address: u64, words: &mut [u64; N]) -> bool {
    // SAFETY: the length is the buffer's own; the helper checks the address.
    unsafe { read_kernel(words.as_mut_ptr().cast(), (N * 8) as u32, address as *const _) == 0 }
}

/// Reads bytes of the kernel into a buffer.
#[inline(always)]
pub(crate) fn kernel_into<const N: usize>(address: u64, buffer: &mut [u8; N]) -> bool {
    // SAFETY: the length is the buffer's own; the helper checks the address.
    unsafe { read_kernel(buffer.as_mut_ptr().cast(), N as u32, address as *const _) == 0 }
}

/// Reads a zero-terminated string of the kernel; its length with the zero, 0 = unreadable.
#[inline(always)]
pub(crate) fn kernel_string<const N: usize>(address: u64, buffer: &mut [u8; N]) -> u32 {
    // SAFETY: the length is the buffer's own; the helper checks the address.
    let len = unsafe { read_kernel_string(buffer.as_mut_ptr().cast(), N as u32, address as *const _) };
    if len > 0 { len as u32 } else { 0 }
}

/// Reads a zero-terminated string of the traced program; its length with the zero, 0 = unreadable.
#[inline(always)]
pub(crate) fn user_string<const N: usize>(address: u64, buffer: &mut [u8; N]) -> u32 {
    // SAFETY: the length is the buffer's own; the helper checks the address.
    let len = unsafe { read_user_string(buffer.as_mut_ptr().cast(), N as u32, address as *const _) };
    if len > 0 { len as u32 } else { 0 }
}

#[inline(always)]
pub(crate) fn current_task() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_current_task() }
}

/// The current thread's id in the initial PID namespace.
#[inline(always)]
pub(crate) fn current_tid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// The current process's id in the initial PID namespace.
#[inline(always)]
pub(crate) fn current_pid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// Levels of cgroups below the root that are looked at.
const CGROUP_LEVELS: i32 = 16;

/// Whether the current process is in this cgroup (v2), or in one below it.
#[inline(always)]
pub(crate) fn current_is_in_cgroup(id: u64) -> bool {
    let mut level = 0;
    while level < CGROUP_LEVELS {
        // SAFETY: a helper that takes a number.
        let found = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
        if found == id {
            return true;
        }
        if found == 0 {
            return false;
        }
        level += 1;
    }
    false
}

/// `CLOCK_MONOTONIC`, nanoseconds.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// This CPU's number.
#[inline(always)]
pub(crate) fn cpu() -> u16 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_smp_processor_id() as u16 }
}
