//! git and remote repositories: what they have, where they are, and changing their references.

use xshell::{Cmd, Shell};

use super::git;

/// Every branch and tag of a remote repository, and its default branch.
pub(crate) fn remote_references<'s>(sh: &'s Shell, remote: &str) -> Cmd<'s> {
    git(sh).args(["ls-remote", "--symref", "--", remote, "HEAD", "refs/heads/*", "refs/tags/*"])
}

/// The default branch in what [`remote_references`] prints; `None` where the remote repository has
/// no such branch, as an empty one.
pub(crate) fn parse_default_branch(stdout: &str) -> Option<String> {
    let line = stdout.lines().find(|line| line.starts_with("ref: ") && line.ends_with("\tHEAD"))?;
    let name = line.strip_prefix("ref: ")?.strip_suffix("\tHEAD")?;
    Some(name.strip_prefix("refs/heads/")?.to_owned())
}

/// Where pushes to a remote repository go, one address a line.
pub(crate) fn push_urls<'s>(sh: &'s Shell, remote: &str) -> Cmd<'s> {
    git(sh).args(["remote", "get-url", "--push", "--all", remote])
}

/// [`remote_references`] of an address, which may hold a password: it is told to git by variables,
/// behind the settings that the caller gives in the same way.
pub(crate) fn references_at<'s>(sh: &'s Shell, url: &str) -> Cmd<'s> {
    const NAME: &str = "stevedore-push-url";
    let given =
        sh.var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(0u32);
    remote_references(sh, NAME)
        .env(format!("GIT_CONFIG_KEY_{given}"), format!("remote.{NAME}.url"))
        .env(format!("GIT_CONFIG_VALUE_{given}"), url)
        .env("GIT_CONFIG_COUNT", (given + 1).to_string())
}

/// An address without the name and the password that it may hold.
pub(crate) fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit('@').next().unwrap_or(host);
    format!("{scheme}://{host}{path}")
}

/// Where a remote repository is read from.
pub(crate) fn fetch_url<'s>(sh: &'s Shell, remote: &str) -> Cmd<'s> {
    git(sh).args(["remote", "get-url", remote])
}

pub(crate) fn remotes(sh: &Shell) -> Cmd<'_> {
    git(sh).arg("remote")
}

/// The remote repository that a branch belongs to; fails where none is set.
pub(crate) fn remote_of<'s>(sh: &'s Shell, branch: &str) -> Cmd<'s> {
    git(sh).args(["config", "--get", &format!("branch.{branch}.remote")])
}

/// Changes references of a remote repository, all of them or none. Each is `SOURCE:NAME`, without a
/// source to remove it, and with what it must be there now: nothing when that is empty.
pub(crate) fn push<'s>(sh: &'s Shell, remote: &str, changes: &[Change]) -> Cmd<'s> {
    let leases = changes.iter().map(|it| format!("--force-with-lease={}:{}", it.name, it.expected));
    let refspecs = changes.iter().map(|it| format!("{}:{}", it.source, it.name));
    git(sh).args(["push", "--atomic", "--no-follow-tags"]).args(leases).arg(remote).args(refspecs)
}

/// One change of [`push`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// An object, or empty to remove the reference.
    pub(crate) source: String,
    /// Such as `refs/heads/main`.
    pub(crate) name: String,
    /// The object that it names there now; empty when it is not there.
    pub(crate) expected: String,
}

/// Gets one commit of a remote repository, without a trace but its objects.
pub(crate) fn fetch_object<'s>(sh: &'s Shell, remote: &str, reference: &str) -> Cmd<'s> {
    git(sh)
        .args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--"])
        .args([remote, reference])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_login() {
        for (url, shown) in [
            ("https://user:p@ss@host/x", "https://host/x"),
            ("https://token@host", "https://host"),
            ("https://host/a@b", "https://host/a@b"),
            ("ssh://user:secret@host:22/x", "ssh://host:22/x"),
            ("git@host:team/x.git", "git@host:team/x.git"),
            ("/srv/x@y.git", "/srv/x@y.git"),
        ] {
            assert_eq!(without_login(url), shown);
        }
    }

    #[test]
    fn the_default_branch_is_read_where_there_is_one() {
        let said = "ref: refs/heads/trunk\tHEAD\n1a\tHEAD\n1a\trefs/heads/trunk\n";
        assert_eq!(parse_default_branch(said).as_deref(), Some("trunk"));
        assert_eq!(parse_default_branch("1a\tHEAD\n1a\trefs/heads/trunk\n"), None);
        assert_eq!(super::super::parse_references(said).len(), 1);
    }
}
