//! Where `struct pt_regs` has what the kernel half reads of it, on this kind of machine and in this kernel.

use cowtrace_ebpf::config::Config;
use cowtrace_ebpf::state::INTERRUPTED;

use super::Error;
use super::btf::{Btf, BtfError};
use crate::arch::{Arch, Member};

const STRUCT: &str = "pt_regs";
/// Bytes of a register.
const WORD: u32 = 8;

/// Fills in what a kind of machine and the kernel's types say.
///
/// # Errors
/// The registers lie in another way than the kernel half can read them.
pub(super) fn fill(btf: &Btf, arch: &Arch, config: &mut Config) -> Result<(), Error> {
    let registers = &arch.registers;
    let place = |member: &Member| match btf.place(STRUCT, member.path) {
        Ok(place) => Ok(place.offset),
        Err(BtfError::NoStruct(_)) => Ok(member.offset),
        Err(error) => Err(Error::NoField(error)),
    };
    let [call, ip, sp, flags] =
        [place(&registers.call)?, place(&registers.ip)?, place(&registers.sp)?, place(&registers.flags)?];
    let start = call.min(ip).min(sp).min(flags);
    let position = |offset: u32, member: &Member| {
        let distance = offset - start;
        let position = distance / WORD;
        if distance.is_multiple_of(WORD) && (position as usize) < INTERRUPTED {
            Ok(position)
        } else {
            Err(elsewhere(member.path))
        }
    };
    position(flags, &registers.flags)?;
    config.registers_interrupted = start;
    config.interrupted_call = position(call, &registers.call)?;
    config.interrupted_ip = position(ip, &registers.ip)?;
    config.interrupted_sp = position(sp, &registers.sp)?;

    let [first, second, third, fourth] = &registers.arguments;
    let arguments = [place(first)?, place(second)?, place(third)?, place(fourth)?];
    let upwards = arguments.windows(2).all(|pair| pair[0].checked_add(WORD) == Some(pair[1]));
    let downwards = arguments.windows(2).all(|pair| pair[1].checked_add(WORD) == Some(pair[0]));
    if !upwards && !downwards {
        return Err(elsewhere(first.path));
    }
    config.registers_arguments = arguments[0].min(arguments[3]);
    config.arguments_reversed = u32::from(downwards);
    config.registers_returned = place(&registers.returned)?;
    Ok(())
}

fn elsewhere(path: &str) -> Error {
    Error::NoField(BtfError::NoMember {
        structure: STRUCT.to_owned(),
        path: format!("{path} near the others"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::btf::kind;
    use super::super::btf::tests::Blob;
    use super::*;
    use crate::arch::{ARM64, X86_64};

    const NO_TYPES: [u8; 24] =
        [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    fn filled(btf: &Btf, arch: &Arch) -> Result<Config, Error> {
        let mut config = Config::default();
        fill(btf, arch, &mut config).map(|()| config)
    }

    /// The facts of a row alone: where its kernel's types are silent.
    #[test]
    fn x86_is_as_its_exceptions_leave_it() {
        let config = filled(&Btf::parse(NO_TYPES.to_vec()).unwrap(), &X86_64).unwrap();
        let expected = Config {
            registers_interrupted: 120,
            interrupted_call: 0,
            interrupted_ip: 1,
            interrupted_sp: 4,
            registers_arguments: 88,
            arguments_reversed: 1,
            registers_returned: 80,
            ..Config::default()
        };
        assert_eq!(config, expected);
    }

    fn arm64_config() -> Config {
        Config {
            registers_interrupted: 248,
            interrupted_call: 4,
            interrupted_ip: 1,
            interrupted_sp: 0,
            registers_arguments: 0,
            arguments_reversed: 0,
            registers_returned: 0,
            ..Config::default()
        }
    }

    /// The struct as arm64's kernels describe it, with so many words between `pstate` and `syscallno`.
    fn arm64(between: u32) -> Btf {
        let mut blob = Blob::new();
        let long = blob.add("long unsigned int", kind::INT, 0, false, 8, &[64]);
        let int = blob.add("int", kind::INT, 0, false, 4, &[32]);
        let array = blob.add("", kind::ARRAY, 0, false, 0, &[long, int, 31]);
        let members = [("regs", array, 0), ("sp", long, 1984), ("pc", long, 2048), ("pstate", long, 2112)];
        let user = blob.structure("user_pt_regs", kind::STRUCT, false, 272, &members);
        let inner = blob.structure("", kind::STRUCT, false, 272, &members);
        let either = blob.structure("", kind::UNION, false, 272, &[("user_regs", user, 0), ("", inner, 0)]);
        let call = 2176 + between * 64;
        let outer = [("", either, 0), ("orig_x0", long, 2176), ("syscallno", int, call)];
        blob.structure("pt_regs", kind::STRUCT, false, call / 8 + 8, &outer);
        Btf::parse(blob.bytes()).unwrap()
    }

    #[test]
    fn arm64_is_found_in_its_types_and_without() {
        assert_eq!(filled(&arm64(1), &ARM64).unwrap(), arm64_config());
        assert_eq!(filled(&Btf::parse(NO_TYPES.to_vec()).unwrap(), &ARM64).unwrap(), arm64_config());
    }

    #[test]
    fn a_struct_that_is_another_one_is_refused() {
        let error = filled(&arm64(2), &ARM64).unwrap_err();
        let told = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(told, "struct pt_regs has no member syscallno near the others");
        // Its members are not those of the other kind of machine.
        assert!(matches!(filled(&arm64(1), &X86_64), Err(Error::NoField(BtfError::NoMember { .. }))));
    }

    /// Needs a kernel with BTF: what its types say is what the row says.
    #[test]
    fn the_running_kernel_is_as_its_row_says() {
        let (Ok(bytes), Some(arch)) = (std::fs::read(super::super::btf::KERNEL), Arch::here()) else {
            println!("SKIPPED: this kernel does not describe its types, or there is no row for this machine");
            return;
        };
        let by_types = Btf::parse(bytes).unwrap();
        assert!(by_types.place(STRUCT, arch.registers.ip.path).is_ok(), "it is the struct that was meant");
        let by_row = Btf::parse(NO_TYPES.to_vec()).unwrap();
        assert_eq!(filled(&by_types, arch).unwrap(), filled(&by_row, arch).unwrap());
    }
}
