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
/// Begins a line about a job, on the second serial line: `begin NAME`, `again TEST`, `end NAME STATUS`, or `late NAME` alone.
pub(super) const MARK: &str = "=matrix= ";

/// The cases all over again, without anything that depends on the kernel: half of the time.
const SKIPPED: &str = "default_listing";
/// Everything may take so many times as long as it would.
const PATIENCE: u32 = 20;

/// Where more tests of a job fail than so many, none is run again: it is not by chance.
const UNSTEADY: usize = 4;

/// One thing that is done in each guest.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) name: &'static str,
    does: Does,
    /// Variables of the environment.
    environment: &'static [(&'static str, &'static str)],
}

#[derive(Debug, Clone, Copy)]
enum Does {
    /// A command in the shell's language, judged by its status.
    Command(&'static str),
    /// A program of tests, which tells of each.
    Tests(&'static str),
}

/// The rung that every kernel has, where cowtrace would choose the other.
const BASE_RUNG: &[(&str, &str)] = &[("COWTRACE_RUNG", "base")];

/// All jobs, in their order: one row for each.
const ALL: &[Job] = &[
    Job { name: "doctor", does: Does::Command("/jobs/cowtrace doctor"), environment: &[] },
    Job { name: "trace", does: Does::Command(TRACE), environment: &[] },
    Job { name: "trace-base", does: Does::Command(TRACE), environment: BASE_RUNG },
    Job { name: "oracle", does: Does::Tests("oracle"), environment: &[] },
    Job { name: "ground-truth", does: Does::Tests("ground_truth"), environment: &[] },
    Job { name: "ground-truth-base", does: Does::Tests("ground_truth"), environment: BASE_RUNG },
    Job { name: "seed", does: Does::Tests("seed"), environment: &[] },
    Job { name: "seed-base", does: Does::Tests("seed"), environment: BASE_RUNG },
    Job { name: "experiments", does: Does::Tests("experiments"), environment: &[] },
    Job { name: "experiments-base", does: Does::Tests("experiments"), environment: BASE_RUNG },
];

/// What the kernel says of a program that it refuses is long, and its end tells most.
const TRACE: &str = "rung=${COWTRACE_RUNG:+--rung $COWTRACE_RUNG}; if /jobs/cowtrace $rung --all --force -o /tmp/true.jsonl -- true; then head -c 4000 /tmp/true.jsonl; \
                     else /jobs/cowtrace -v $rung -- true 2>&1 | tail -n 150; false; fi";

impl Job {
    pub(super) fn has_tests(&self) -> bool {
        self.tests().is_some()
    }

    /// The program of tests that it runs.
    pub(super) fn tests(&self) -> Option<&'static str> {
        match self.does {
            Does::Command(_) => None,
            Does::Tests(program) => Some(program),
        }
    }

    /// In the shell's language. A test that has failed is run again, once.
    fn script(&self, only: &str) -> String {
        let variables: String =
            self.environment.iter().map(|(name, value)| format!("export {name}={value}; ")).collect();
        match self.does {
            Does::Command(command) => format!("({variables}{command})\nstatus=$?\n"),
            Does::Tests(program) => {
                let run = format!("({variables}/jobs/{program} --test-threads=1 --show-output --color never");
                format!(
                    "{run} --skip {SKIPPED}{only}; echo $? >/tmp/status) 2>&1 | tee /tmp/said\n\
                     status=$(cat /tmp/status)\n\
                     set -- $(sed -n '/^failures:$/,/^$/ s/^    //p' /tmp/said | grep '^[a-z0-9_]*$' | sort -u)\n\
                     [ $# -le {UNSTEADY} ] || set --\n\
                     for test; do\n\
                     \x20   echo\n\
                     \x20   echo \"{MARK}again $test\"\n\
                     \x20   {run} --exact $test) 2>&1\n\
                     done\n"
                )
            }
        }
    }
}

/// The jobs that are asked for.
pub(super) fn jobs(options: &Options) -> Result<Vec<&'static Job>> {
    if let Some(unknown) = options.job.iter().find(|word| ALL.iter().all(|job| job.name != word.as_str())) {
        bail!(
            "no job {unknown}: there are {}",
            ALL.iter().map(|job| job.name).collect::<Vec<_>>().join(", ")
        );
    }
    let is_asked =
        |job: &&Job| options.job.is_empty() || options.job.iter().any(|word| word.as_str() == job.name);
    Ok(ALL.iter().filter(is_asked).collect())
}

/// The words by which tests are chosen, quoted for the shell.
fn only(options: &Options) -> String {
    options.only.iter().map(|part| format!(" '{}'", part.replace('\'', ""))).collect()
}

/// Word of the kernel's command line: after so many seconds of the clock no job begins.
pub(super) const UNTIL: &str = "cowtrace_until";

/// The program that runs all jobs and ends the guest: a reset, by which qemu ends.
pub(super) fn script(workspace: &Path, jobs: &[&Job], options: &Options) -> String {
    let only = only(options);
    let workspace = workspace.display();
    let mut text = format!(
        "#!/bin/sh\n\
         exec </dev/null >/dev/ttyS1 2>&1\n\
         stty -F /dev/ttyS1 raw -echo\n\
         export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 COWTRACE_BIN=/jobs/cowtrace\n\
         export COWTRACE_REPEAT=1 COWTRACE_TOGETHER=1 COWTRACE_PATIENCE={PATIENCE}\n\
         export COWTRACE_PYTHON_ROOTS=/suite COWTRACE_PYTHON_ONLY_ROOTS=1\n\
         mkdir -p /suite {workspace}\n\
         mount -o remount,rw /\n\
         mount LABEL={SUITE} /suite\n\
         for what in proc:/proc sysfs:/sys devtmpfs:/dev; do\n\
         \x20   mountpoint -q ${{what#*:}} || mount -t ${{what%:*}} ${{what%:*}} ${{what#*:}}\n\
         \x20   mount --bind ${{what#*:}} /suite${{what#*:}}\n\
         done\n\
         mkdir -p /dev/pts /dev/shm\n\
         mount -t tracefs tracefs /sys/kernel/tracing\n\
         mount -t devpts -o ptmxmode=666 devpts /dev/pts\n\
         mount -t devpts -o ptmxmode=666 devpts /suite/dev/pts\n\
         mount -t tmpfs tmpfs /dev/shm\n\
         mount --bind /jobs/{FILES} {workspace}\n\
         cd {workspace}/tests\n\
         until=$(sed -n 's/.*{UNTIL}=\\([0-9]*\\).*/\\1/p' /proc/cmdline)\n\
         uname -r\n",
    );
    if let Some(rung) =
        options.rung.as_ref().filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
    {
        text += &format!("export COWTRACE_RUNG={rung}\n");
    }
    for job in jobs {
        let name = job.name;
        text += &format!(
            "if [ -n \"$until\" ] && [ \"$(date +%s)\" -ge \"$until\" ]; then echo '{MARK}late {name}'; else\n\
             echo '{MARK}begin {name}'\n{}echo\necho \"{MARK}end {name} $status\"\n\
             fi\n",
            job.script(&only)
        );
    }
    text + "sync\necho b >/proc/sysrq-trigger\nsleep 60\n"
}
