//! The unwind table of one file: `.eh_frame`, and the index of it that the linker made, or one made here.

use gimli::{
    BaseAddresses, EhFrame, EhFrameHdr, EndianSlice, FrameDescriptionEntry, LittleEndian, UnwindContext,
    UnwindSection as _,
};

use super::End;
use super::registers::{Registers, Words};
use super::step::{self, Bytes, Stepped};

/// Bytes of one function's entry that are believed.
const MAX_ENTRY: usize = 1 << 20;

/// Bytes that are loaded at an address, as in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    pub(super) address: u64,
    pub(super) bytes: Vec<u8>,
}

/// A file's table.
#[derive(Debug)]
pub(super) struct Table {
    frames: Section,
    header: Option<Section>,
    /// Functions by address: start and offset of the entry. Empty if the linker's index serves.
    index: Vec<(u64, usize)>,
    /// Address and size of the interpreter's loop, if the file has one.
    interpreter: Option<(u64, u64)>,
    /// Room to work in.
    context: Box<UnwindContext<usize>>,
}

impl Table {
    /// Makes a table of its sections.
    pub(super) fn new(frames: Section, header: Option<Section>, interpreter: Option<(u64, u64)>) -> Self {
        let mut table =
            Self { frames, header, index: Vec::new(), interpreter, context: Box::new(UnwindContext::new()) };
        if !table.has_linkers_index() {
            table.header = None;
            table.index = table.entries();
        }
        table
    }

    fn bases(&self) -> BaseAddresses {
        let bases = BaseAddresses::default().set_eh_frame(self.frames.address);
        self.header.as_ref().map_or(bases.clone(), |header| bases.set_eh_frame_hdr(header.address))
    }

    fn section(&self) -> EhFrame<Bytes<'_>> {
        EhFrame::new(&self.frames.bytes, LittleEndian)
    }

    fn has_linkers_index(&self) -> bool {
        let Some(header) = &self.header else { return false };
        EhFrameHdr::new(&header.bytes, LittleEndian)
            .parse(&self.bases(), 8)
            .is_ok_and(|parsed| parsed.table().is_some())
    }

    /// Reads the whole section once; what follows a malformed entry is not known.
    fn entries(&self) -> Vec<(u64, usize)> {
        let (section, bases) = (self.section(), self.bases());
        let mut found = Vec::new();
        let mut entries = section.entries(&bases);
        while let Ok(Some(entry)) = entries.next() {
            if let gimli::CieOrFde::Fde(partial) = entry
                && let Ok(entry) = partial.parse(EhFrame::cie_from_offset)
            {
                found.push((entry.initial_address(), entry.offset()));
            }
        }
        found.sort_unstable();
        found
    }

    /// The entry of the function that holds an address.
    fn entry(&self, address: u64) -> Option<FrameDescriptionEntry<Bytes<'_>>> {
        let (section, bases) = (self.section(), self.bases());
        let entry = if let Some(header) = &self.header {
            let header: EhFrameHdr<EndianSlice<'_, LittleEndian>> =
                EhFrameHdr::new(&header.bytes, LittleEndian);
            let parsed = header.parse(&bases, 8).ok()?;
            parsed.table()?.fde_for_address(&section, &bases, address, EhFrame::cie_from_offset).ok()?
        } else {
            let after = self.index.partition_point(|&(start, _)| start <= address);
            let &(_, offset) = self.index.get(after.checked_sub(1)?)?;
            let offset = gimli::EhFrameOffset(offset);
            section.fde_from_offset(&bases, offset, EhFrame::cie_from_offset).ok()?
        };
        (entry.contains(address) && entry.entry_len() <= MAX_ENTRY).then_some(entry)
    }

    /// Goes from the frame of an address (as in the file) to its caller's; `None` = the table has nothing for it.
    pub(super) fn step(
        &mut self,
        address: u64,
        registers: &mut Registers,
        words: &mut Words<'_>,
    ) -> Result<Option<Stepped>, End> {
        let mut context = std::mem::take(&mut self.context);
        let stepped = self.step_in(&mut context, address, registers, words);
        self.context = context;
        stepped
    }

    fn step_in(
        &self,
        context: &mut UnwindContext<usize>,
        address: u64,
        registers: &mut Registers,
        words: &mut Words<'_>,
    ) -> Result<Option<Stepped>, End> {
        let Some(entry) = self.entry(address) else { return Ok(None) };
        let (section, bases) = (self.section(), self.bases());
        let row = entry
            .unwind_info_for_address(&section, &bases, context, address)
            .map_err(|_error| End::Malformed)?;
        let signal = entry.is_signal_trampoline();
        let return_address = entry.cie().return_address_register();
        let mut stepped = step::by_row(row, &section, return_address, signal, registers, words)?;
        stepped.interpreter =
            self.interpreter.is_some_and(|(start, size)| address.wrapping_sub(start) < size);
        Ok(Some(stepped))
    }
}
