//! What `ci --another-day` changes for tests: the clock of the tool that they run.

use std::fs;
use std::process::Command;

/// Puts the clock of a command into another year in `ci --another-day`: of those that write down
/// when something was. All others start programs that compare their clock with one that stays (a
/// file system, an Elastic Beanstalk), or that the library which sets the clock brings to a halt
/// (compilers).
pub(crate) fn move_the_clock(command: &mut Command, arguments: &[&str]) {
    const MOVED: [&str; 5] = ["bundle", "diff", "publish", "release", "releases"];
    if !is_simulated() || !arguments.iter().any(|it| MOVED.contains(it)) {
        return;
    }
    let library = fs::read_dir("/usr/lib").unwrap().flatten();
    let library = library.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    let library = library.into_iter().find(|path| path.exists()).expect("Debian's libfaketime");
    command.env("LD_PRELOAD", library).env("FAKETIME", "+400d");
    // Times of files and durations stay as they are.
    command.env("NO_FAKE_STAT", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

pub(crate) fn is_simulated() -> bool {
    std::env::var_os("STEVEDORE_ANOTHER_DAY").is_some()
}
