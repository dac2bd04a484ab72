//! One run of qemu: until it ends, says nothing for too long, or takes too long.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::console::Console;
use super::disks::Suite;
use super::guest;
use crate::command;

/// A guest that has said nothing for so long hangs. One test takes a minute at most.
const SILENCE: Duration = Duration::from_secs(240);
/// No guest may take longer.
const WHOLE: Duration = Duration::from_secs(3600);
/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) how: How,
    pub(super) after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// By itself; a kernel that panics does, too.
    Itself,
    /// It was ended: neither serial line had said anything for [`SILENCE`].
    Silent,
    /// It was ended after [`WHOLE`].
    Endless,
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Itself => f.write_str("ended by itself"),
            Self::Silent => write!(f, "hung: nothing was heard for {} s, ended", SILENCE.as_secs()),
            Self::Endless => write!(f, "took more than {} min, ended", WHOLE.as_secs() / 60),
        }
    }
}

/// Ends with whoever started it.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots a kernel and hands over every line of the second serial line. What the kernel says goes into `log`. After `until`, in
/// seconds of the clock, no job begins.
pub(super) fn run(
    suite: &Suite,
    disks: [&PathBuf; 3],
    log: &Path,
    until: Option<u64>,
    console: &mut Console,
) -> Result<Ended> {
    let mut command = qemu(suite, disks, log, until);
    let shown = command::show(&command);
    let mut guest = Guest(command.spawn().with_context(|| format!("failed to start: {shown}"))?);
    let output = guest.0.stdout.take().context("qemu's output is not piped")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { break };
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                break;
            }
        }
    });
    let start = Instant::now();
    let (mut heard, mut logged) = (start, 0);
    let how = loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                console.line(&line);
                heard = Instant::now();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break How::Itself,
        }
        let length = fs::metadata(log).map_or(0, |log| log.len());
        if length != logged {
            (heard, logged) = (Instant::now(), length);
        }
        if heard.elapsed() > SILENCE {
            break How::Silent;
        }
        if start.elapsed() > WHOLE {
            break How::Endless;
        }
    };
    Ok(Ended { how, after: start.elapsed() })
}

fn qemu(suite: &Suite, disks: [&PathBuf; 3], log: &Path, until: Option<u64>) -> Command {
    // However this program ends, the guest ends with it.
    let mut qemu = Command::new("/usr/bin/setpriv");
    qemu.args(["--pdeathsig", "KILL", "--", "/usr/bin/qemu-system-x86_64"]);
    // Emulation: where a machine is itself a guest, /dev/kvm may be there and not work. Two processors take turns in one thread:
    // in a thread each, one now and then executes a breakpoint by which the kernel was just changing its own code (static
    // branches, tracepoints) after the other has ended that change, and the kernel knows nothing of it: `Oops: int3`.
    qemu.args(["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", "2048"]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    qemu.arg("-kernel").arg(&suite.kernel).arg("-initrd").arg(&suite.initrd);
    // On a busy machine the emulated timer is too late for the kernel, which would not start; `no_timer_check` believes in it.
    // Whatever stops the kernel resets the machine, and that ends qemu.
    // A processor that stood still for some seconds is none of the kernel's doing where the machine below is shared.
    let until = until.map(|until| format!(" {}={until}", guest::UNTIL)).unwrap_or_default();
    let words = format!(
        "root=LABEL={} rw init={} console=ttyS0 panic=-1 oops=panic net.ifnames=0 no_timer_check \
         watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120 quiet loglevel=5{until}",
        guest::BASE,
        guest::INIT_PATH
    );
    qemu.arg("-append").arg(words);
    qemu.arg("-chardev")
        .arg(format!("file,id=kernel,path={}", log.display()))
        .args(["-serial", "chardev:kernel"]);
    qemu.args(["-serial", "stdio"]);
    for disk in disks {
        qemu.arg("-drive").arg(format!("file={},format=raw,if=virtio,snapshot=on", disk.display()));
    }
    qemu.stdin(Stdio::null()).stdout(Stdio::piped());
    qemu
}
