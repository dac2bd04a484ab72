//! Which capabilities cowtrace uses, what goes without each, and which of them this process has.

/// Whether cowtrace can do without a capability, and what it cannot do then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// There is no trace without it.
    Required,
    /// There is one; what it lacks is a sentence.
    Optional(&'static str),
}

/// A capability: <https://github.com/torvalds/linux/blob/v6.18/include/uapi/linux/capability.h>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its bit.
    pub number: u32,
    /// Its name, as in `CAP_BPF`.
    pub name: &'static str,
    /// What goes without it.
    pub need: Need,
    /// Whether `CAP_SYS_ADMIN` stands for it.
    by_admin: bool,
}

const fn required(number: u32, name: &'static str) -> Capability {
    Capability { number, name, need: Need::Required, by_admin: true }
}

const fn optional(number: u32, name: &'static str, by_admin: bool, without: &'static str) -> Capability {
    Capability { number, name, need: Need::Optional(without), by_admin }
}

const AS_CALLER: &str = "The command cannot be run as the user who called sudo: it needs --as-root.";

/// Every capability that is used.
pub static CAPABILITIES: &[Capability] = &[
    required(38, "CAP_PERFMON"),
    required(39, "CAP_BPF"),
    optional(
        19,
        "CAP_SYS_PTRACE",
        false,
        "Memory and mappings of other users' processes are not read: their interpreters are not recognised.",
    ),
    optional(
        2,
        "CAP_DAC_READ_SEARCH",
        false,
        "Files that only other users may read are not read: the symbols and interpreters in them stay unknown.",
    ),
    optional(6, "CAP_SETGID", false, AS_CALLER),
    optional(7, "CAP_SETUID", false, AS_CALLER),
    optional(5, "CAP_KILL", false, "Ctrl-C is not passed on to a command of another user."),
    optional(
        23,
        "CAP_SYS_NICE",
        false,
        "The thread that empties the ring buffer has no priority: more may be lost on a busy machine.",
    ),
    optional(
        40,
        "CAP_CHECKPOINT_RESTORE",
        true,
        "Files that were deleted after a process mapped them are not read.",
    ),
];

/// `CAP_SYS_ADMIN`.
const ADMIN: u32 = 21;
/// `CAP_SYS_RESOURCE`, which lets a process raise its own limits.
const RESOURCE: u32 = 24;

/// The capabilities that a process can use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effective(u64);

impl Effective {
    /// Those in the text of `/proc/PID/status`; none if it does not tell.
    #[must_use]
    pub fn of_status(status: &str) -> Self {
        let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        Self(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0))
    }

    /// Whether a capability is among them, or one that stands for it.
    #[must_use]
    pub const fn has(self, capability: &Capability) -> bool {
        self.bit(capability.number) || (capability.by_admin && self.bit(ADMIN))
    }

    /// Whether the process may raise its limits.
    #[must_use]
    pub const fn raises_limits(self) -> bool {
        self.bit(RESOURCE)
    }

    /// Names of those that are required and not there.
    #[must_use]
    pub fn missing(self) -> Vec<&'static str> {
        let missing = CAPABILITIES.iter().filter(|one| one.need == Need::Required && !self.has(one));
        missing.map(|capability| capability.name).collect()
    }

    const fn bit(self, number: u32) -> bool {
        self.0 >> number & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status_file() {
        let missing = |mask: &str| {
            let status = format!("Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t{mask}\nCapBnd:\tff\n");
            Effective::of_status(&status).missing()
        };
        assert!(missing("000001ffffffffff").is_empty());
        assert!(missing("000000c000000000").is_empty());
        assert!(missing("0000000000200000").is_empty());
        assert_eq!(missing("0000008000000000"), ["CAP_PERFMON"]);
        assert_eq!(missing("0000000000000000"), ["CAP_PERFMON", "CAP_BPF"]);
        assert_eq!(Effective::of_status("").missing().len(), 2);
    }

    #[test]
    fn every_row_is_whole() {
        for capability in CAPABILITIES {
            let same =
                |other: &&Capability| other.number == capability.number || other.name == capability.name;
            assert_eq!(CAPABILITIES.iter().filter(same).count(), 1, "{}", capability.name);
            if let Need::Optional(without) = capability.need {
                assert!(without.ends_with('.'), "{}", capability.name);
            }
        }
        let admin = Effective(1 << ADMIN);
        let ptrace = CAPABILITIES.iter().find(|one| one.name == "CAP_SYS_PTRACE").unwrap();
        assert!(!admin.has(ptrace) && !admin.raises_limits());
    }
}
