//! Releases from the repositories that teams have: their branches, tags, hooks, keys and addresses.

use crate::dsl::engine;
use crate::registry::Registry;
use crate::shop::Shop;

/// A shop whose registry nobody needs.
fn shop() -> Shop {
    Shop::new("127.0.0.1:1")
}

/// Makes `trunk` the default branch, one commit ahead of a `main` that nobody has removed.
fn with_trunk(shop: &Shop) -> (String, String) {
    let main = shop.git(&["rev-parse", "main"]);
    shop.git(&["checkout", "--quiet", "-b", "trunk"]);
    let trunk = shop.commit("on trunk");
    shop.git_there(&["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    (main, trunk)
}

fn setting(shop: &Shop, branch: &str) {
    let path = "environments/prod/environment.toml";
    let text = shop.project.read(path);
    let text = text.split("\n[release]").next().unwrap().to_owned();
    shop.project.file(path, format!("{text}\n[release]\nbranch = \"{branch}\"\n"));
}

#[test]
fn the_default_branch_of_the_remote_repository_is_released_whatever_its_name() {
    engine!();
    let mut shop = shop();
    let (_, trunk) = with_trunk(&shop);
    // A CI job gives git its settings by variables, since it has no home of its own.
    shop.git(&["config", "--unset", "user.name"]);
    shop.git(&["config", "--unset", "user.email"]);
    shop.git(&["config", "user.useConfigOnly", "true"]);
    for (name, value) in [
        ("GIT_CONFIG_COUNT", "2"),
        ("GIT_CONFIG_KEY_0", "user.name"),
        ("GIT_CONFIG_VALUE_0", "CI"),
        ("GIT_CONFIG_KEY_1", "user.email"),
        ("GIT_CONFIG_VALUE_1", "ci@example.org"),
    ] {
        shop.project.variable(name, value);
    }
    shop.release("minor").succeeds().prints("0.1.0 is released");
    assert_eq!(shop.record("0.1.0")["commit"], trunk.as_str());
    assert_eq!(shop.record("0.1.0")["by"]["email"], "ci@example.org");
    shop.release("minor").succeeds().says("trunk has nothing new since 0.1.0");
    // A colleague pushed, and nothing of that is here.
    let theirs = ["commit-tree", "-p", "trunk", "-m", "theirs", "trunk^{tree}"];
    let theirs = shop.git(&theirs);
    shop.git(&["push", "--quiet", "origin", &format!("{theirs}:refs/heads/trunk")]);
    shop.release("minor").exits(1).says("trunk is behind origin");
    shop.git(&["push", "--quiet", "--force", "origin", "trunk"]);
    // What the remote repository says counts more than what is checked out.
    shop.git(&["checkout", "--quiet", "main"]);
    let dry = shop.project.xtask(&["release", "0.2.0", "--dry-run"]).succeeds();
    dry.says(&format!("of commit {}", &trunk[..12]));
}

#[test]
fn a_branch_that_may_not_be_the_one_that_is_meant_is_never_released_without_a_word() {
    engine!();
    let shop = shop();
    let (main, _) = with_trunk(&shop);
    let refused = "trunk is checked out and is ahead of main, which releases come from; run `git \
                   switch main` if that is right, or name trunk in \
                   environments/prod/environment.toml: [release] branch = \"trunk\"";
    // A setting that is not that of the default branch.
    let path = "environments/prod/environment.toml";
    let before = shop.project.read(path);
    setting(&shop, "trunk");
    shop.commit("releases come from trunk");
    setting(&shop, "main");
    let two = "[release] branch is \"main\" in environments/prod/environment.toml, and \"trunk\" on \
               the default branch";
    shop.release("minor").exits(1).says(two);
    shop.project.file(path, before);
    shop.commit("no setting");
    // A setting that is no longer true.
    setting(&shop, "main");
    shop.release("minor").exits(1).says(refused);
    // A remote repository that names no branch.
    setting(&shop, "trunk");
    shop.git_there(&["symbolic-ref", "HEAD", "refs/heads/gone"]);
    let dry = shop.project.xtask(&["release", "minor", "--dry-run"]).succeeds();
    dry.says(&format!("of commit {}", &shop.git(&["rev-parse", "trunk"])[..12]));
    shop.git(&["checkout", "--quiet", "environments"]);
    shop.release("minor").exits(1).says(refused);
    // With the other branch checked out there is no doubt.
    shop.git(&["checkout", "--quiet", "main"]);
    let dry = shop.project.xtask(&["release", "minor", "--dry-run"]).succeeds();
    dry.says(&format!("of commit {}", &main[..12]));
    // Two usual names.
    shop.git(&["branch", "master"]);
    let two = "new releases may come from any of main, master, trunk; name the branch in";
    shop.release("minor").exits(1).says(two);
    // Names that are not of such a branch.
    for name in ["release-v1.0", "-f", "a..b", "a b", ""] {
        setting(&shop, name);
        shop.release("minor").exits(1).says(&format!("[release] branch {name:?} is"));
    }
}

#[test]
fn the_number_of_a_lightweight_tag_is_taken_and_the_next_one_is_advised() {
    engine!();
    let shop = shop();
    shop.git(&["tag", "v1.2.0"]);
    let words = "tag v1.2.0 is lightweight; releases need an annotated tag: remove it with `git \
                 tag --delete v1.2.0` (and in origin with `git push origin --delete v1.2.0`), or \
                 make the next release with `cargo xtask release 1.3.0`";
    shop.release("1.2.0").exits(1).says(words);
    for wanted in ["minor", "1.3.0"] {
        let dry = shop.project.xtask(&["release", wanted, "--dry-run"]).succeeds();
        dry.says("release 1.3.0, the first one, of commit");
    }
}

#[test]
fn what_git_would_refuse_at_the_end_is_said_at_the_beginning() {
    engine!();
    let shop = shop();
    let elsewhere = tempfile::tempdir().unwrap();
    let elsewhere = elsewhere.path().join("fork.git").display().to_string();
    shop.git(&["init", "--quiet", "--bare", &elsewhere]);
    shop.git(&["branch", "release-v1.0/foo"]);
    shop.git(&["tag", "v1.0.0/x"]);
    shop.git(&["push", "--quiet", "origin", "v1.0.0/x", "main:refs/heads/stevedore"]);
    shop.git(&["config", "tag.gpgSign", "true"]);
    shop.git(&["config", "user.signingKey", "nobody-has-it"]);
    shop.git(&["config", "remote.origin.pushurl", &elsewhere]);
    let remote = shop.remote().display().to_string();
    let mut answer = shop.release("1.0.0").exits(1);
    for words in [
        "git cannot make v1.0.0 while there is a tag v1.0.0/x; remove it with `git tag --delete \
         v1.0.0/x`, or rename it",
        "git cannot make release-v1.0 while there is a branch release-v1.0/foo; remove it with \
         `git branch --delete --force release-v1.0/foo`, or rename it",
        "origin cannot take refs/tags/v1.0.0 while it has a tag v1.0.0/x; remove it with `git push \
         origin --delete refs/tags/v1.0.0/x`, or rename it",
        "origin cannot take refs/heads/stevedore/publish/v1.0.0 while it has a branch stevedore; \
         remove it with `git push origin --delete refs/heads/stevedore`, or rename it",
        "git is told to sign tags (tag.gpgSign) and cannot: ",
        &format!(
            "origin is read from {remote} and pushed to {elsewhere}, which has different branches \
             or tags; `git remote get-url --push origin` must print the first address"
        ),
    ] {
        answer = answer.says(words);
    }
    assert_eq!(shop.git(&["tag"]), "v1.0.0/x");
    // Two addresses of one repository are fine.
    let url = format!("file://{remote}");
    shop.git(&["config", "remote.origin.pushurl", &url]);
    let answer = shop.release("1.0.0").exits(1);
    assert!(!answer.stderr.contains("is read from"), "{}", answer.stderr);
}

/// A hook that prints a sentence and refuses.
fn hook_that_says(path: &std::path::Path, words: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\necho '{words}' >&2\nexit 1\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_push_that_a_hook_refuses_says_so_and_what_the_hook_said() {
    engine!();
    let registry = Registry::start(&crate::dsl::Project::with_stack());
    let shop = Shop::new(&registry.address);
    shop.release("1.0.0").succeeds();
    let hook = shop.project.path(".git/hooks/pre-push");
    hook_that_says(&hook, "lint: two spaces");
    let answer = shop.publish("1.0.0").exits(1);
    let answer = answer
        .says("can't claim 1.0.0 in origin")
        .says("the pre-push hook .git/hooks/pre-push refused to push stevedore/publish/v1.0.0")
        .says("lint: two spaces");
    assert!(!answer.stderr.contains("somebody else"), "{}", answer.stderr);
    std::fs::remove_file(&hook).unwrap();
    // The same, told by the remote repository.
    let there = shop.remote().join("hooks/pre-receive");
    hook_that_says(&there, "only the release manager");
    let answer = shop.publish("1.0.0").exits(1);
    let answer = answer
        .says("a rule of origin refused stevedore/publish/v1.0.0")
        .says("only the release manager");
    assert!(!answer.stderr.contains("somebody else"), "{}", answer.stderr);
    std::fs::remove_file(&there).unwrap();
    shop.publish("1.0.0").succeeds();
    a_clone_of_a_tag_job_is_told_what_to_fetch(&shop);
}

/// actions/checkout leaves the tag that a job runs for lightweight, and without its history.
fn a_clone_of_a_tag_job_is_told_what_to_fetch(shop: &Shop) {
    let clone = shop.project.scratch().join("tag-job");
    let path = clone.display().to_string();
    let url = format!("file://{}", shop.remote().display());
    let git = |arguments: &[&str]| crate::shop::git(&clone, arguments);
    let xtask = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
        let output =
            command.arg("-C").arg(&clone).args(arguments).env_remove("CI").output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    shop.git(&["clone", "--quiet", &url, &path]);
    let commit = git(&["rev-parse", "v1.0.0^{commit}"]);
    git(&["update-ref", "refs/tags/v1.0.0", &commit]);
    let words = "tag v1.0.0 is lightweight here, and a release in origin; get it with `git fetch \
                 --force origin tag v1.0.0`";
    for wanted in ["1.0.0", "minor"] {
        let said = xtask(&["release", wanted]);
        assert!(said.contains(words) && !said.contains("--delete"), "{said}");
    }
    let said = xtask(&["publish", "1.0.0", "--yes"]);
    assert!(said.contains("`git fetch --tags --force` gets those"), "{said}");
    // The tag itself, without what it is of.
    std::fs::remove_dir_all(&clone).unwrap();
    shop.git(&["clone", "--quiet", "--depth", "1", "--branch", "v1.0.0", &url, &path]);
    for arguments in [vec!["publish", "1.0.0", "--yes"], vec!["release", "verify", "1.0.0"]] {
        let said = xtask(&arguments);
        let words = "this clone is shallow and lacks the commit of 1.0.0; `git fetch --unshallow`";
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_number_that_the_registry_has_with_other_images_is_lost_and_the_next_may_follow() {
    engine!();
    let registry = Registry::start(&crate::dsl::Project::with_stack());
    let shop = Shop::new(&registry.address);
    shop.release("1.0.0").succeeds();
    shop.publish("1.0.0").succeeds();
    let path = format!("team/{}/app", shop.project.name);
    let lost = format!("{}/{path}:1.1.0", registry.address);
    let image = shop.name("1.0.0", "app");
    for arguments in [vec!["image", "tag", &image, &lost], vec!["image", "push", "--quiet", &lost]]
    {
        crate::dsl::docker(&arguments);
    }
    crate::dsl::docker(&["image", "rm", &lost]);
    shop.project.file("app/source.txt", "two\n");
    shop.commit("a second");
    let refused = shop.release("1.1.0").exits(1);
    refused.says("app:1.1.0 already, and a published name never moves; make the next version with `cargo xtask release 1.2.0`");
    assert_eq!(shop.git(&["tag", "--list", "v1.1.0"]), "");
    shop.release("1.2.0").succeeds().says("the registry has 1.1.0 already; its number is taken");
    assert_eq!(shop.record("1.2.0")["previous"], "1.0.0");
    shop.publish("1.2.0").succeeds();
    let lost = lost.replace("1.1.0", "1.3.0-rc.1");
    for arguments in [vec!["image", "tag", &image, &lost], vec!["image", "push", "--quiet", &lost]]
    {
        crate::dsl::docker(&arguments);
    }
    crate::dsl::docker(&["image", "rm", &lost]);
    let dry = shop.project.xtask(&["release", "1.3.0-rc.2", "--dry-run"]).succeeds();
    dry.says("the registry has 1.3.0-rc.1 already").says("release 1.3.0-rc.2, after 1.2.0");
    let gap = "1.4.0 does not follow 1.2.0; that is `cargo xtask release 1.3.0`";
    shop.release("1.4.0").exits(1).says(gap);
}

#[test]
fn prereleases_are_tested_under_their_own_names_and_their_images_are_those_of_the_release() {
    engine!();
    let shop = shop();
    shop.release("1.0.0").succeeds();
    let first = shop.git(&["rev-parse", "main"]);
    shop.project.file("app/source.txt", "two\n");
    shop.commit("a second");
    shop.release("1.1.0-rc.2").exits(1).says("that is `cargo xtask release 1.1.0-rc.1`");
    // A fix whose number somebody used for a tag.
    shop.git(&["tag", "v1.0.1"]);
    shop.release("1.0.1").exits(1).says("make the next release with `cargo xtask release 1.0.2`");
    let dry = shop.project.xtask(&["release", "1.0.2", "--dry-run"]).succeeds();
    dry.says("release 1.0.2, after 1.0.0, of commit");
    shop.git(&["tag", "--delete", "v1.0.1"]);
    // A fix on a branch of its own is not on the one that fixes come from.
    shop.git(&["checkout", "--quiet", "-b", "hotfix", "release-v1.0"]);
    shop.git(&["commit", "--quiet", "--allow-empty", "--message", "the fix"]);
    for wanted in ["patch", "1.0.1"] {
        shop.release(wanted).exits(1).says("hotfix is checked out and is ahead of release-v1.0");
    }
    shop.git(&["checkout", "--quiet", "main"]);
    shop.release("1.1.0-rc.1").succeeds().prints("1.1.0-rc.1 is released");
    shop.project.file("app/source.txt", "three\n");
    let commit = shop.commit("a third");
    shop.release("1.1.0-rc.1")
        .exits(1)
        .says("make the next one with `cargo xtask release 1.1.0-rc.2`");
    shop.release("1.1.0-rc.2").succeeds();
    for version in ["1.1.0-rc.1", "1.1.0-rc.2"] {
        assert_eq!(shop.record(version)["previous"], "1.0.0");
    }
    assert_eq!(shop.git(&["branch", "--list", "release-*"]), "  release-v1.0");
    shop.release("minor").succeeds().prints("1.1.0 is released");
    assert_eq!(shop.record("1.1.0")["previous"], "1.0.0", "nobody ran a prerelease in production");
    assert_eq!(shop.record("1.1.0")["commit"], commit.as_str());
    assert_eq!(shop.config("1.1.0", "app"), shop.config("1.1.0-rc.2", "app"));
    assert_ne!(shop.config("1.1.0", "app"), shop.config("1.1.0-rc.1", "app"));
    shop.release("1.1.0-rc.3").exits(1).says("1.1.0 is released, so 1.1.0-rc.3 comes too late");
    shop.project.xtask(&["release", "--abort", "1.1.0-rc.1", "--yes"]).succeeds();
    assert_eq!(shop.git(&["rev-parse", "release-v1.0"]), first);
    assert_eq!(shop.git(&["rev-parse", "release-v1.1"]), commit);
    let list = shop.project.xtask(&["releases"]).succeeds().stdout;
    let versions: Vec<&str> = list.lines().filter_map(|it| it.split_whitespace().next()).collect();
    let expected = ["1.1.0", "1.1.0-rc.2", "1.0.0"];
    assert_eq!(
        versions.iter().filter(|it| it.contains('.')).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>(),
        "{list}"
    );
}
