//! What the targets share.

use std::panic;
use std::process;

#[doc(hidden)]
pub use libfuzzer_sys::fuzz_target;

/// Makes the program of one row of [`cowtrace::fuzz::TARGETS`].
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        $crate::fuzz_target!(init: $crate::end_by_own_panics(), |bytes: &[u8]| {
            cowtrace::fuzz::$name(bytes)
        });
    };
}

/// Has a panic of cowtrace's own code end the target at once, also where cowtrace would catch it.
///
/// cowtrace catches panics in two places, where it hands files of the target to libraries (`symbolize::native`, `unwind`):
/// what such a library makes of a broken file is an answer there. A library's panic that cowtrace does not catch ends the
/// target all the same, for libFuzzer's own frame around a target lets none through.
pub fn end_by_own_panics() {
    let say = panic::take_hook();
    drop(say);
    panic::set_hook(Box::new(|panic| {
        let own = panic.location().is_none_or(|place| !place.file().contains("/registry/src/"));
        if own {
            eprintln!("{panic}");
            process::abort();
        }
    }));
}
