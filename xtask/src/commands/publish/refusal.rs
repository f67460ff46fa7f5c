//! Why a push failed: what git and its hooks print decides what helps.

use std::path::PathBuf;

use crate::ctx::{Ctx, QUESTION};
use crate::tools::git;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A reference was moved by a different push. The same command decides anew.
    Moved,
    /// This repository's own pre-push hook.
    Hook(PathBuf),
    /// A hook or a rule of the remote repository.
    Remote,
    /// No access to the remote repository, or it is not there.
    Access,
    /// Its git cannot change two references in one step.
    NotAtomic,
    /// None of these.
    Unknown,
}

impl Refusal {
    /// Reads what a failed push printed.
    pub(super) fn of(ctx: &Ctx, words: &str) -> Refusal {
        match classify(words) {
            Some(refusal) => refusal,
            None if words.contains("error: failed to push some refs") => {
                hook(ctx).map_or(Refusal::Unknown, Refusal::Hook)
            }
            None => Refusal::Unknown,
        }
    }

    /// What to do, after `remote` did not take `what`; nothing where nobody can know.
    pub(super) fn advice(&self, what: &str, remote: &str) -> Option<String> {
        Some(match self {
            Refusal::Moved | Refusal::Unknown => return None,
            Refusal::Hook(hook) => format!(
                "the pre-push hook {} refused to push {what} to {remote}; mend what it reports, \
                 then run the same command again",
                hook.display()
            ),
            Refusal::Remote => format!(
                "a rule of {remote} refused {what}; allow its branches and tags there, then run \
                 the same command again"
            ),
            Refusal::Access => format!(
                "{remote} does not let git push {what}; `git push --dry-run {remote} HEAD` must \
                 work, then run the same command again"
            ),
            Refusal::NotAtomic => format!(
                "{remote} can't take branch and tag in one step, so neither was pushed; update its \
                 git to 2.4 or newer"
            ),
        })
    }
}

/// Reads git's own lines: hooks and servers print what they want. `None` where none of them is
/// about the cause, as after a hook.
fn classify(words: &str) -> Option<Refusal> {
    let lines = || words.lines().map(str::trim);
    let fatal = || lines().filter(|line| line.starts_with("fatal: "));
    if fatal().any(|line| line.contains("does not support --atomic")) {
        return Some(Refusal::NotAtomic);
    }
    // ` ! [rejected] SOURCE -> NAME (REASON)`; a server that sees two pushes at once rejects one.
    let reasons: Vec<(bool, &str)> = lines()
        .filter(|line| line.starts_with("! ["))
        .filter_map(|line| {
            Some((line.starts_with("! [remote rejected]"), line.rsplit_once('(')?.1))
        })
        .collect();
    let raced = ["stale info", "fetch first", "non-fast-forward", "cannot lock ref", "exists"];
    let moved = |(by_remote, reason): &(bool, &str)| {
        !by_remote || raced.iter().any(|text| reason.contains(text))
    };
    match reasons.iter().find(|(_, reason)| !reason.contains("atomic")) {
        Some(found) if moved(found) => return Some(Refusal::Moved),
        Some(_) => return Some(Refusal::Remote),
        None if !reasons.is_empty() => return Some(Refusal::Moved),
        None => {}
    }
    let access = [
        "Authentication failed",
        "Could not read from remote repository",
        "could not read Username",
        "could not read Password",
        "The requested URL returned error",
        "unable to access",
        "does not appear to be a git repository",
        "Could not resolve host",
    ];
    match fatal().any(|line| access.iter().any(|text| line.contains(text))) {
        true => Some(Refusal::Access),
        false => fatal().next().map(|_| Refusal::Unknown),
    }
}

/// The hook that git runs before it pushes, where there is one.
fn hook(ctx: &Ctx) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let answer = ctx.ask(git::own_file(&ctx.sh, "hooks/pre-push"), QUESTION).ok()?;
    let path = PathBuf::from(answer.stdout.trim_end_matches('\n'));
    let found = std::fs::metadata(ctx.root.join(&path)).ok()?;
    (found.is_file() && found.permissions().mode() & 0o111 != 0).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_prints_tells_the_causes_apart() {
        for (words, expected) in [
            (
                " ! [rejected]  1a2b -> stevedore/publish/v1.2.0 (stale info)\n\
                 error: failed to push some refs to '/srv/shop.git'",
                Some(Refusal::Moved),
            ),
            (
                " ! [remote rejected] 1a2b -> v1.2.0 (cannot lock ref 'refs/tags/v1.2.0': \
                 reference already exists)",
                Some(Refusal::Moved),
            ),
            (
                "remote: only the release manager\n ! [remote rejected] 1a2b -> v1.2.0 \
                 (pre-receive hook declined)",
                Some(Refusal::Remote),
            ),
            (
                "remote: error: GH006: Protected branch update failed for refs/heads/release-v1.2.\n \
                 ! [remote rejected] 1a2b -> release-v1.2 (protected branch hook declined)",
                Some(Refusal::Remote),
            ),
            (
                "git@example.org: Permission denied (publickey).\nfatal: Could not read from \
                 remote repository.",
                Some(Refusal::Access),
            ),
            (
                "fatal: could not read Username for 'https://example.org': terminal prompts \
                 disabled",
                Some(Refusal::Access),
            ),
            ("fatal: the receiving end does not support --atomic push", Some(Refusal::NotAtomic)),
            (
                "remote: a ticket already exists\n ! [remote rejected] 1a2b -> v1.2.0 \
                 (pre-receive hook declined)",
                Some(Refusal::Remote),
            ),
            (
                "fatal: the remote end hung up unexpectedly\nerror: failed to push some refs",
                Some(Refusal::Unknown),
            ),
            ("it already exists\nerror: failed to push some refs to '/srv/shop.git'", None),
            ("lint: no\nerror: failed to push some refs to '/srv/shop.git'", None),
        ] {
            assert_eq!(classify(words), expected, "{words}");
        }
    }
}
