//! What differs from one kind of machine to another, in one place: a row for each. Layer 1: facts alone.
//!
//! The kernel program is one object for all of them. What it has to know of registers is worked out from a row and the running
//! kernel's own description of its types, and told to it before it is loaded.
//!
//! Where a row says that something is not known, it is said to the user and nobody guesses. A trace has been run on x86-64
//! alone.

use std::env::consts::ARCH;

use cowtrace_ebpf::event::REGISTERS;

/// A kind of machine.
#[derive(Debug)]
pub struct Arch {
    /// Its name as in `uname -m`, and as the compiler has it.
    pub name: &'static str,
    /// Its name as the kernel's documentation has it.
    pub title: &'static str,
    /// Whether a trace has ever been run on it.
    pub was_run: bool,
    /// Where its kernels keep a program's registers.
    pub registers: Registers,
    /// Bits of an address of a program, where it has not asked for longer ones.
    pub address_bits: u32,
    /// The member of `task_struct` that has the address of a thread's own data.
    pub thread_pointer: &'static str,
    /// What cowtrace can tell on it.
    pub knows: Knows,
    /// What it cannot, each a sentence for the header of a trace.
    pub lacking: &'static [&'static str],
}

/// Members of `struct pt_regs`.
#[derive(Debug)]
pub struct Registers {
    /// −1 for an exception, else the number of the system call: in the low 4 bytes.
    pub call: Member,
    /// Instruction pointer.
    pub ip: Member,
    /// Stack pointer.
    pub sp: Member,
    /// Flags, processor state.
    pub flags: Member,
    /// The first four arguments of a function.
    pub arguments: [Member; 4],
    /// What a function returns.
    pub returned: Member,
    /// Names of those that the kernel program keeps for a fault, by their position: the first of the struct, and the stack pointer.
    pub kept: [&'static str; REGISTERS],
    /// So many of these, from the first on, are registers that programs compute with.
    pub general: usize,
}

/// A member of `struct pt_regs`.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its path in the kernel's types.
    pub path: &'static str,
    /// Bytes from the struct's start, for kernels whose types do not have the struct.
    pub offset: u32,
}

/// What cowtrace can tell on a kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact")]
pub struct Knows {
    /// Its kernels have tracepoints of page faults: the base rung.
    pub exceptions: bool,
    /// How stacks of native code are unwound.
    pub callers: bool,
    /// How the instruction at a fault is decoded.
    pub stores: bool,
    /// How a thread's interpreter state is found, and where things lie in it.
    pub interpreters: bool,
}

const fn at(path: &'static str, offset: u32) -> Member {
    Member { path, offset }
}

/// Intel's and AMD's, with 64 bits. `struct pt_regs`, the same since Linux 2.6.25:
/// <https://github.com/torvalds/linux/blob/v6.18/arch/x86/include/asm/ptrace.h>; arguments and result: System V ABI for x86-64, 3.2.3.
///
/// `pthread_self()` is the FS base, which the kernel keeps in `thread.fsbase`.
pub static X86_64: Arch = Arch {
    name: "x86_64",
    title: "x86-64",
    was_run: true,
    registers: Registers {
        call: at("orig_ax", 120),
        ip: at("ip", 128),
        sp: at("sp", 152),
        flags: at("flags", 144),
        arguments: [at("di", 112), at("si", 104), at("dx", 96), at("cx", 88)],
        returned: at("ax", 80),
        kept: [
            "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi",
            "rdi", "orig_rax", "rip", "cs", "rflags", "rsp",
        ],
        general: 15,
    },
    address_bits: 47,
    thread_pointer: "thread.fsbase",
    knows: Knows { exceptions: true, callers: true, stores: true, interpreters: true },
    lacking: &[],
};

/// Arm's, with 64 bits. `struct pt_regs`: <https://github.com/torvalds/linux/blob/v6.18/arch/arm64/include/asm/ptrace.h>; arguments and
/// result: Procedure Call Standard for the Arm 64-bit Architecture, 6.8.2 and 6.9.
///
/// Not as on x86:
/// * No kernel of it has tracepoints of page faults; the handler's functions are the only way to see them.
/// * `thread.uw.tp_value` is what `TPIDR_EL0` was when the thread was last switched away from, or made, not what it is now
///   (`tls_thread_switch`, `copy_thread`, <https://github.com/torvalds/linux/blob/v6.18/arch/arm64/kernel/process.c>), and the C
///   libraries' `pthread_self()` is not its value but lies below it, by the size of their `struct pthread`
///   (<https://sourceware.org/git/?p=glibc.git;a=blob;f=sysdeps/aarch64/nptl/tls.h;hb=refs/tags/glibc-2.40>).
pub static ARM64: Arch = Arch {
    name: "aarch64",
    title: "arm64",
    was_run: false,
    registers: Registers {
        call: at("syscallno", 280),
        ip: at("pc", 256),
        sp: at("sp", 248),
        flags: at("pstate", 264),
        arguments: [at("regs[0]", 0), at("regs[1]", 8), at("regs[2]", 16), at("regs[3]", 24)],
        returned: at("regs[0]", 0),
        kept: [
            "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
            "x15", "x16", "x17", "x18", "sp",
        ],
        general: 19,
    },
    address_bits: 48,
    thread_pointer: "thread.uw.tp_value",
    knows: Knows { exceptions: false, callers: false, stores: false, interpreters: false },
    lacking: &[
        "cowtrace has never been run on arm64: only its arithmetic was tested.",
        "Frames of interpreters are not seen: where a thread keeps its state is not known on arm64.",
        "Callers of native code are not seen: its stacks are not unwound on arm64.",
        "The store instruction is not decoded on this machine's processor.",
    ],
};

/// Every kind of machine that there is a row for.
pub static ALL: [&Arch; 2] = [&X86_64, &ARM64];

impl Arch {
    /// The kind with a name, as `uname -m` has it.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|arch| arch.name == name)
    }

    /// The kind of machine that this is; `None` = there is no row for it.
    #[must_use]
    pub fn here() -> Option<&'static Self> {
        Self::named(ARCH)
    }
}

/// What cowtrace can tell on this machine: nothing where there is no row for it.
#[must_use]
pub fn knows() -> Knows {
    let nothing = Knows { exceptions: false, callers: false, stores: false, interpreters: false };
    Arch::here().map_or(nothing, |arch| arch.knows)
}

/// How many of the registers that the kernel program sends, from the first on, are those that programs compute with; `None` =
/// it is not known which they are.
#[must_use]
pub fn general_registers() -> Option<usize> {
    Arch::here().map(|arch| arch.registers.general)
}

/// Whether a number can be an address of a program on this machine.
#[must_use]
pub fn is_address(value: u64) -> bool {
    Arch::here().is_some_and(|arch| value >> arch.address_bits == 0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use cowtrace_ebpf::event::STACK_POINTER;

    use super::*;

    #[test]
    fn every_row_is_whole() {
        for arch in ALL {
            let Registers { kept, general, .. } = &arch.registers;
            assert_eq!(kept.iter().collect::<HashSet<_>>().len(), REGISTERS, "{}", arch.title);
            assert!(kept[STACK_POINTER].ends_with("sp"), "{}", arch.title);
            assert!(
                *general < STACK_POINTER + 1 && !kept[..*general].iter().any(|name| name.contains("orig"))
            );
            let said = arch.lacking.iter().all(|sentence| sentence.ends_with('.'));
            assert!(said, "{}", arch.title);
            // What is not known is said.
            let Knows { exceptions: _, callers, stores, interpreters } = arch.knows;
            let unknown =
                [callers, stores, interpreters, arch.was_run].iter().filter(|known| !**known).count();
            assert_eq!(arch.lacking.len(), unknown, "{}", arch.title);
            assert_eq!(Arch::named(arch.name).map(|found| found.title), Some(arch.title));
        }
        assert!(Arch::named("riscv64").is_none());
    }

    /// All registers are kept one behind the other from the struct's start, so a row's offsets follow from the names.
    #[test]
    fn offsets_are_those_of_the_names() {
        let position = |arch: &Arch, name: &str| arch.registers.kept.iter().position(|kept| *kept == name);
        for (name, member) in [
            ("rip", X86_64.registers.ip),
            ("rsp", X86_64.registers.sp),
            ("rflags", X86_64.registers.flags),
            ("orig_rax", X86_64.registers.call),
            ("rdi", X86_64.registers.arguments[0]),
            ("rsi", X86_64.registers.arguments[1]),
            ("rdx", X86_64.registers.arguments[2]),
            ("rcx", X86_64.registers.arguments[3]),
            ("rax", X86_64.registers.returned),
        ] {
            assert_eq!(position(&X86_64, name), Some(member.offset as usize / 8), "{name}");
        }
        for (number, member) in (0..).zip(ARM64.registers.arguments) {
            assert_eq!(member.offset, number * 8);
            assert_eq!(member.path, format!("regs[{number}]"));
        }
        // 31 general registers, then these.
        assert_eq!(ARM64.registers.sp.offset, 31 * 8);
        assert_eq!(ARM64.registers.ip.offset, 32 * 8);
        assert_eq!(ARM64.registers.flags.offset, 33 * 8);
    }
}
