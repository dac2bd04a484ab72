//! The command line program: options in, what they ask for, an exit status out.

use std::process::ExitCode;

use cowtrace::process::launch::Inherited;
use cowtrace::{cli, commands, diag};

fn main() -> ExitCode {
    let inherited = Inherited::capture();
    let task = cli::parse();
    log_to_stderr(task.verbose());
    match commands::run(&task, inherited) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            diag::tell(&failure.notice);
            ExitCode::from(failure.status)
        }
    }
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => log::LevelFilter::Off,
        1 => log::LevelFilter::Info,
        2 => log::LevelFilter::Debug,
        _ => log::LevelFilter::Trace,
    };
    let target = env_logger::Target::Pipe(Box::new(diag::held::Log));
    env_logger::Builder::new().filter_level(level).format_timestamp(None).target(target).init();
}
