//! What is told of changes, and what is not.

use std::fs;
use std::path::Path;

use super::*;

const SOON: Duration = Duration::from_secs(10);

struct Place {
    directory: tempfile::TempDir,
    watch: Watch,
}

/// Ignored is what is called `build` or ends in `~`.
fn place(files: &[&str]) -> Place {
    let directory = tempfile::tempdir().unwrap();
    for file in files {
        write(directory.path(), file, file);
    }
    let is_ignored = |path: &&PathBuf| {
        path.iter().any(|part| part == "build") || path.to_string_lossy().ends_with('~')
    };
    let rules: Ignored =
        Box::new(move |paths| Ok(paths.iter().filter(is_ignored).cloned().collect()));
    let watch =
        Watch::new(directory.path(), directory.path().join(".git/index.lock"), rules).unwrap();
    Place { directory, watch }
}

#[allow(clippy::disallowed_methods)] // who saves files is not us
fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, file: &str, text: &str) {
        write(self.directory.path(), file, text);
    }

    /// What was told until the file `done`, which ends every story.
    fn told(&mut self) -> Vec<String> {
        self.write("done", &format!("{:?}", Instant::now()));
        let (started, mut told) = (Instant::now(), Changes::new());
        while !told.contains_key(Path::new("done")) && started.elapsed() < SOON {
            told.extend(self.watch.wait(SOON).unwrap());
        }
        let lines = told.iter().map(|(path, how)| format!("{how:?} {}", path.display()));
        lines.filter(|line| !line.ends_with(" done")).collect()
    }
}

#[test]
fn what_is_written_removed_and_moved_is_told() {
    let mut place = place(&["a", "b/c", "b/d"]);
    assert_eq!(place.watch.files(), 3);
    place.write("a", "other");
    fs::remove_file(place.path("b/c")).unwrap();
    fs::rename(place.path("b/d"), place.path("e")).unwrap();
    assert_eq!(place.told(), ["Changed a", "Removed b/c", "Removed b/d", "Added e"]);
}

#[test]
fn a_save_without_a_change_is_none() {
    let mut place = place(&["a"]);
    place.write("a", "a");
    assert_eq!(place.told(), [""; 0]);
}

#[test]
fn an_editor_that_writes_beside_and_renames_changes_one_file() {
    let mut place = place(&["a"]);
    place.write(".a.swp", "draft");
    place.write("4913", "");
    fs::remove_file(place.path("4913")).unwrap();
    fs::rename(place.path("a"), place.path("a~")).unwrap();
    place.write("a.new", "other");
    fs::rename(place.path("a.new"), place.path("a")).unwrap();
    fs::remove_file(place.path("a~")).unwrap();
    fs::remove_file(place.path(".a.swp")).unwrap();
    assert_eq!(place.told(), ["Changed a"]);
}

#[test]
fn what_is_ignored_is_not_told_and_neither_is_what_lies_in_it() {
    let mut place = place(&["a", "build/x"]);
    place.write("build/x", "other");
    place.write("new/build/deep/y", "y");
    place.write("new/z", "z");
    assert_eq!(place.told(), ["Added new/z"]);
}

#[test]
fn new_directories_are_watched_to_the_bottom() {
    let mut place = place(&["a"]);
    place.write("b/c/d", "d");
    assert_eq!(place.told(), ["Added b/c/d"]);
    place.write("b/c/d", "other");
    place.write("b/c/e/f", "f");
    assert_eq!(place.told(), ["Changed b/c/d", "Added b/c/e/f"]);
}

#[test]
fn a_renamed_directory_is_watched_under_its_new_name() {
    let mut place = place(&["b/c", "b/d/e"]);
    fs::rename(place.path("b"), place.path("n")).unwrap();
    let moved = ["Removed b/c", "Removed b/d/e", "Added n/c", "Added n/d/e"];
    assert_eq!(place.told(), moved);
    place.write("n/d/e", "other");
    assert_eq!(place.told(), ["Changed n/d/e"]);
}

#[test]
fn a_directory_that_was_replaced_is_watched_again() {
    let mut place = place(&["b/c", "other/c"]);
    place.write("other/c", "new");
    fs::rename(place.path("b"), place.path("old~")).unwrap();
    fs::rename(place.path("other"), place.path("b")).unwrap();
    assert_eq!(place.told(), ["Changed b/c", "Removed other/c"]);
    place.write("b/c", "once more");
    assert_eq!(place.told(), ["Changed b/c"]);
}

#[test]
fn modes_and_links_count_and_other_times_do_not() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let mut place = place(&["tool", "old"]);
    symlink("tool", place.path("link")).unwrap();
    assert_eq!(place.told(), ["Added link"]);
    fs::set_permissions(place.path("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(place.path("link")).unwrap();
    symlink("old", place.path("link")).unwrap();
    let file = fs::File::options().append(true).open(place.path("old")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(place.told(), ["Changed link", "Changed tool"]);
}

#[test]
fn a_file_may_become_a_directory_and_the_other_way_round() {
    let mut place = place(&["a", "b/c"]);
    fs::remove_file(place.path("a")).unwrap();
    place.write("a/x", "x");
    fs::remove_dir_all(place.path("b")).unwrap();
    place.write("b", "b");
    assert_eq!(place.told(), ["Removed a", "Added a/x", "Added b", "Removed b/c"]);
}

#[test]
fn a_tree_that_git_writes_is_one_change() {
    let mut place = place(&["a"]);
    place.write(".git/index.lock", "");
    let root = place.directory.path().to_path_buf();
    let git = std::thread::spawn(move || {
        for number in 0..50 {
            write(&root, &format!("file{number}"), "x");
            std::thread::sleep(Duration::from_millis(4));
        }
        fs::remove_file(root.join(".git/index.lock")).unwrap();
    });
    let changes = place.watch.wait(SOON).unwrap();
    git.join().unwrap();
    assert_eq!(changes.len(), 50);
}

#[test]
fn who_holds_gits_lock_and_writes_nothing_is_not_waited_for() {
    let mut place = place(&["a"]);
    place.write(".git/index.lock", "");
    place.write("a", "other");
    let started = Instant::now();
    assert_eq!(place.watch.wait(SOON).unwrap().len(), 1);
    assert!(started.elapsed() < CHECKOUT, "as while the message of a commit is written");
}

#[test]
fn what_becomes_something_else_all_the_time_ends_nothing() {
    let mut place = place(&["a", "other/b"]);
    let root = place.directory.path().to_path_buf();
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ended = std::sync::Arc::clone(&over);
    let flipping = std::thread::spawn(move || {
        let path = root.join("a");
        while !ended.load(std::sync::atomic::Ordering::Relaxed) {
            let _ = fs::remove_file(&path);
            std::os::unix::fs::symlink("other", &path).unwrap();
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            fs::remove_dir(&path).unwrap();
            write(&root, "a", "text");
        }
    });
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        place.watch.wait(Duration::from_millis(100)).unwrap();
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    flipping.join().unwrap();
    place.write("a", "in the end");
    place.told();
    assert_eq!(place.watch.files(), 3, "a, other/b, done");
}

#[test]
fn what_changed_while_all_was_read_is_told() {
    let mut place = place(&["a"]);
    place.watch.early = Changes::from([(PathBuf::from("a"), How::Changed)]);
    assert_eq!(place.told(), ["Changed a"]);
}

#[test]
fn what_was_something_else_for_a_moment_is_known() {
    let mut place = place(&["a"]);
    place.told();
    assert!(!place.watch.was_restless().unwrap());
    place.write("a", "a");
    place.told();
    assert!(place.watch.was_restless().unwrap(), "written as it was");
    for (name, is_source) in [("b", true), ("b~", false)] {
        place.write(name, "b");
        fs::remove_file(place.path(name)).unwrap();
        place.told();
        assert_eq!(place.watch.was_restless().unwrap(), is_source, "{name}");
    }
}

#[test]
fn a_queue_that_overflowed_costs_a_look_at_everything() {
    let mut place = place(&["a", "b/c"]);
    let (sender, hints) = mpsc::channel();
    place.watch.hints = hints;
    place.write("b/c", "other");
    place.write("d/e", "e");
    sender.send(Hint::Everywhere).unwrap();
    let changes = place.watch.wait(SOON).unwrap();
    let wanted = [("b/c", How::Changed), ("d/e", How::Added)];
    assert_eq!(changes, wanted.map(|(path, how)| (PathBuf::from(path), how)).into());
}

#[test]
fn without_the_kernel_changes_are_found_by_looking() {
    let mut place = place(&["a", "b/c"]);
    let (_, silent) = mpsc::channel();
    place.watch.hints = silent;
    place.write("b/c", "other");
    assert!(place.watch.wait(SOON).is_err(), "the kernel's end is no silence");
    place.watch.polls = Some("a test".into());
    let (_sender, silent) = mpsc::channel();
    place.watch.hints = silent;
    let changes = place.watch.wait(SOON).unwrap();
    assert_eq!(changes, Changes::from([(PathBuf::from("b/c"), How::Changed)]));
}
