//! Collapsed stacks: a line for each stack with the bytes that were copied by faults that had it, as `flamegraph.pl` and what
//! came after it read them.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write as _};

use super::Format;
use super::stacks::{Stack, Stacks, collapsed, is_copy};
use crate::record::schema::Trace;

/// The format.
pub(super) const FORMAT: Format = Format {
    name: "folded",
    extensions: &["folded", "collapsed"],
    about: "collapsed stacks by copied bytes, process first and write last, for flame graph tools",
    write,
};

/// A stack of the processes with one name, and what it copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weight {
    /// Index of the first process of that name.
    pub(super) process: usize,
    /// The stack.
    pub(super) stack: Stack,
    /// Bytes copied.
    pub(super) bytes: u64,
}

/// Adds up what each stack copied, by the name of the process, and by what `part` says of a fault; in the order of their
/// first copies.
pub(super) fn weights(
    trace: &Trace,
    stacks: &mut Stacks<'_>,
    part: impl Fn(&crate::record::schema::Fault) -> usize,
) -> Vec<(Weight, usize)> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    let first: Vec<usize> = trace
        .processes
        .iter()
        .enumerate()
        .map(|(index, process)| *first.entry(process.comm.as_str()).or_insert(index))
        .collect();
    let mut weights: Vec<(Weight, usize)> = Vec::new();
    let mut known: HashMap<(usize, Stack, usize), usize> = HashMap::new();
    for fault in trace.faults.iter().filter(|fault| is_copy(fault)) {
        let process = first.get(fault.process).copied().unwrap_or(usize::MAX);
        let (stack, part) = (stacks.of(fault), part(fault));
        let at = *known.entry((process, stack, part)).or_insert_with(|| {
            weights.push((Weight { process, stack, bytes: 0 }, part));
            weights.len() - 1
        });
        weights[at].0.bytes += fault.bytes;
    }
    weights
}

/// The outermost frame: the name of the process.
pub(super) fn root(trace: &Trace, process: usize) -> String {
    collapsed(trace.processes.get(process).map_or("", |process| process.comm.as_str()))
}

fn write(trace: &Trace, out: &mut dyn io::Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, out);
    let mut stacks = Stacks::new(trace);
    let weights = weights(trace, &mut stacks, |_| 0);
    let frames: Vec<String> = stacks.frames().iter().map(|frame| collapsed(&frame.label())).collect();
    for (weight, _) in weights {
        out.write_all(root(trace, weight.process).as_bytes())?;
        for frame in stacks.path(weight.stack) {
            write!(out, ";{}", frames[frame as usize])?;
        }
        writeln!(out, " {}", weight.bytes)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, written};
    use super::*;

    /// Each line as a reader takes it apart.
    fn lines(text: &str) -> Vec<(Vec<&str>, u64)> {
        text.lines()
            .map(|line| {
                let (stack, bytes) = line.rsplit_once(' ').unwrap();
                (stack.split(';').collect(), bytes.parse().unwrap())
            })
            .collect()
    }

    /// The bytes are the trace's; each stack is one line, from its process to its write.
    #[test]
    fn bytes_by_stack() {
        let trace = samples::usual();
        let text = written(&FORMAT, &trace);
        let lines = lines(&text);
        assert_eq!(lines.iter().map(|(_, bytes)| bytes).sum::<u64>(), samples::copied(&trace.faults).1);
        let imported = "python3;<module> (ann/multi.py:12);f (ann/multi.py:6);insertdict (libpython3.11.so.1.0);refcount of str";
        assert_eq!(lines[0], (imported.split(';').collect(), 6 * 4096));
        assert!(lines.contains(&(vec!["true", "library data environ"], 2 * 4096)));
        let stacks: std::collections::HashSet<_> = lines.iter().map(|(stack, _)| stack).collect();
        assert_eq!(stacks.len(), lines.len());
    }

    /// No name makes a frame, a line or a number more, and none is long.
    #[test]
    fn hostile_names() {
        let trace = samples::hostile();
        let text = written(&FORMAT, &trace);
        let lines = lines(&text);
        assert_eq!(lines.iter().map(|(_, bytes)| bytes).sum::<u64>(), samples::copied(&trace.faults).1);
        assert!(lines.iter().all(|(stack, _)| [3, 5].contains(&stack.len())), "{text}");
        assert!(
            lines
                .iter()
                .all(|(stack, _)| stack.iter().all(|frame| frame.len() < 4096 && frame.trim() == *frame))
        );
        assert!(!text.lines().any(|line| line.starts_with('#')));
        assert!(!text.chars().any(|c| c != '\n' && crate::record::json::is_invisible(c)));
    }

    /// A full disk is an error.
    #[test]
    fn full() {
        assert_eq!(
            write(&samples::usual(), &mut samples::Full).unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
    }
}
