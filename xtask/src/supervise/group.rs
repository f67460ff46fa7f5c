//! Process groups, sessions, and what the kernel knows of our descendants.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, getpid, getppid, kill_process, kill_process_group,
    set_parent_process_death_signal, setsid,
};

/// Puts a child into a process group of its own, and ends it when we die.
#[allow(unsafe_code)]
pub(crate) fn start_in_group(command: &mut Command) {
    command.process_group(0);
    #[cfg(target_os = "linux")]
    let parent = getpid();
    #[cfg(target_os = "linux")]
    // SAFETY: between fork and exec only these two system calls are made; they allocate nothing.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::TERM))?;
            // Who died before that call was made sends no signal.
            match getppid() {
                Some(now) if now == parent => Ok(()),
                _ => Err(Errno::SRCH.into()),
            }
        });
    }
}

/// Kills a child that was started in a group, with all that it has started there, and waits for it.
pub(crate) fn kill(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let _ = child.wait();
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
pub(super) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Some(getpid()));
}

/// What /proc says of a process that has not ended.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) pid: Pid,
    pub(super) group: u32,
    parent: u32,
    session: u32,
}

/// All processes of this machine; none where there is no /proc.
fn all() -> Vec<Seen> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let seen = pids.filter_map(|pid| {
        let stat = Stat::of(pid)?;
        let raw = i32::try_from(pid).ok()?;
        (!stat.has_ended()).then_some(())?;
        Some(Seen {
            pid: Pid::from_raw(raw)?,
            parent: stat.field(1)?,
            group: stat.field(2)?,
            session: stat.field(3)?,
        })
    });
    seen.collect()
}

/// Our children, theirs, and so on.
pub(super) fn descendants() -> Vec<Seen> {
    let mut children: BTreeMap<u32, Vec<Seen>> = BTreeMap::new();
    for seen in all() {
        children.entry(seen.parent).or_default().push(seen);
    }
    let mut found = Vec::new();
    let mut parents = vec![std::process::id()];
    while let Some(parent) = parents.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            parents.push(child.pid.as_raw_pid().unsigned_abs());
            found.push(child);
        }
    }
    found
}

/// Our descendants in words, a line each: `PID of PARENT: COMMAND`.
pub(crate) fn described() -> String {
    let describe = |seen: Seen| {
        let pid = seen.pid.as_raw_pid();
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&command).replace(['\0', '\n'], " ");
        let words: String = words.chars().take(200).collect();
        format!("  {pid} of {}: {}\n", seen.parent, words.trim_end())
    };
    descendants().into_iter().map(describe).collect()
}

/// Kills every process of a session whose leader is gone; its number is taken while one is left.
pub(super) fn kill_session(leader: u32) {
    loop {
        let mut left = all();
        left.retain(|seen| seen.session == leader);
        if left.iter().filter(|seen| kill_process(seen.pid, Signal::KILL).is_ok()).count() == 0 {
            return;
        }
    }
}

/// When a process started, in ticks since the machine did: with its id, its identity.
///
/// `None` for one that has ended, also where nobody has taken its exit status yet: not every
/// container has an init process that does.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    Stat::of(pid).filter(|stat| !stat.has_ended())?.field(19)
}

/// /proc/PID/stat behind the name.
struct Stat(String);

impl Stat {
    fn of(pid: u32) -> Option<Stat> {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        Some(Stat(stat.rsplit_once(") ")?.1.to_owned()))
    }

    /// A field, counted from 0.
    fn field<T: std::str::FromStr>(&self, index: usize) -> Option<T> {
        self.0.split(' ').nth(index)?.parse().ok()
    }

    fn has_ended(&self) -> bool {
        self.field::<char>(0).is_none_or(|state| "ZX".contains(state))
    }
}
