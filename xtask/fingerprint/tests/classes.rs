//! What counts and what does not, class by class: the two tables of the crate's documentation, each
//! line tried in many ways.
//!
//! Every mutation starts from a tree of its own that one number decides, so that a failure names
//! its class and that number and can be looked at alone.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_macros)]
#![allow(clippy::print_stderr)]

#[path = "support/case.rs"]
mod case;
#[path = "support/chance.rs"]
mod chance;

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use case::Case;
use chance::{Chance, size};

type Class = (&'static str, fn(&mut Chance, &mut Case));

const MUTATIONS: usize = 50;

/// Each of these is another image.
const INPUTS: &[Class] = &[
    ("first byte", |chance, case| flip(chance, &case.path("file"), |_, _| 0)),
    ("last byte", |chance, case| flip(chance, &case.path("dir/inner"), |_, length| length - 1)),
    ("any byte", |chance, case| flip(chance, &case.path("file"), Chance::below)),
    ("same size and time", |chance, case| {
        let path = case.path("file");
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        flip(chance, &path, Chance::below);
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }),
    ("longer file", |chance, case| {
        let mut bytes = fs::read(case.path("file")).unwrap();
        bytes.resize(bytes.len() + 1 + chance.below(9), 0);
        fs::write(case.path("file"), bytes).unwrap();
    }),
    ("shorter file", |chance, case| {
        let mut bytes = fs::read(case.path("file")).unwrap();
        bytes.truncate(chance.below(bytes.len() - 1) + 1);
        fs::write(case.path("file"), bytes).unwrap();
    }),
    ("emptied file", |_, case| fs::write(case.path("file"), "").unwrap()),
    ("filled file", |chance, case| {
        fs::write(case.path("empty"), vec![0; 1 + chance.below(99)]).unwrap();
    }),
    ("large file", |chance, case| {
        // Past the size that is read at once: only one late byte differs.
        let (mut bytes, place) = (vec![0; 300 << 10], (256 << 10) + chance.below(44 << 10));
        fs::write(case.path("file"), &bytes).unwrap();
        case.begin();
        bytes[place] = 1;
        fs::write(case.path("file"), bytes).unwrap();
    }),
    ("owner may execute", |chance, case| mode(case, "file", 0o744 | chance.below(64) as u32)),
    ("owner may not write", |chance, case| mode(case, "file", 0o400 | chance.below(64) as u32)),
    ("set-user-ID", |chance, case| mode(case, "script", 0o4700 | chance.below(64) as u32)),
    ("set-group-ID", |chance, case| mode(case, "script", 0o2700 | chance.below(64) as u32)),
    ("sticky directory", |chance, case| mode(case, "dir", 0o1700 | chance.below(64) as u32)),
    ("owner of a directory", |chance, case| mode(case, "hollow", 0o500 | chance.below(64) as u32)),
    ("new file", |chance, case| {
        let name = format!("{}{}", chance.pick(&["", "dir/", "hollow/"]), chance.number());
        fs::write(case.path(&name), "").unwrap();
    }),
    ("removed file", |chance, case| {
        fs::remove_file(case.path(chance.pick(&["file", "empty", "dir/inner"]))).unwrap();
    }),
    ("renamed file", |chance, case| {
        let name = format!("{}{}", chance.pick(&["fil", "file.", "-", " "]), chance.number());
        fs::rename(case.path("file"), case.path(&name)).unwrap();
    }),
    ("new empty directory", |chance, case| {
        fs::create_dir(case.path(&format!("dir/{}", chance.number()))).unwrap();
    }),
    ("removed empty directory", |_, case| fs::remove_dir(case.path("hollow")).unwrap()),
    ("renamed directory, same order", |chance, case| {
        // Between `dir` and the next name, whatever is added.
        fs::rename(case.path("dir"), case.path(&format!("dir{}", chance.number()))).unwrap();
    }),
    ("new symlink", |chance, case| {
        let target = chance.pick(&["file", "dir", "nowhere", "/", "."]);
        symlink(target, case.path(&format!("l{}", chance.number()))).unwrap();
    }),
    ("removed symlink", |chance, case| {
        fs::remove_file(case.path(chance.pick(&["link", "dangling", "to dir"]))).unwrap();
    }),
    ("link to elsewhere", |chance, case| {
        let name = chance.pick(&["link", "dangling", "to dir"]);
        let target = format!("{}{}", chance.pick(&["", "./", "/"]), chance.number());
        relink(case, name, &target);
    }),
    ("link to the same by another path", |chance, case| {
        let longer = "./".repeat(1 + chance.below(20));
        relink(case, "link", &format!("{longer}file"));
    }),
    ("link to an equal file", |_, case| {
        fs::write(case.path("equal"), fs::read(case.path("file")).unwrap()).unwrap();
        case.begin();
        relink(case, "link", "equal");
    }),
    ("file becomes a directory", |chance, case| {
        let name = chance.pick(&["file", "empty"]);
        fs::remove_file(case.path(name)).unwrap();
        fs::create_dir(case.path(name)).unwrap();
    }),
    ("empty directory becomes an empty file", |chance, case| {
        fs::remove_dir(case.path("hollow")).unwrap();
        fs::write(case.path("hollow"), "").unwrap();
        mode(case, "hollow", chance.pick(&[0o755, 0o644, 0o700]));
    }),
    ("file becomes a link to its twin", |_, case| {
        fs::rename(case.path("file"), case.path("twin")).unwrap();
        fs::write(case.path("file"), fs::read(case.path("twin")).unwrap()).unwrap();
        case.begin();
        relink(case, "file", "twin");
    }),
    ("directory becomes a link to its twin", |_, case| {
        fs::create_dir(case.path("second")).unwrap();
        case.begin();
        fs::remove_dir(case.path("hollow")).unwrap();
        symlink("second", case.path("hollow")).unwrap();
    }),
    ("link becomes a file of its target's name", |_, case| {
        fs::remove_file(case.path("link")).unwrap();
        fs::write(case.path("link"), "file").unwrap();
    }),
    ("swapped contents", |_, case| {
        let (one, other) = (case.path("file"), case.path("dir/inner"));
        let (left, right) = (fs::read(&one).unwrap(), fs::read(&other).unwrap());
        fs::write(one, right).unwrap();
        fs::write(other, left).unwrap();
    }),
    ("bytes moved to the next file", |chance, case| {
        // Together the same bytes in the same order.
        let all: Vec<u8> = (0..20).map(|_| chance.number() as u8).collect();
        let write = |case: &Case, at: usize| {
            fs::write(case.path("m1"), &all[..at]).unwrap();
            fs::write(case.path("m2"), &all[at..]).unwrap();
        };
        let at = 1 + chance.below(18);
        write(case, at);
        case.begin();
        write(case, at + 1);
    }),
    ("case of a name", |_, case| fs::rename(case.path("file"), case.path("File")).unwrap()),
    ("form of an accent", |chance, case| {
        let name = format!("{}", chance.number());
        renamed(case, format!("{name}é").as_bytes(), format!("{name}e\u{301}").as_bytes());
    }),
    ("bytes that are no text", |chance, case| {
        let byte = 0x80 + chance.below(0x7f) as u8;
        renamed(case, &[b'n', byte], &[b'n', byte + 1]);
    }),
    ("line break in a name", |chance, case| {
        let name = format!("a{}", chance.number());
        renamed(case, format!("{name}\nb").as_bytes(), format!("{name} b").as_bytes());
    }),
    ("name that looks escaped", |chance, case| {
        let letter = b'A' + chance.below(26) as u8;
        renamed(case, &[letter, b'1'], format!("\\x{letter:02x}1").as_bytes());
    }),
    ("moved up", |chance, case| {
        let name = chance.pick(&["inner", "sub"]);
        fs::rename(case.path(&format!("dir/{name}")), case.path(name)).unwrap();
    }),
    ("moved down", |chance, case| {
        let name = chance.pick(&["file", "empty", "link", "hollow"]);
        fs::rename(case.path(name), case.path(&format!("dir/{name}"))).unwrap();
    }),
    ("link's name runs into its target", |chance, case| {
        let target = chance.number();
        symlink(format!("x{target}"), case.path("z")).unwrap();
        case.begin();
        fs::remove_file(case.path("z")).unwrap();
        symlink(format!("{target}"), case.path("zx")).unwrap();
    }),
    ("image", |chance, case| case.inputs.image = format!("app{}", chance.number())),
    ("dockerfile", |chance, case| case.inputs.dockerfile = format!("{}", chance.number())),
    ("a target", |chance, case| {
        // Also the empty one: that is not the last stage.
        case.inputs.target = Some("x".repeat(chance.below(9)));
    }),
    ("another target", |chance, case| {
        case.inputs.target = Some("one".into());
        case.begin();
        case.inputs.target = Some(format!("one{}", chance.number()));
    }),
    ("platform", |chance, case| case.inputs.platform = format!("linux/arm{}", chance.number())),
    ("epoch", |chance, case| case.inputs.epoch = format!("{}", chance.number())),
    ("text moved to the next setting", |chance, case| {
        case.inputs.platform = format!("{}", chance.number());
        case.inputs.epoch = "9".into();
        case.begin();
        let last = case.inputs.platform.pop().unwrap();
        case.inputs.epoch.insert(0, last);
    }),
    ("new argument", |chance, case| {
        case.inputs.args.insert(format!("A{}", chance.number()), String::new());
    }),
    ("removed argument", |chance, case| {
        let name = chance.pick(&["AB", "CD"]).to_string();
        case.inputs.args.remove(&name).unwrap();
    }),
    ("argument's value", |chance, case| {
        case.inputs.args.insert("AB".into(), format!("{}", chance.number()));
    }),
    ("argument's name runs into its value", |chance, case| {
        let value = format!("{}", chance.number());
        case.inputs.args = [("ab".to_owned(), format!("c{value}"))].into();
        case.begin();
        case.inputs.args = [("abc".to_owned(), value)].into();
    }),
    ("argument's value runs into the next name", |chance, case| {
        let value = format!("{}", chance.number());
        let two = |one: &str, name: &str| {
            [("a".to_owned(), format!("{value}{one}")), (name.to_owned(), "v".to_owned())].into()
        };
        case.inputs.args = two("b", "c");
        case.begin();
        case.inputs.args = two("", "bc");
    }),
    ("base's fingerprint", |chance, case| {
        case.inputs.bases.insert("base".into(), format!("{}", chance.number()));
    }),
    ("new base", |chance, case| {
        case.inputs.bases.insert(format!("base{}", chance.number()), "1".into());
    }),
    ("external content", |chance, case| {
        case.inputs.externals.insert("debian".into(), format!("{}", chance.number()));
    }),
    ("base that is now external", |chance, case| {
        let name = format!("b{}", chance.number());
        case.inputs.bases.insert(name.clone(), "1".into());
        case.begin();
        let content = case.inputs.bases.remove(&name).unwrap();
        case.inputs.externals.insert(name, content);
    }),
    ("argument that is now a base", |chance, case| {
        case.inputs.bases.clear();
        case.inputs.args = [("a".to_owned(), format!("{}", chance.number()))].into();
        case.begin();
        case.inputs.bases = std::mem::take(&mut case.inputs.args);
    }),
    ("new ignore rule", |chance, case| {
        rules(case, chance.pick(&["file", "dir", "**/inner", "*k", "hollow", "dir/sub/"]));
    }),
    ("removed ignore rule", |chance, case| {
        let text = fs::read_to_string(case.path(".dockerignore")).unwrap();
        let rule = chance.pick(&["*.log\n", "build\n"]);
        fs::write(case.path(".dockerignore"), text.replace(rule, "")).unwrap();
    }),
    ("exception", |chance, case| {
        rules(case, chance.pick(&["!a.log", "!*.log", "!build/out", "!**/out", "!build"]));
    }),
];

/// None of these can reach an image.
const NO_INPUTS: &[Class] = &[
    ("modification time", |chance, case| {
        let path = case.any(chance);
        set_times(chance, &path, FileTimes::set_modified);
    }),
    ("access time", |chance, case| {
        let path = case.any(chance);
        set_times(chance, &path, FileTimes::set_accessed);
    }),
    ("change time", |chance, case| {
        let path = case.any(chance);
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(path, before).unwrap();
    }),
    ("group's and others' bits", |chance, case| {
        let path = case.any(chance);
        let owner = fs::metadata(&path).unwrap().permissions().mode() & 0o7700;
        let bits = owner | chance.below(64) as u32;
        fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
    }),
    ("set-group-ID of a directory", |chance, case| {
        mode(case, chance.pick(&["dir", "hollow"]), 0o2700 | chance.below(64) as u32);
    }),
    ("sticky file", |chance, case| mode(case, "script", 0o1700 | chance.below(64) as u32)),
    ("owner", |chance, case| {
        // Only root may; for others nothing is tried and nothing changes.
        let (user, group) = (chance.below(9999) as u32, chance.below(9999) as u32);
        let _ = std::os::unix::fs::lchown(case.any(chance), Some(user), Some(group));
    }),
    ("hard link instead of a copy", |_, case| {
        fs::write(case.path("equal"), fs::read(case.path("file")).unwrap()).unwrap();
        mode(case, "equal", 0o644);
        mode(case, "file", 0o644);
        case.begin();
        fs::remove_file(case.path("equal")).unwrap();
        fs::hard_link(case.path("file"), case.path("equal")).unwrap();
    }),
    ("another inode", |chance, case| {
        let path = case.any_file(chance);
        let new = case.path("new.log");
        fs::copy(&path, &new).unwrap();
        fs::rename(new, path).unwrap();
    }),
    ("the same bytes again", |chance, case| {
        let path = case.any_file(chance);
        fs::write(&path, fs::read(&path).unwrap()).unwrap();
    }),
    ("away and back", |chance, case| {
        let path = case.any(chance);
        fs::rename(&path, case.path("away.log")).unwrap();
        fs::rename(case.path("away.log"), path).unwrap();
    }),
    ("order of creation and other path", |chance, case| {
        let before = std::mem::take(&mut case.before);
        *case = Case::planted(case.seed, chance.number());
        case.before = before;
    }),
    ("extended attribute", |chance, case| {
        // Where the file system has none there is nothing to see.
        let value = chance.number().to_be_bytes();
        let flags = rustix::fs::XattrFlags::empty();
        let _ = rustix::fs::setxattr(case.any(chance), "user.stevedore", &value, flags);
    }),
    ("umask of a checkout", |chance, case| {
        let umask = chance.pick(&["000", "002", "022", "027", "077", "007"]);
        case.copied_under(umask);
    }),
    ("socket", |chance, case| {
        let name = format!("{}s{}", chance.pick(&["", "dir/", "hollow/"]), chance.below(99));
        drop(std::os::unix::net::UnixListener::bind(case.path(&name)).unwrap());
    }),
    ("ignored file", |chance, case| {
        fs::write(case.path("a.log"), vec![1; chance.below(99)]).unwrap();
    }),
    ("new ignored file", |chance, case| {
        fs::write(case.path(&format!("{}.log", chance.number())), "").unwrap();
    }),
    ("ignored directory", |chance, case| {
        fs::create_dir(case.path(&format!("build/{}", chance.number()))).unwrap();
        fs::write(case.path("build/out"), format!("{}", chance.number())).unwrap();
    }),
    ("ignored pipe", |chance, case| {
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        let path = case.path(&format!("{}.log", chance.number()));
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
    }),
    ("words of an ignore file", |chance, case| {
        let text = fs::read_to_string(case.path(".dockerignore")).unwrap();
        let text = match chance.below(5) {
            0 => text.replace('\n', "\r\n"),
            1 => text.replace('\n', "\n\n"),
            2 => format!("# {}\n{text}", chance.number()),
            3 => format!("\u{feff}{text}"),
            _ => format!("{text}{}.none\n", chance.number()),
        };
        fs::write(case.path(".dockerignore"), text).unwrap();
    }),
    ("state of the cache", |chance, case| {
        let length = chance.below(400);
        let bytes: Vec<u8> = (0..length).map(|_| chance.number() as u8).collect();
        fs::write(case.cache(), bytes).unwrap();
    }),
    ("what a link leads to outside", |chance, case| {
        let outside = case.cache().with_file_name("outside");
        symlink(&outside, case.path("out link")).unwrap();
        case.begin();
        fs::write(outside, format!("{}", chance.number())).unwrap();
    }),
    ("holes instead of zeros", |chance, case| {
        let length = 1 + chance.below(100 << 10);
        fs::write(case.path("zeros"), vec![0; length]).unwrap();
        case.begin();
        File::create(case.path("zeros")).unwrap().set_len(length as u64).unwrap();
    }),
    ("record that is read again", |_, case| case.record_and_read()),
];

/// Calls a class's mutation on trees of its own: the fingerprints before and after each.
fn each(class: &Class, mut judge: impl FnMut(&str, String, String)) {
    let (name, mutate) = class;
    let mut chance = Chance::new("classes");
    for mutation in 0..size(20, MUTATIONS) {
        let mut case = Case::planted(chance.number(), 0);
        let mut own = Chance::from("a class", case.seed);
        case.begin();
        mutate(&mut own, &mut case);
        let what = format!("{name}, mutation {mutation}, tree {}", case.seed);
        judge(&what, case.before.clone(), case.fingerprint());
    }
}

#[test]
fn every_class_of_inputs_changes_the_fingerprint() {
    assert!(INPUTS.len() >= 30);
    for class in INPUTS {
        each(class, |what, before, after| assert_ne!(before, after, "{what}: not seen"));
    }
}

#[test]
fn no_class_of_other_changes_does() {
    assert!(NO_INPUTS.len() >= 15);
    for class in NO_INPUTS {
        each(class, |what, before, after| assert_eq!(before, after, "{what}: it does not count"));
    }
}

fn flip(chance: &mut Chance, path: &Path, place: fn(&mut Chance, usize) -> usize) {
    let bytes = fs::read(path).unwrap();
    let place = place(chance, bytes.len());
    let other = bytes[place] ^ (1 << chance.below(8));
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(&[other], place as u64).unwrap();
}

fn mode(case: &Case, name: &str, mode: u32) {
    fs::set_permissions(case.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

fn relink(case: &Case, name: &str, target: &str) {
    fs::remove_file(case.path(name)).unwrap();
    symlink(target, case.path(name)).unwrap();
}

/// A file that begins under one name and ends under another.
fn renamed(case: &mut Case, from: &[u8], to: &[u8]) {
    let path = |name: &[u8]| case.path("dir").join(OsStr::from_bytes(name));
    let (from, to) = (path(from), path(to));
    fs::write(&from, "same").unwrap();
    case.begin();
    fs::rename(from, to).unwrap();
}

fn rules(case: &Case, rule: &str) {
    let text = fs::read_to_string(case.path(".dockerignore")).unwrap();
    fs::write(case.path(".dockerignore"), format!("{text}{rule}\n")).unwrap();
}

fn set_times(chance: &mut Chance, path: &Path, which: fn(FileTimes, SystemTime) -> FileTimes) {
    let seconds = Duration::from_secs(chance.below(2_000_000_000) as u64);
    let times = which(FileTimes::new(), SystemTime::UNIX_EPOCH + seconds);
    File::open(path).unwrap().set_times(times).unwrap();
}
