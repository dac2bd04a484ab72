//! Any bytes as a recording.

use std::fs::File;
use std::io::{Seek as _, Write as _};

use arbitrary::Unstructured;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{MAGIC, START, VERSION, block, columns, read};
use crate::record::build::Builder;
use crate::record::piece;
use crate::record::schema::{Outcome, Trace};

/// Blocks of a made file at most.
const BLOCKS: usize = 16;

/// A file is refused, or read up to some block; what is read holds together, and is the same when it is handed on and put
/// together once more.
///
/// The first byte says what follows: a file (0), or the bodies of blocks, each behind its kind (u8), its items (u16) and its
/// length (u16), of which a file is made: to guess a checksum would take for ever.
pub(crate) fn recording(bytes: &[u8]) {
    let Some((form, rest)) = bytes.split_first() else { return };
    let content = if *form == 0 { rest.to_vec() } else { made(rest) };
    let Ok(reading) = read(file(&content), &mut |_| {}) else { return };
    assert_eq!(reading.about.bytes, content.len() as u64);
    let trace = reading.trace;
    sound(&trace);
    if reading.about.cut.is_some() {
        counted(&trace);
    }
    let again = rebuilt(&trace);
    assert_eq!(again.processes, trace.processes);
    assert_eq!(again.faults, trace.faults);
    assert_eq!(again.losses, trace.losses);
    assert_eq!(again.writes.values(), trace.writes.values());
    assert_eq!(again.python.values(), trace.python.values());
}

fn made(bytes: &[u8]) -> Vec<u8> {
    let mut content = vec![0; START];
    content[..MAGIC.len()].copy_from_slice(&MAGIC);
    content[MAGIC.len()..][..4].copy_from_slice(&VERSION.to_le_bytes());
    let mut rest = Unstructured::new(bytes);
    for _ in 0..BLOCKS {
        let Ok((kind, items, len)) = rest.arbitrary::<(u8, u16, u16)>() else { break };
        let Ok(body) = rest.bytes(usize::from(len).min(rest.len())) else { break };
        if let Ok(block) = block::seal(kind, items.into(), body, &uncompressed(body)) {
            content.extend_from_slice(&block);
        }
        if rest.is_empty() {
            break;
        }
    }
    content
}

/// A body as zstd stores what it cannot make smaller: to compress it takes longer than to read it.
/// <https://github.com/facebook/zstd/blob/v1.5.7/doc/zstd_compression_format.md>
fn uncompressed(body: &[u8]) -> Vec<u8> {
    // One segment, whose size has four bytes; no checksum, no dictionary.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000];
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    frame.extend_from_slice(&len.to_le_bytes());
    // One block: the last (bit 0), raw (bits 1 and 2), its size above them.
    frame.extend_from_slice(&(len << 3 | 1).to_le_bytes()[..3]);
    frame.extend_from_slice(body);
    frame
}

/// The form that [`recording`] makes blocks of.
#[cfg(test)]
pub(crate) fn blocks(bodies: &[(u8, u16, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![1];
    for (kind, items, body) in bodies {
        bytes.push(*kind);
        bytes.extend_from_slice(&items.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(body.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend_from_slice(body);
    }
    bytes
}

fn file(content: &[u8]) -> File {
    let make = || -> std::io::Result<File> {
        let mut file = File::from(memfd_create(c"fuzz", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(content)?;
        file.rewind()?;
        Ok(file)
    };
    make().expect("a file in memory")
}

/// Whatever refers to something refers to something that is there, and nobody is their own ancestor.
fn sound(trace: &Trace) {
    for fault in &trace.faults {
        assert!(fault.process < trace.processes.len());
        assert!(fault.region.index() < trace.regions.values().len());
        assert!(fault.operation.index() < trace.operations.values().len());
        assert!(fault.write.index() < trace.writes.values().len());
        assert!(fault.site.is_none_or(|site| site.index() < trace.sites.values().len()));
        assert!(fault.python.index() < trace.python.values().len());
        assert!(fault.native.index() < trace.native.values().len());
    }
    assert!(trace.faults.is_sorted_by_key(|fault| fault.time));
    for start in 0..trace.processes.len() {
        let above = std::iter::successors(Some(start), |at| trace.processes[*at].parent);
        assert!(above.take(trace.processes.len() + 1).count() <= trace.processes.len(), "a circle");
    }
}

/// Of what was cut off, every fault that the kernel counted is listed, was not to be, or is lost.
fn counted(trace: &Trace) {
    for (index, process) in trace.processes.iter().enumerate() {
        for outcome in Outcome::ALL {
            let of =
                |fault: &&crate::record::schema::Fault| fault.process == index && fault.outcome == outcome;
            let listed = trace.faults.iter().filter(of).count() as u64;
            let total = process.totals.of(outcome);
            let told = listed.saturating_add(total.unlisted).saturating_add(total.lost);
            assert_eq!(total.faults, told, "{outcome:?} of {index}");
        }
    }
}

fn rebuilt(trace: &Trace) -> Trace {
    let mut builder = Builder::default();
    for piece in piece::of(trace) {
        builder.take(piece).expect("it was put together from such pieces");
    }
    builder.finish(None)
}

/// The faults of a block are read as a whole or not at all, and written as they were read.
pub(crate) fn columns(bytes: &[u8]) {
    let Some((count, body)) = bytes.split_first_chunk() else { return };
    let count = usize::from(u16::from_le_bytes(*count));
    let Some(faults) = columns::decode(body, count) else { return };
    assert_eq!(faults.len(), count);
    assert!(count * columns::COLUMNS <= body.len(), "faults of no bytes");
    let written = columns::encode(&faults);
    assert_eq!(columns::decode(&written, count).as_ref(), Some(&faults));
}
