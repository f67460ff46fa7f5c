//! One small project that a number decides, with the inputs of its image, before and after.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fingerprint::ignore::Ignore;
use fingerprint::{Inputs, Record, StatCache, Tree, Walk};

use super::chance::Chance;

pub(crate) struct Case {
    directory: tempfile::TempDir,
    root: PathBuf,
    pub(crate) seed: u64,
    pub(crate) inputs: Inputs,
    /// The fingerprint that a mutation starts from.
    pub(crate) before: String,
}

/// What a planted tree holds: a name and how it is made.
type Plant = (&'static str, fn(&Path, u64));

const TREE: &[Plant] = &[
    ("dir/sub", |path, _| fs::create_dir_all(path).unwrap()),
    ("hollow", |path, _| fs::create_dir(path).unwrap()),
    ("build", |path, _| fs::create_dir(path).unwrap()),
    ("file", |path, seed| fs::write(path, format!("file {seed}")).unwrap()),
    ("dir/inner", |path, seed| fs::write(path, format!("inner {seed}")).unwrap()),
    ("dir/sub/deep", |path, seed| fs::write(path, format!("deep {seed}")).unwrap()),
    ("empty", |path, _| fs::write(path, "").unwrap()),
    ("script", |path, _| fs::write(path, "#!/bin/sh\n").unwrap()),
    ("a.log", |path, _| fs::write(path, "log").unwrap()),
    ("build/out", |path, _| fs::write(path, "built").unwrap()),
    ("link", |path, _| symlink("file", path).unwrap()),
    ("dangling", |path, _| symlink("nowhere", path).unwrap()),
    ("to dir", |path, _| symlink("dir", path).unwrap()),
    (".dockerignore", |path, _| fs::write(path, "*.log\nbuild\n.dockerignore\n").unwrap()),
];

impl Case {
    /// `order` decides where and in which order the same tree is made.
    pub(crate) fn planted(seed: u64, order: u64) -> Case {
        let directory = tempfile::tempdir().unwrap();
        let depth = (order % 7) as usize;
        let root = directory.path().join("d/".repeat(depth)).join(format!("root {order}"));
        fs::create_dir_all(&root).unwrap();
        let mut rest: Vec<&Plant> = TREE.iter().collect();
        let mut chance = Chance::from("an order", order);
        while !rest.is_empty() {
            let index = if order == 0 { 0 } else { chance.below(rest.len()) };
            let (name, make) = rest.remove(index);
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if !path.is_dir() {
                make(&path, seed);
            }
            // Whatever the umask of this process is.
            if !path.is_symlink() {
                let mode = if path.is_dir() || *name == "script" { 0o755 } else { 0o644 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
        let text = |list: &[(&str, &str)]| {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let inputs = Inputs {
            image: "app".into(),
            dockerfile: "0".repeat(64),
            target: None,
            platform: "linux/amd64".into(),
            args: text(&[("AB", "c"), ("CD", "e")]),
            epoch: "2026-01-01T00:00:00Z".into(),
            bases: text(&[("base", "1")]),
            externals: text(&[("debian", "sha256:2")]),
            tree: Tree::default().into(),
        };
        Case { directory, root, seed, inputs, before: String::new() }
    }

    /// From here on it is the mutation.
    pub(crate) fn begin(&mut self) {
        self.before = self.fingerprint();
    }

    pub(crate) fn fingerprint(&self) -> String {
        let ignore = fs::read(self.path(".dockerignore")).unwrap();
        let ignore = Ignore::parse(&ignore).unwrap();
        let walk = Walk { root: &self.root, ignore: &ignore, leave_out: None, exact_modes: false };
        let cache = StatCache::load(&self.cache(), &self.root);
        let walked = walk.read(&cache, Some(self.directory.path())).unwrap();
        if let Some(bytes) = walked.cache {
            fs::write(self.cache(), bytes).unwrap();
        }
        Inputs { tree: walked.tree.into(), ..self.inputs.clone() }.fingerprint()
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn any_file(&self, chance: &mut Chance) -> PathBuf {
        self.path(chance.pick(&["file", "dir/inner", "dir/sub/deep", "empty", "script"]))
    }

    /// A file or a directory.
    pub(crate) fn any(&self, chance: &mut Chance) -> PathBuf {
        match chance.below(3) {
            0 => self.path(chance.pick(&["dir", "dir/sub", "hollow"])),
            _ => self.any_file(chance),
        }
    }

    /// Goes on with a copy that somebody with this umask made.
    pub(crate) fn copied_under(&mut self, umask: &str) {
        for name in ["file", "dir", "script", "dir/sub", "dir/inner", "hollow"] {
            // A copy's modes are the original's without the umask's.
            let meta = fs::metadata(self.path(name)).unwrap();
            let open = if meta.permissions().mode() & 0o100 == 0 { 0o666 } else { 0o777 };
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(open)).unwrap();
        }
        let copy = self.directory.path().join("copy");
        let status = std::process::Command::new("sh")
            .args(["-c", "umask \"$0\" && exec cp --recursive \"$@\"", umask])
            .args([&self.root, &copy])
            .status();
        assert!(status.unwrap().success());
        self.root = copy;
    }

    /// Goes on with what a record of these inputs says when it is read again.
    pub(crate) fn record_and_read(&mut self) {
        let ignore = Ignore::parse(b"*.log\nbuild\n.dockerignore\n").unwrap();
        let walk = Walk { root: &self.root, ignore: &ignore, leave_out: None, exact_modes: false };
        let tree = walk.read(&StatCache::empty(&self.root), None).unwrap().tree;
        let inputs = Inputs { tree: tree.into(), ..self.inputs.clone() };
        let record = Record {
            fingerprint: inputs.fingerprint(),
            content: String::new(),
            ignore: String::new(),
            inputs,
        };
        let read = Record::parse(&record.text().unwrap()).unwrap();
        assert_eq!(read.inputs, record.inputs);
        assert_eq!(read.inputs.fingerprint(), self.before);
        self.inputs = read.inputs;
    }
}
