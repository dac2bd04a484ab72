//! The code that the kernel maps into every program (`[vdso]`): the same image in ours as in the target.

use object::{Object as _, ObjectSection as _};

use super::table::{Section, Table};
use crate::memory::{Live, Memory as _};
use crate::process::maps::{Kind, Maps};

/// The kernel's name for its mapping.
pub(super) const NAME: &str = "[vdso]";
/// Bytes of it that are read at most.
const MAX: u64 = 1 << 20;

/// Its table.
pub(super) fn table() -> Option<Table> {
    let pid = std::process::id();
    let maps = Maps::of(pid).ok()?;
    let own = maps.iter().find(|mapping| matches!(&mapping.kind, Kind::Special(name) if name == NAME))?;
    let size = usize::try_from((own.end - own.start).min(MAX)).ok()?;
    let mut image = vec![0; size];
    Live::new(pid).read(own.start, &mut image).ok()?;
    let file = object::File::parse(&*image).ok()?;
    let section = |name: &str| {
        let section = file.section_by_name(name)?;
        Some(Section { address: section.address(), bytes: section.data().ok()?.to_vec() })
    };
    Some(Table::new(section(".eh_frame")?, section(".eh_frame_hdr"), None))
}
