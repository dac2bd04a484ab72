//! What runs in a guest, and how it tells of itself.

use std::path::Path;

use anyhow::{Result, bail};

use super::Options;

/// Labels of the disks.
pub(super) const BASE: &str = "cowtrace-base";
pub(super) const SUITE: &str = "cowtrace-suite";
pub(super) const JOBS: &str = "cowtrace-jobs";
/// The first program, on the root's disk.
pub(super) const INIT_PATH: &str = "/sbin/cowtrace-matrix";
/// It goes on with what is on the disk of this run.
pub(super) const INIT: &str = "#!/bin/sh\nmkdir -p /jobs\nmount LABEL=cowtrace-jobs /jobs\nexec /jobs/run\n";
/// The folder with what tests read.
pub(super) const FILES: &str = "files";
/// Begins a line about a job, on the second serial line: `begin NAME`, `end NAME STATUS`.
pub(super) const MARK: &str = "=matrix= ";

/// The tests that have jobs.
pub(super) const TESTS: [&str; 3] = ["ground_truth", "seed", "experiments"];
/// The cases all over again, without anything that depends on the kernel: half of the time.
const SKIPPED: &str = "default_listing";
/// What is emulated takes so many times as long as it would.
const PATIENCE: u32 = 20;

/// One thing that is done in each guest.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) name: &'static str,
    /// In the shell's language.
    command: String,
    /// It runs tests, and tells of each.
    pub(super) has_tests: bool,
}

/// The jobs that are asked for.
pub(super) fn jobs(options: &Options) -> Result<Vec<Job>> {
    let only: String = options.only.iter().map(|part| format!(" '{}'", part.replace('\'', ""))).collect();
    let tests = |name: &'static str, test: &str| Job {
        name,
        command: format!("/jobs/{test} --test-threads=1 --show-output --skip {SKIPPED}{only}"),
        has_tests: true,
    };
    let alone =
        |name: &'static str, command: &str| Job { name, command: command.to_owned(), has_tests: false };
    let mut jobs = vec![
        alone("doctor", "/jobs/cowtrace doctor"),
        // What the kernel says of a program that it refuses is long, and its end tells most.
        alone(
            "trace",
            "if /jobs/cowtrace --all -o /tmp/true.jsonl -- true; then head -c 4000 /tmp/true.jsonl; \
             else /jobs/cowtrace -v -- true 2>&1 | tail -n 150; false; fi",
        ),
        tests("oracle", "oracle"),
        tests("ground-truth", "ground_truth"),
        tests("seed", "seed"),
        tests("experiments", "experiments"),
    ];
    if let Some(unknown) = options.job.iter().find(|word| jobs.iter().all(|job| job.name != word.as_str())) {
        bail!(
            "no job {unknown}: there are {}",
            jobs.iter().map(|job| job.name).collect::<Vec<_>>().join(", ")
        );
    }
    jobs.retain(|job| options.job.is_empty() || options.job.iter().any(|word| word == job.name));
    Ok(jobs)
}

/// The program that runs all jobs and ends the guest: a reset, by which qemu ends.
pub(super) fn script(workspace: &Path, jobs: &[Job]) -> String {
    let workspace = workspace.display();
    let mut text = format!(
        "#!/bin/sh\n\
         exec </dev/null >/dev/ttyS1 2>&1\n\
         stty -F /dev/ttyS1 raw -echo\n\
         export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 COWTRACE_BIN=/jobs/cowtrace\n\
         export COWTRACE_REPEAT=1 COWTRACE_PATIENCE={PATIENCE}\n\
         export COWTRACE_PYTHON_ROOTS=/suite COWTRACE_PYTHON_ONLY_ROOTS=1\n\
         mkdir -p /suite {workspace}\n\
         mount -o remount,rw /\n\
         mount LABEL={SUITE} /suite\n\
         for what in proc:/proc sysfs:/sys devtmpfs:/dev; do\n\
         \x20   mountpoint -q ${{what#*:}} || mount -t ${{what%:*}} ${{what%:*}} ${{what#*:}}\n\
         \x20   mount --bind ${{what#*:}} /suite${{what#*:}}\n\
         done\n\
         mkdir -p /dev/pts /dev/shm\n\
         mount -t devpts -o ptmxmode=666 devpts /dev/pts\n\
         mount -t devpts -o ptmxmode=666 devpts /suite/dev/pts\n\
         mount -t tmpfs tmpfs /dev/shm\n\
         mount --bind /jobs/{FILES} {workspace}\n\
         cd {workspace}/tests\n\
         uname -r\n",
    );
    for job in jobs {
        let Job { name, command, .. } = job;
        text += &format!(
            "echo '{MARK}begin {name}'\n{command}\nstatus=$?\necho\necho \"{MARK}end {name} $status\"\n"
        );
    }
    text + "sync\necho b >/proc/sysrq-trigger\nsleep 60\n"
}
