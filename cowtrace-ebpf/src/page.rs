//! Pages of memory: their size is the machine's, 4 KiB on x86-64, and 4, 16 or 64 KiB on arm64, as its kernel was built. All
//! arithmetic on pages goes through here, in both halves.

/// A size of pages: a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageSize {
    shift: u32,
}

impl PageSize {
    /// 4 KiB: the smallest there is, that of x86-64, and of every recording that does not say which.
    pub const SMALLEST: Self = Self { shift: 12 };
    /// 64 KiB: the largest that Linux has on x86-64 and arm64.
    pub const LARGEST: Self = Self { shift: 16 };

    /// Pages of 2 to this power bytes. Higher powers than an address has bits count from 0 again.
    #[must_use]
    #[inline(always)]
    pub const fn of_shift(shift: u32) -> Self {
        Self { shift: shift & 63 }
    }

    /// Pages of so many bytes; `None` if no machine has such: it is no power of two, or not from
    /// [`PageSize::SMALLEST`] to [`PageSize::LARGEST`].
    #[must_use]
    pub const fn of_bytes(bytes: u64) -> Option<Self> {
        if bytes.is_power_of_two() && bytes >= Self::SMALLEST.bytes() && bytes <= Self::LARGEST.bytes() {
            Some(Self { shift: bytes.trailing_zeros() })
        } else {
            None
        }
    }

    /// The power of two.
    #[must_use]
    pub const fn shift(self) -> u32 {
        self.shift
    }

    /// Bytes of a page.
    #[must_use]
    #[inline(always)]
    pub const fn bytes(self) -> u64 {
        1 << self.shift
    }

    /// Number of the page that holds an address.
    #[must_use]
    #[inline(always)]
    pub const fn number(self, address: u64) -> u64 {
        address >> self.shift
    }

    /// Address of the first byte of the page that holds an address.
    #[must_use]
    #[inline(always)]
    pub const fn start(self, address: u64) -> u64 {
        address & !(self.bytes() - 1)
    }

    /// Position of an address in its page.
    #[must_use]
    #[inline(always)]
    pub const fn offset(self, address: u64) -> u64 {
        address & (self.bytes() - 1)
    }

    /// Bytes from an address to the end of its page; the whole page's at its start.
    #[must_use]
    #[inline(always)]
    pub const fn rest(self, address: u64) -> u64 {
        self.bytes() - self.offset(address)
    }

    /// Bytes of pages that lie together, two to the power of `order` of them: what the kernel allocates at once.
    #[must_use]
    #[inline(always)]
    pub const fn together(self, order: u8) -> u64 {
        self.bytes() << (order & 31)
    }

    /// Bytes of so many pages; the largest number where they are more.
    #[must_use]
    pub const fn of_pages(self, pages: u64) -> u64 {
        pages.saturating_mul(self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every size that Linux has on x86-64 and arm64.
    const SIZES: [(u64, u32); 3] = [(4 << 10, 12), (16 << 10, 14), (64 << 10, 16)];

    #[test]
    fn addresses_lie_in_pages() {
        for (bytes, shift) in SIZES {
            let size = PageSize::of_bytes(bytes).unwrap();
            assert_eq!((size.shift(), size), (shift, PageSize::of_shift(shift)));
            let start = 0x7f00_0000_0000 + 3 * bytes;
            for (offset, rest) in [(0, bytes), (1, bytes - 1), (bytes - 1, 1)] {
                let address = start + offset;
                assert_eq!(size.start(address), start, "{bytes}");
                assert_eq!(size.number(address), start / bytes, "{bytes}");
                assert_eq!((size.offset(address), size.rest(address)), (offset, rest), "{bytes}");
            }
            assert_eq!(size.number(start + bytes), size.number(start) + 1, "{bytes}");
            assert_eq!(size.start(u64::MAX), u64::MAX - (bytes - 1), "{bytes}");
        }
    }

    /// What one entry of the table above the last maps: 2, 32 and 512 MiB.
    #[test]
    fn huge_pages_have_the_order_of_a_table() {
        for ((bytes, shift), huge) in SIZES.into_iter().zip([2 << 20, 32 << 20, 512 << 20]) {
            // A table is a page of 8-byte entries.
            let order = u8::try_from(shift - 3).unwrap();
            let size = PageSize::of_shift(shift);
            assert_eq!(size.together(order), huge, "{bytes}");
            assert_eq!(size.together(0), bytes);
            assert_eq!((size.of_pages(10), size.of_pages(u64::MAX)), (10 * bytes, u64::MAX));
        }
    }

    #[test]
    fn other_sizes_are_none() {
        for bytes in [0, 1, 512, 2048, 4095, 4097, 12 << 10, 128 << 10, 2 << 20, u64::MAX] {
            assert_eq!(PageSize::of_bytes(bytes), None, "{bytes}");
        }
    }
}
