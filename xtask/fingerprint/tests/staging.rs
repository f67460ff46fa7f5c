//! The private copy that a builder gets: whatever was left in its place, it ends up as exactly the
//! tree that was hashed, or it is refused.
//!
//! Damage is what a killed run, a full disk or a curious user leaves there; edits are done to the
//! source before the walk, between walk and copy, and while the copying runs.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_macros)]
#![allow(clippy::print_stderr)]

#[path = "support/chance.rs"]
mod chance;
#[path = "support/tree.rs"]
mod tree;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use chance::{Chance, size};
use fingerprint::ignore::Ignore;
use fingerprint::stage::{self, Moved};
use fingerprint::{StatCache, Tree, Walk};
use tree::{EDITS, Edit, Modes, Node, Snapshot};

/// A source and its copy, with the state that xtask keeps of both.
struct Bench {
    directory: tempfile::TempDir,
    ignore: Ignore,
    /// Path, size and time of a copied file -> what it held.
    seen: HashMap<(Vec<u8>, u64, i64, i64), Vec<u8>>,
}

impl Bench {
    fn new(chance: &mut Chance) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("state/contexts")).unwrap();
        let bench = Bench {
            directory,
            ignore: Ignore::parse(tree::IGNORE.as_bytes()).unwrap(),
            seen: HashMap::new(),
        };
        tree::plant(chance, &bench.source());
        bench
    }

    fn source(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn staging(&self) -> PathBuf {
        self.state().join("contexts/app-1234")
    }

    fn settled(&self) -> Snapshot {
        tree::snapshot(&self.source(), Modes::Settled)
    }

    fn edit(&self, chance: &mut Chance, kind: Edit) {
        tree::edit(chance, &self.source(), &self.settled(), kind);
    }

    fn walk(&self) -> Tree {
        let (root, ignore) = (&self.source(), &self.ignore);
        let walk = Walk { root, ignore, leave_out: None, exact_modes: false };
        let path = self.state().join("source");
        let walked = walk.read(&StatCache::load(&path, root), Some(&self.state())).unwrap();
        if let Some(bytes) = walked.cache {
            fs::write(path, bytes).unwrap();
        }
        walked.tree
    }

    /// As xtask does it: stage, store the cache. Whether there was something to store.
    fn stage(&self, wanted: &Tree) -> anyhow::Result<bool> {
        let path = self.state().join("staged");
        let bytes = stage::stage(&self.source(), wanted, &self.staging(), &path, false)?;
        if let Some(bytes) = &bytes {
            fs::write(path, bytes).unwrap();
        }
        Ok(bytes.is_some())
    }

    /// The copy is the wanted tree, and no file's size and time stood for another content before.
    fn check(&mut self, wanted: &Snapshot, what: &str) {
        let found = tree::snapshot(&self.staging(), Modes::Exact);
        assert_eq!(&found, wanted, "{what}");
        for (path, node) in found {
            let Node::File(_, bytes) = node else { continue };
            let meta = fs::symlink_metadata(tree::at(&self.staging(), &path)).unwrap();
            let key = (path.clone(), meta.size(), meta.mtime(), meta.mtime_nsec());
            let before = self.seen.entry(key).or_insert_with(|| bytes.clone());
            let name = String::from_utf8_lossy(&path);
            assert_eq!(*before, bytes, "{what}: {name:?} has the size and time of another content");
        }
    }
}

/// Damages the copy in one of many ways: which.
fn damage(chance: &mut Chance, staging: &Path) -> &'static str {
    let Ok(entries) = fs::exists(staging) else { return "nothing" };
    if !entries {
        return "nothing";
    }
    let there = tree::snapshot(staging, Modes::Exact);
    let of = |chance: &mut Chance, is: fn(&Node) -> bool| {
        let fitting: Vec<_> = there.iter().filter(|(_, node)| is(node)).collect();
        (!fitting.is_empty()).then(|| tree::at(staging, chance.pick(&fitting).0))
    };
    let any = of(chance, |_| true);
    let file = of(chance, |node| matches!(node, Node::File(_, bytes) if !bytes.is_empty()));
    let (Some(any), Some(file)) = (any, file) else { return "nothing" };
    match chance.below(12) {
        0 => {
            tree::remove(&any);
            "removed"
        }
        1 => {
            tree::flip(chance, &file);
            "other bytes, same size and time"
        }
        2 if !any.is_symlink() => {
            tree::set_mode(&any, chance.pick(&[0, 0o600, 0o644, 0o777, 0o4755, 0o2777, 0o1777]));
            "mode"
        }
        3 => {
            tree::remove(&any);
            symlink(chance.pick(&["/etc", "a", "../../../source"]), any).unwrap();
            "a symlink instead"
        }
        4 => {
            tree::remove(&any);
            fs::create_dir_all(any.join("more/and more")).unwrap();
            "a directory instead"
        }
        5 => {
            // Killed while it copied: a part of the bytes, its first mode, no time yet.
            let bytes = fs::read(&file).unwrap();
            fs::remove_file(&file).unwrap();
            fs::write(&file, &bytes[..chance.below(bytes.len() + 1)]).unwrap();
            tree::set_mode(&file, 0o600);
            "half a file"
        }
        6 => {
            fs::write(staging.join("left over"), "x").unwrap();
            "one more file"
        }
        7 => {
            fs::remove_dir_all(staging).unwrap();
            "all gone"
        }
        8 => {
            fs::remove_dir_all(staging).unwrap();
            fs::write(staging.with_extension("tmp"), "").unwrap();
            fs::create_dir(staging).unwrap();
            "begun and killed"
        }
        9 => {
            let mode = rustix::fs::Mode::RWXU;
            let kind = rustix::fs::FileType::Fifo;
            let path = staging.join("pipe");
            let _ = rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0);
            "a pipe"
        }
        10 => {
            fs::hard_link(&file, staging.join("second name")).unwrap();
            "a second name"
        }
        _ => "nothing",
    }
}

#[test]
fn whatever_was_left_there_the_copy_becomes_exactly_the_tree() {
    let mut chance = Chance::new("staging");
    let mut bench = Bench::new(&mut chance);
    for round in 0..size(400, 5_000) {
        for _ in 0..chance.below(3) {
            let kind = chance.pick(&EDITS);
            bench.edit(&mut chance, kind);
        }
        let done = damage(&mut chance, &bench.staging());
        let wanted = bench.settled();
        let what = format!("round {round}, damage: {done}");
        bench.stage(&bench.walk()).expect(&what);
        bench.check(&wanted, &what);
    }
}

#[test]
fn two_contents_of_one_path_never_share_size_and_time() {
    let mut chance = Chance::new("times of copies");
    let mut bench = Bench::new(&mut chance);
    for round in 0..size(300, 3_000) {
        bench.edit(&mut chance, Edit::SameSizeSameTime);
        bench.stage(&bench.walk()).unwrap();
        let wanted = bench.settled();
        bench.check(&wanted, &format!("round {round}"));
        assert!(
            !bench.stage(&bench.walk()).unwrap(),
            "round {round}: it read its own copies again"
        );
    }
}

#[test]
fn an_edit_after_the_walk_is_refused_or_the_copy_is_as_hashed() {
    let mut chance = Chance::new("late edits");
    let mut bench = Bench::new(&mut chance);
    let mut refused = 0;
    for round in 0..size(300, 3_000) {
        for _ in 0..1 + chance.below(2) {
            let kind = chance.pick(&[Edit::SameSizeSameTime, Edit::Resize, Edit::NewFile]);
            bench.edit(&mut chance, kind);
        }
        if bench.settled().len() > 60 {
            bench.edit(&mut chance, Edit::Remove);
        }
        let (tree, wanted) = (bench.walk(), bench.settled());
        let copied = std::thread::scope(|scope| {
            let mut late = || {
                for _ in 0..1 + chance.below(4) {
                    let kind = chance.pick(&EDITS[..14]);
                    bench.edit(&mut chance, kind);
                }
            };
            // By turns before the copying and while it runs.
            if round % 2 == 0 {
                late();
                return bench.stage(&tree);
            }
            let editor = scope.spawn(late);
            let copied = bench.stage(&tree);
            editor.join().unwrap();
            copied
        });
        let what = format!("round {round}");
        match copied {
            Ok(_) => bench.check(&wanted, &what),
            Err(error) => {
                assert!(error.downcast_ref::<Moved>().is_some(), "{what}: {error:#}");
                refused += 1;
            }
        }
        // When all is quiet again, nothing of the refused copy is left.
        if chance.below(2) == 0 {
            bench.stage(&bench.walk()).expect(&what);
            let wanted = bench.settled();
            bench.check(&wanted, &what);
        }
    }
    assert!(refused > 0, "no edit met a copy");
}

#[test]
fn a_context_has_the_same_name_exactly_while_its_directories_have_the_same_modes() {
    let mut chance = Chance::new("names of contexts");
    let bench = Bench::new(&mut chance);
    let unusual = |snapshot: &Snapshot| {
        let directories = snapshot.iter().filter_map(|(path, node)| match node {
            Node::Directory(mode) if *mode != 0o755 => Some((path.clone(), *mode)),
            _ => None,
        });
        directories.collect::<Vec<_>>()
    };
    let (mut names, mut modes) = (HashMap::new(), HashMap::new());
    for round in 0..size(300, 3_000) {
        let kind = chance.pick(&[Edit::DirectoryMode, Edit::Rename, Edit::SameSize, Edit::Remove]);
        bench.edit(&mut chance, kind);
        bench.edit(&mut chance, Edit::NewDirectory);
        let unusual = unusual(&bench.settled());
        let name = stage::name(Path::new("/checkout"), "app", "app", &bench.walk());
        let before = names.entry(unusual.clone()).or_insert_with(|| name.clone());
        assert_eq!(*before, name, "round {round}");
        assert_eq!(*modes.entry(name).or_insert_with(|| unusual.clone()), unusual);
    }
    assert!(names.len() > 10, "hardly any modes were tried");
}

/// Root may write anywhere, so this says something only for others; root becomes another.
#[test]
fn directories_that_nobody_may_write_to_are_copied_and_changed() {
    const NAME: &str = "directories_that_nobody_may_write_to_are_copied_and_changed";
    if tree::is_root() {
        let me = std::env::current_exe().unwrap();
        let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let output = std::process::Command::new("setpriv")
            .args(nobody)
            .arg(me)
            .args(["--exact", NAME])
            .current_dir("/")
            .output();
        // Neither may be there, or be for root only.
        match output {
            Ok(output) if matches!(output.status.code(), Some(126 | 127)) => {}
            Err(_) => {}
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout);
                assert!(output.status.success() && text.contains("1 passed"), "{text}");
                return;
            }
        }
        eprintln!("not run: no way to become somebody who is not root");
        return;
    }
    let mut chance = Chance::new("read-only directories");
    let mut bench = Bench::new(&mut chance);
    let (deep, file) = (bench.source().join("deep/er"), bench.source().join("deep/er/file"));
    fs::create_dir_all(&deep).unwrap();
    let set = |path: &Path, mode| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for round in 0..size(20, 200) {
        fs::write(&file, format!("{round}")).unwrap();
        let mode = chance.pick(&[0o555, 0o500, 0o755]);
        set(&file, chance.pick(&[0o444, 0o400, 0o644]));
        set(&deep, mode);
        set(deep.parent().unwrap(), chance.pick(&[0o555, 0o700]));
        let wanted = bench.settled();
        let what = format!("round {round}");
        bench.stage(&bench.walk()).expect(&what);
        bench.check(&wanted, &what);
        set(deep.parent().unwrap(), 0o755);
        set(&deep, 0o755);
        set(&file, 0o644);
    }
    // Else the temporary directory could not be removed.
    bench.stage(&bench.walk()).unwrap();
}
