//! The fingerprint with its stat cache against a truth that knows no cache.
//!
//! A tree is edited over and over; after each edit the fingerprint is taken as xtask takes it, with
//! the cache that the round before left on disk, and the tree is read again without any of that
//! code. Over the whole history, one tree has one fingerprint and one fingerprint one tree. The
//! first alone would miss a wrong skip, the second alone a needless rebuild.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_macros)]
#![allow(clippy::print_stderr)]

#[path = "support/chance.rs"]
mod chance;
#[path = "support/tree.rs"]
mod tree;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use chance::{Chance, size};
use fingerprint::ignore::Ignore;
use fingerprint::{Inputs, StatCache, Tree, Walk};
use tree::{EDITS, Edit, Modes, Node, Snapshot};

/// A checkout, and all that was ever seen in it.
struct History {
    /// The tool's own state lies in the context, as it does where the context is the project.
    root: PathBuf,
    ignore: Ignore,
    fingerprints: HashMap<Vec<u8>, String>,
    trees: HashMap<String, Vec<u8>>,
}

impl History {
    fn begin(chance: &mut Chance, root: &Path) -> History {
        tree::plant(chance, root);
        fs::create_dir_all(root.join(".stevedore/stats")).unwrap();
        History {
            root: root.to_owned(),
            ignore: Ignore::parse(tree::IGNORE.as_bytes()).unwrap(),
            fingerprints: HashMap::new(),
            trees: HashMap::new(),
        }
    }

    fn cache(&self) -> PathBuf {
        self.root.join(".stevedore/stats/app")
    }

    /// The fingerprint as xtask takes it: load the cache, walk, store the cache.
    fn fingerprint(&self) -> String {
        let state = self.root.join(".stevedore");
        let walk = Walk {
            root: &self.root,
            ignore: &self.ignore,
            leave_out: Some(&state),
            exact_modes: false,
        };
        let cache = StatCache::load(&self.cache(), &self.root);
        let walked = walk.read(&cache, Some(&state)).unwrap();
        if let Some(bytes) = walked.cache {
            fs::write(self.cache(), bytes).unwrap();
        }
        inputs(walked.tree).fingerprint()
    }

    /// Both directions: this tree had no other fingerprint, this fingerprint no other tree.
    fn check(&mut self, snapshot: &Snapshot, fingerprint: String, what: &str) {
        let flat = flat(snapshot);
        let before = self.trees.entry(fingerprint.clone()).or_insert_with(|| flat.clone());
        assert!(*before == flat, "{what}: a changed tree has the fingerprint of another");
        let before = self.fingerprints.entry(flat).or_insert_with(|| fingerprint.clone());
        assert_eq!(*before, fingerprint, "{what}: the same tree has another fingerprint");
    }

    fn look(&mut self, what: &str) -> (Snapshot, String) {
        let fingerprint = self.fingerprint();
        let snapshot = tree::snapshot(&self.root, Modes::Settled);
        self.check(&snapshot, fingerprint.clone(), what);
        (snapshot, fingerprint)
    }
}

fn inputs(tree: Tree) -> Inputs {
    Inputs {
        image: "app".into(),
        dockerfile: String::new(),
        target: None,
        platform: "linux/amd64".into(),
        args: Default::default(),
        epoch: String::new(),
        bases: Default::default(),
        externals: Default::default(),
        tree: tree.into(),
    }
}

/// A snapshot as bytes, one to one, to keep thousands.
fn flat(snapshot: &Snapshot) -> Vec<u8> {
    let mut flat = Vec::new();
    let mut add = |bytes: &[u8]| {
        flat.extend((bytes.len() as u32).to_le_bytes());
        flat.extend(bytes);
    };
    for (path, node) in snapshot {
        add(path);
        let (kind, mode, bytes) = match node {
            Node::File(mode, bytes) => (b"f", *mode, &bytes[..]),
            Node::Directory(mode) => (b"d", *mode, &[][..]),
            Node::Symlink(target) => (b"l", 0, &target[..]),
        };
        add(kind);
        add(&mode.to_le_bytes());
        add(bytes);
    }
    flat
}

#[test]
fn a_tree_has_one_fingerprint_and_a_fingerprint_one_tree_over_any_edits() {
    let mut chance = Chance::new("fingerprint rounds");
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::begin(&mut chance, directory.path());
    let (mut there, mut before) = history.look("at the start");
    for round in 0..size(3_000, 20_000) {
        let kind = match chance.below(5) {
            0 => Edit::SameSizeSameTime,
            _ => chance.pick(&EDITS),
        };
        let done = tree::edit(&mut chance, &history.root, &there, kind);
        let (now, fingerprint) = history.look(&format!("round {round}, {kind:?}"));
        if done && kind == Edit::SameSizeSameTime {
            assert_ne!(fingerprint, before, "round {round}: the edit was not seen");
        } else if kind >= Edit::Touch {
            assert_eq!(now, there, "round {round}: {kind:?} should change nothing");
            assert_eq!(fingerprint, before, "round {round}: {kind:?}");
        }
        (there, before) = (now, fingerprint);
    }
    let all_but_the_cache = || {
        let mut all = tree::snapshot(&history.root, Modes::Exact);
        all.retain(|path, _| !path.starts_with(b".stevedore/"));
        all
    };
    let untouched = all_but_the_cache();
    history.fingerprint();
    assert!(all_but_the_cache() == untouched, "looking edits nothing");
}

/// Nothing lies between the hashing and the next write, so both fall into one tick of the clock as
/// often as they can.
#[test]
fn an_edit_of_the_same_size_and_time_straight_after_hashing_is_seen() {
    let mut chance = Chance::new("racy edits");
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::begin(&mut chance, directory.path());
    let (mut edits, mut one_tick) = (0, 0);
    while edits < size(600, 6_000) {
        let (base, _) = history.look("between bursts");
        let files: Vec<&Vec<u8>> = base
            .iter()
            .filter(|(_, node)| matches!(node, Node::File(_, bytes) if !bytes.is_empty()))
            .map(|(path, _)| path)
            .collect();
        let path = chance.pick(&files).clone();
        let file = tree::at(&history.root, &path);
        let mut snapshots = Vec::new();
        for _ in 0..1 + chance.below(8) {
            let changed = changed(&file);
            tree::flip(&mut chance, &file);
            one_tick += usize::from(self::changed(&file) == changed);
            let fingerprint = history.fingerprint();
            let Some(Node::File(mode, _)) = base.get(&path) else { unreachable!() };
            let mut snapshot = base.clone();
            snapshot.insert(path.clone(), Node::File(*mode, fs::read(&file).unwrap()));
            snapshots.push((snapshot, fingerprint));
            edits += 1;
        }
        for (snapshot, fingerprint) in snapshots {
            history.check(&snapshot, fingerprint, &format!("edit {edits}"));
        }
    }
    eprintln!("{edits} edits, {one_tick} of them left the change time as it was");
}

fn changed(path: &Path) -> (i64, i64) {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.ctime(), meta.ctime_nsec())
}

/// A cache that was damaged, is another's or older than the tree costs time, never the truth.
#[test]
fn a_damaged_foreign_or_old_cache_never_gives_a_wrong_fingerprint() {
    let mut chance = Chance::new("damaged caches");
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut histories =
        [&directories[0], &directories[1]].map(|at| History::begin(&mut chance, at.path()));
    let mut old: Vec<Vec<u8>> = Vec::new();
    for round in 0..size(500, 3_000) {
        let which = chance.below(2);
        let kind = chance.pick(&EDITS);
        let there = tree::snapshot(&histories[which].root, Modes::Settled);
        tree::edit(&mut chance, &histories[which].root, &there, kind);
        let own = histories[which].cache();
        let damage = chance.below(8);
        let mut bytes = fs::read(&own).unwrap_or_default();
        if !bytes.is_empty() {
            match damage {
                0 => {
                    let place = chance.below(bytes.len());
                    bytes[place] ^= 1 << chance.below(8);
                }
                1 => bytes.truncate(chance.below(bytes.len())),
                2 => bytes.clear(),
                3 => bytes = fs::read(histories[1 - which].cache()).unwrap_or_default(),
                4 => bytes.extend_from_slice(&[0; 76][..1 + chance.below(76)]),
                // One that was good some rounds ago.
                5 if !old.is_empty() => bytes = old[chance.below(old.len())].clone(),
                6 => {
                    // A whole record less, as after a lost write.
                    let end = bytes.len().saturating_sub(32);
                    let start = end.saturating_sub(76);
                    bytes.drain(start..end);
                }
                _ => old.push(bytes.clone()),
            }
            fs::write(&own, bytes).unwrap();
        }
        histories[which].look(&format!("round {round}, {kind:?}, damage {damage}"));
    }
    // What is the same in both has one fingerprint in both.
    for (flat, fingerprint) in &histories[0].fingerprints {
        let there = histories[1].fingerprints.get(flat);
        assert!(there.is_none_or(|other| other == fingerprint));
    }
}

#[test]
fn two_names_of_one_file_are_both_seen_when_it_is_edited() {
    let mut chance = Chance::new("second names");
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::begin(&mut chance, directory.path());
    for round in 0..size(200, 2_000) {
        for kind in [Edit::SecondName, Edit::SameSizeSameTime, Edit::FileMode, Edit::Remove] {
            let there = tree::snapshot(&history.root, Modes::Settled);
            tree::edit(&mut chance, &history.root, &there, kind);
            history.look(&format!("round {round}, {kind:?}"));
        }
        let there = tree::snapshot(&history.root, Modes::Settled);
        tree::edit(&mut chance, &history.root, &there, Edit::NewFile);
    }
}
