//! What the instruction at a fault stores, and how. It needs no symbol, so it holds for stripped builds, too. Instructions are those
//! of x86-64; of others nobody asks ([`crate::arch::Knows::stores`]).

use cowtrace_ebpf::event::{REGISTERS, STACK_POINTER};
use iced_x86::{
    Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

/// Bytes of the longest instruction.
pub const LONGEST: usize = 15;

/// How a store makes the value that it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Adds to what is there.
    Add,
    /// Subtracts from what is there.
    Subtract,
    /// Writes a constant.
    Constant(i64),
    /// Writes a register; its value, if the registers are known.
    Register(Option<u64>),
    /// Writes a vector register: two or more neighbours at once, or a copy of a buffer.
    Vector,
    /// A string instruction: copies or fills a buffer.
    String,
    /// Pushes to the stack: an argument, or the address to return to.
    Push,
    /// Exchanges or compares and exchanges, mostly under lock.
    Exchange,
    /// Changes what is there in another way.
    Other,
}

/// A store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    /// Bytes that are written.
    pub size: usize,
    /// How.
    pub form: Form,
    /// Distance of the written place from the address in the instruction's base register, if that is all that makes it:
    /// with a structure's address in the register it is the field's offset.
    pub offset: Option<i64>,
    /// The base register is the stack pointer.
    pub on_stack: bool,
}

impl Store {
    /// Whether it is known to write nothing but zeros.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        matches!(self.form, Form::Constant(0) | Form::Register(Some(0)))
    }
}

/// The store of the first instruction in some bytes; `None` = it is none, or not one instruction.
#[must_use]
pub fn decode(bytes: &[u8], registers: Option<&[u64; REGISTERS]>) -> Option<Store> {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    let instruction = Decoder::new(64, bytes, DecoderOptions::NONE).decode();
    if instruction.is_invalid() {
        return None;
    }
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(&instruction);
    let memory = info.used_memory().iter().find(|memory| {
        matches!(
            memory.access(),
            OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite | OpAccess::ReadCondWrite
        )
    })?;
    let simple = memory.index() == Register::None && memory.base() != Register::None;
    // `used_memory` gives a push's place relative to the stack pointer before it.
    Some(Store {
        size: memory.memory_size().size(),
        form: form(&instruction, registers),
        offset: simple.then(|| memory.displacement().cast_signed()),
        on_stack: matches!(memory.base(), Register::RSP),
    })
}

fn form(instruction: &Instruction, registers: Option<&[u64; REGISTERS]>) -> Form {
    if instruction.is_string_instruction() {
        return Form::String;
    }
    match instruction.mnemonic() {
        Mnemonic::Add | Mnemonic::Inc | Mnemonic::Adc => return Form::Add,
        Mnemonic::Sub | Mnemonic::Dec | Mnemonic::Sbb => return Form::Subtract,
        Mnemonic::Push | Mnemonic::Call | Mnemonic::Pushfq => return Form::Push,
        Mnemonic::Xchg | Mnemonic::Cmpxchg | Mnemonic::Cmpxchg8b | Mnemonic::Cmpxchg16b | Mnemonic::Xadd => {
            return Form::Exchange;
        }
        _ => {}
    }
    if instruction.op0_kind() != OpKind::Memory || instruction.op_count() < 2 {
        return Form::Other;
    }
    match instruction.op1_kind() {
        OpKind::Register if is_vector(instruction.op1_register()) => Form::Vector,
        OpKind::Register if instruction.mnemonic() == Mnemonic::Mov => {
            Form::Register(registers.and_then(|registers| value(instruction.op1_register(), registers)))
        }
        OpKind::Immediate8
        | OpKind::Immediate16
        | OpKind::Immediate32
        | OpKind::Immediate8to16
        | OpKind::Immediate8to32
        | OpKind::Immediate8to64
        | OpKind::Immediate32to64
            if instruction.mnemonic() == Mnemonic::Mov =>
        {
            Form::Constant(instruction.immediate(1).cast_signed())
        }
        _ => Form::Other,
    }
}

fn is_vector(register: Register) -> bool {
    register.is_xmm() || register.is_ymm() || register.is_zmm() || register.is_mm()
}

/// Value of a general register, cut to its width.
fn value(register: Register, registers: &[u64; REGISTERS]) -> Option<u64> {
    let at = match register.full_register() {
        Register::R15 => 0,
        Register::R14 => 1,
        Register::R13 => 2,
        Register::R12 => 3,
        Register::RBP => 4,
        Register::RBX => 5,
        Register::R11 => 6,
        Register::R10 => 7,
        Register::R9 => 8,
        Register::R8 => 9,
        Register::RAX => 10,
        Register::RCX => 11,
        Register::RDX => 12,
        Register::RSI => 13,
        Register::RDI => 14,
        Register::RSP => STACK_POINTER,
        _ => return None,
    };
    let whole = registers[at];
    match register.size() {
        8 => Some(whole),
        4 => Some(whole & 0xffff_ffff),
        2 => Some(whole & 0xffff),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(bytes: &[u8]) -> Store {
        let mut registers = [0; REGISTERS];
        registers[10] = 0x1_0000_0007;
        decode(bytes, Some(&registers)).unwrap()
    }

    /// The stores that compilers make of `Py_INCREF` and `Py_DECREF` in 3.11 and before, and since.
    #[test]
    fn reference_counts() {
        // addq $1,(%rdi); subq $1,(%rax)
        assert_eq!(
            store(&[0x48, 0x83, 0x07, 0x01]),
            Store { size: 8, form: Form::Add, offset: Some(0), on_stack: false }
        );
        assert_eq!(store(&[0x48, 0x83, 0x28, 0x01]).form, Form::Subtract);
        // mov %eax,(%rdi); mov %rax,(%rdi)
        assert_eq!(
            store(&[0x89, 0x07]),
            Store { size: 4, form: Form::Register(Some(7)), offset: Some(0), on_stack: false }
        );
        assert_eq!(store(&[0x48, 0x89, 0x07]).form, Form::Register(Some(0x1_0000_0007)));
        // movq $1,(%rax)
        assert_eq!(store(&[0x48, 0xc7, 0x00, 1, 0, 0, 0]).form, Form::Constant(1));
    }

    /// A field's offset, an indexed place, the stack, buffers.
    #[test]
    fn places() {
        // mov %rax,0x18(%rbx); mov %rax,(%rbx,%rcx,8)
        assert_eq!(store(&[0x48, 0x89, 0x43, 0x18]).offset, Some(0x18));
        assert_eq!(store(&[0x48, 0x89, 0x04, 0xcb]).offset, None);
        // movups %xmm0,0x10(%rdi); rep stos; push %rbx; mov %rax,8(%rsp)
        let vector = store(&[0x0f, 0x11, 0x47, 0x10]);
        assert_eq!((vector.form, vector.size), (Form::Vector, 16));
        assert_eq!(store(&[0xf3, 0x48, 0xab]).form, Form::String);
        let push = store(&[0x53]);
        assert!(push.form == Form::Push && push.on_stack);
        assert!(store(&[0x48, 0x89, 0x44, 0x24, 0x08]).on_stack);
        // lock cmpxchg %ecx,(%rdx)
        assert_eq!(store(&[0xf0, 0x0f, 0xb1, 0x0a]).form, Form::Exchange);
    }

    /// Loads, cut instructions and garbage are no stores.
    #[test]
    fn no_stores() {
        for bytes in [&[0x48, 0x8b, 0x07][..], &[0x48], &[], &[0xff; 15], &[0x06, 0x06], &[0x90]] {
            assert_eq!(decode(bytes, None), None, "{bytes:x?}");
        }
    }
}
