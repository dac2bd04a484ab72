//! Two threads write 32 MiB over and over while the first one runs 40 commands, each by fork and exec, because it is told a
//! user's id. From a fork until its exec or end every page that the threads write is copied, in the parent, by `write_pages`.
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const PAGE: usize = 4096;
const COMMANDS: usize = 40;

#[inline(never)]
fn write_pages(memory: &mut [u8], round: u8) {
    for page in memory.chunks_mut(PAGE) {
        page[7] = round;
        std::hint::black_box(&mut *page);
    }
}

fn main() {
    // By its own file's owner, which is who runs it.
    let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("/proc is there"));
    let done = AtomicBool::new(false);
    let mut memory = vec![1_u8; 32 << 20];
    let (one, other) = memory.split_at_mut(16 << 20);
    thread::scope(|scope| {
        for part in [one, other] {
            scope.spawn(|| {
                let mut round = 0_u8;
                while !done.load(Ordering::Relaxed) {
                    round = round.wrapping_add(1);
                    write_pages(part, round);
                }
            });
        }
        for _ in 0..COMMANDS {
            let status = Command::new("/bin/true").uid(user).status().expect("the command runs");
            assert!(status.success());
        }
        done.store(true, Ordering::Relaxed);
    });
    println!("{}", memory.len());
}
