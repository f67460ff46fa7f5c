//! Process groups, orphans and what the kernel knows of our children.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, set_parent_process_death_signal, setsid};

/// Puts a child into a process group of its own, and ends it when we die.
#[allow(unsafe_code)]
pub(crate) fn start_in_group(command: &mut Command) {
    command.process_group(0);
    #[cfg(target_os = "linux")]
    // SAFETY: between fork and exec only this one system call is made; it allocates nothing.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
    }
}

/// Puts a child into a session of its own: it outlives us and our terminal.
#[allow(unsafe_code)]
pub(crate) fn start_in_session(command: &mut Command) {
    // SAFETY: between fork and exec only this one system call is made; it allocates nothing.
    unsafe {
        command.pre_exec(|| setsid().map(drop).map_err(Into::into));
    }
}

/// From now on orphans among our descendants become our children (Linux).
pub(crate) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Our children, from /proc; none where there is no /proc.
pub(crate) fn children() -> Vec<Pid> {
    let me = std::process::id();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mine = pids.filter(|pid| stat_field(*pid, 1) == Some(me));
    mine.filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect()
}

/// Takes the exit status of every child that has ended.
pub(crate) fn reap() {
    use rustix::process::{WaitOptions, wait};
    while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
}

/// When a process started, in ticks since the machine did: with its id, its identity.
///
/// `None` for one that has ended, also where nobody has taken its exit status yet: not every
/// container has an init process that does.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let ended: bool = stat_field::<char>(pid, 0).is_none_or(|state| "ZX".contains(state));
    (!ended).then(|| stat_field(pid, 19))?
}

/// A field of /proc/PID/stat, counted from 0 behind the name.
fn stat_field<T: std::str::FromStr>(pid: u32, index: usize) -> Option<T> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(index)?.parse().ok()
}
