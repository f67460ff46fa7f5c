//! Releases of commits whose files lie elsewhere: submodules and Git LFS.

use std::fs;

use crate::dsl::{engine, file_in_image};
use crate::shop::{Shop, git};

/// A shop whose registry nobody needs.
fn shop() -> Shop {
    Shop::new("127.0.0.1:1")
}

/// A repository with one file; its branch moves on after that commit.
fn library(directory: &std::path::Path, name: &str) -> String {
    let path = directory.join(name);
    let shown = path.display().to_string();
    git(directory, &["init", "--quiet", "--initial-branch", "main", &shown]);
    git(&path, &["config", "user.name", "Ada"]);
    git(&path, &["config", "user.email", "ada@example.org"]);
    fs::write(path.join("file.txt"), format!("{name}, as it is pinned\n")).unwrap();
    git(&path, &["add", "--all"]);
    git(&path, &["commit", "--quiet", "--message", "one"]);
    shown
}

fn add_submodule(repository: &std::path::Path, url: &str, path: &str) {
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", url, path];
    git(repository, &add);
}

#[test]
fn submodules_are_released_as_the_commit_pins_them_from_here_or_from_their_address() {
    engine!();
    let shop = shop();
    let elsewhere = tempfile::tempdir().unwrap();
    let inner = library(elsewhere.path(), "inner");
    let outer = library(elsewhere.path(), "outer");
    add_submodule(outer.as_ref(), &inner, "in");
    git(outer.as_ref(), &["commit", "--quiet", "--message", "with one of its own"]);
    add_submodule(shop.project.root(), &outer, "app/vendor");
    shop.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "update",
        "--recursive",
        "--init",
    ]);
    // As repositories of one team name each other.
    let modules = shop.project.read(".gitmodules").replace(&outer, "../outer");
    shop.project.file(".gitmodules", modules);
    shop.commit("with a library");
    for url in [&inner, &outer] {
        fs::write(format!("{url}/file.txt"), "moved on\n").unwrap();
        git(url.as_ref(), &["commit", "--quiet", "--all", "--message", "two"]);
    }
    shop.release("0.1.0").succeeds();
    let name = shop.name("0.1.0", "app");
    assert_eq!(file_in_image(&name, "/app/vendor/file.txt"), "outer, as it is pinned\n");
    assert_eq!(file_in_image(&name, "/app/vendor/in/file.txt"), "inner, as it is pinned\n");
    let find = ["run", "--rm", &name, "find", "/app", "-name", ".git"];
    assert_eq!(crate::dsl::docker(&find), "", "where a repository was is not a part of a release");

    // A clone that has none of them gets them from their addresses.
    let clone = elsewhere.path().join("clone");
    let remote = shop.remote().display().to_string();
    git(elsewhere.path(), &["clone", "--quiet", "--bare", &remote, "shop.git"]);
    let near = elsewhere.path().join("shop.git").display().to_string();
    git(elsewhere.path(), &["clone", "--quiet", &near, "clone"]);
    let release = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.arg("-C").arg(&clone).args(["release", "0.2.0", "--dry-run"]).env_remove("CI");
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    git(&clone, &["config", "user.name", "Eve"]);
    git(&clone, &["config", "user.email", "eve@example.org"]);
    let (done, words) = release();
    assert!(done && words.contains("getting app/vendor from"), "{words}");
    fs::remove_dir_all(&outer).unwrap();
    let (done, words) = release();
    assert!(!done && words.contains("can't get the submodule app/vendor at"), "{words}");
    // An address may hold a password, as in the clones of CI jobs.
    let url = "http://ci:sesame@127.0.0.1:1/team/shop.git";
    git(&clone, &["remote", "set-url", "origin", url]);
    let (done, words) = release();
    assert!(!done && words.contains("getting app/vendor from http://127.0.0.1:1/team/outer"));
    assert!(!words.contains("sesame"), "{words}");
}

#[test]
fn what_git_lfs_keeps_is_released_with_its_content_or_not_at_all() {
    engine!();
    let shop = shop();
    let content = "the picture\n";
    let hash = fingerprint::sha256(content.as_bytes());
    let pointer = format!(
        "version https://git-lfs.github.com/spec/v1\noid sha256:{hash}\nsize {}\n",
        content.len()
    );
    shop.project.file(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    shop.project.file("app/picture.bin", &pointer);
    shop.commit("with a picture");
    // Installed or not, it finds no server here.
    let missing = "Git LFS keeps files of this release that are not here: app/picture.bin; ";
    shop.release("0.1.0").exits(1).says(missing);
    let object = format!(".git/lfs/objects/{}/{}/{hash}", &hash[..2], &hash[2..4]);
    shop.project.file(&object, "the pictura\n");
    shop.release("0.1.0")
        .exits(1)
        .says("can't take app/picture.bin from Git LFS")
        .says("is damaged");
    shop.project.file(&object, content);
    shop.release("0.1.0").succeeds();
    assert_eq!(file_in_image(&shop.name("0.1.0", "app"), "/app/picture.bin"), content);

    // A program of this machine does not decide what is released.
    shop.project.file(".gitattributes", "*.txt filter=crypt\n");
    shop.commit("with a filter");
    shop.git(&["config", "filter.crypt.smudge", "tr a-z A-Z"]);
    let words = ".gitattributes names the filter crypt; a release takes its files as they are in";
    shop.release("0.2.0").succeeds().says(words);
    assert_eq!(file_in_image(&shop.name("0.2.0", "app"), "/app/source.txt"), "one\n");
}
