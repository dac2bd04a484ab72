//! Pages of memory of this machine. Those of the machine that a recording comes from are in the recording.

pub use cowtrace_ebpf::page::PageSize;

/// The size of this machine's pages.
#[must_use]
pub fn here() -> PageSize {
    // The kernel tells it to every process. It has always been one of those that are known; where it were not, all that is told
    // in bytes would rest on the smallest.
    PageSize::of_bytes(procfs::page_size()).unwrap_or(PageSize::SMALLEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_pages_are_known() {
        assert_eq!(here().bytes(), procfs::page_size());
    }
}
