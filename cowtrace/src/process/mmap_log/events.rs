//! The kernel's news of mappings: perf events that count nothing and carry its side-band records, one for each CPU.

use std::io;

use perf_event_open::config::{Clock, Cpu, Opts, Proc, UseBuildId};
use perf_event_open::count::Counter;
use perf_event_open::event::sw::Software;
use perf_event_open::sample::Sampler;
use perf_event_open::sample::record::Record;
use perf_event_open::sample::record::mmap::{Info, Mmap};

use super::{Entry, MmapLog};
use crate::process::maps::parse::classify;
use crate::process::maps::{Kind, Mapping};

/// Pages of each CPU's buffer, as a power of two: 512 KiB, some 4,000 mappings.
const PAGES: u8 = 7;
/// How often what is old is forgotten (nanoseconds).
const TIDY: u64 = 1_000_000_000;

/// Listens to every process of the machine, for a new one's first mapping may come before the news of its fork.
///
/// To be emptied after the ring buffer: what a fault's process had mapped was told before the fault.
pub struct MmapEvents {
    samplers: Vec<Sampler>,
    log: MmapLog,
    tidied: u64,
}

impl MmapEvents {
    /// Begins to listen.
    ///
    /// # Errors
    /// The kernel has no perf events, or does not allow them.
    pub fn listen(log: MmapLog) -> io::Result<Self> {
        let mut options =
            Opts { enable: true, record_id_all: true, timer: Some(Clock::Monotonic), ..Opts::default() };
        options.record_id_format.time = true;
        options.extra_record.comm = true;
        options.extra_record.mmap.code = true;
        options.extra_record.mmap.data = true;
        options.extra_record.mmap.ext = Some(UseBuildId(false));
        let mut samplers = Vec::new();
        for cpu in aya::util::online_cpus().map_err(|(_, error)| error)? {
            let counter = Counter::new(Software::Dummy, (Proc::ALL, Cpu(cpu)), &options)?;
            samplers.push(counter.sampler(PAGES)?);
        }
        Ok(Self { samplers, log, tidied: 0 })
    }

    /// Writes down what has come.
    pub fn drain(&mut self, now: u64) {
        let mut log = self.log.lock();
        for sampler in &self.samplers {
            for (_, record) in sampler.iter().into_iter().flatten() {
                match record {
                    Record::Mmap(mmap) => {
                        if let Some((time, mapping)) = read(&mmap) {
                            log.add(mmap.task.pid, time, Entry::Mapped(mapping));
                        }
                    }
                    Record::Comm(comm) if comm.by_execve => {
                        if let Some(time) = comm.record_id.and_then(|id| id.time) {
                            log.add(comm.task.pid, time, Entry::Exec);
                        }
                    }
                    Record::LostRecords(lost) => log.lost += lost.lost_records,
                    _ => {}
                }
            }
        }
        if now.saturating_sub(self.tidied) >= TIDY {
            self.tidied = now;
            log.tidy(now);
        }
    }
}

/// The mapping as a maps file would show it.
///
/// The kernel's names differ from those files' in one: memory without a file is `//anon`
/// (<https://github.com/torvalds/linux/blob/v6.18/kernel/events/core.c>, `perf_event_mmap_event`).
fn read(mmap: &Mmap) -> Option<(u64, Mapping)> {
    let time = mmap.record_id.as_ref()?.time?;
    let ext = mmap.ext.as_ref()?;
    let Info::Device { major, minor, inode, .. } = ext.info else { return None };
    let flag = |value: libc::c_int| u32::try_from(value).unwrap_or_default();
    let shared = ext.flags & flag(libc::MAP_SHARED) != 0;
    let name = mmap.file.as_bytes();
    let (kind, path, deleted) = match name {
        b"//anon" => (Kind::Anonymous, None, false),
        _ => classify(name, inode, shared),
    };
    let mapping = Mapping {
        start: mmap.addr,
        end: mmap.addr.checked_add(mmap.len)?,
        offset: if path.is_some() { mmap.page_offset } else { 0 },
        readable: ext.prot & flag(libc::PROT_READ) != 0,
        writable: ext.prot & flag(libc::PROT_WRITE) != 0,
        executable: ext.prot & flag(libc::PROT_EXEC) != 0,
        shared,
        device: (major, minor),
        inode,
        kind,
        path,
        deleted,
    };
    (mapping.start < mapping.end).then_some((time, mapping))
}
