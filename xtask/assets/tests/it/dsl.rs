//! A project in a temporary directory, the real binary in it, and what it answered.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::compilers::compilers;
use crate::read_map::SourceMap;

/// Longest wait for anything; only a hang takes that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// `src/` with sources, `lib/` with libraries, and what the pipeline makes of them: `dist/`.
pub(crate) struct Project {
    directory: tempfile::TempDir,
}

/// What the manifest says of a source.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) file: String,
    pub(crate) integrity: String,
    pub(crate) size: usize,
}

/// Inode, modification time and mode of a file: all that a rewrite changes.
pub(crate) type Stamps = BTreeMap<String, (u64, i64, i64, u32)>;

impl Project {
    pub(crate) fn new() -> Project {
        let directory = tempfile::Builder::new().prefix("assets-test-").tempdir().unwrap();
        let project = Project { directory };
        fs::create_dir_all(project.path("src")).unwrap();
        fs::create_dir_all(project.path("lib")).unwrap();
        project
    }

    /// A bit of everything, with references in all directions.
    pub(crate) fn with_everything() -> Project {
        let project = Project::new();
        project
            .file("style.scss", "@use \"colors\";\n@import \"other.css\";\n.a {\n  color: colors.$ink;\n  background: url(img/dot.svg);\n}\n")
            .file("_colors.scss", "$ink: #123456;\n.ink { color: $ink; }\n")
            .file("other.css", ".other {\n  user-select: none;\n  cursor: url(img/dot.svg), auto;\n}\n")
            .file("app.js", "import { help } from \"./lib/help.js\";\nhelp(new URL(\"./img/dot.svg\", import.meta.url));\n")
            .file("lib/help.js", "export function help(address) {\n  document.body.dataset.dot = address.href;\n  document.body.dataset.again = address.href;\n}\n")
            .file("classic.js", "var greeting = \"hello\";\nfunction greet(name) {\n  return greeting + name;\n}\n")
            .file("img/dot.svg", format!("<svg>{}</svg>\n", "<path d=\"M0 0\"/>".repeat(40)))
            .file("photo.jpg", [0xff, 0xd8, 0xff, 0x00, 0x9c])
            .file("note.txt", "x");
        project
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// Writes a source.
    pub(crate) fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Project {
        write(&self.path("src").join(path), text.as_ref());
        self
    }

    /// Writes a file of a library.
    pub(crate) fn library(&self, path: &str, text: impl AsRef<[u8]>) -> &Project {
        write(&self.path("lib").join(path), text.as_ref());
        self
    }

    pub(crate) fn remove(&self, path: &str) -> &Project {
        fs::remove_file(self.path("src").join(path)).unwrap();
        self
    }

    pub(crate) fn command(&self, action: &[&str]) -> Command {
        let mut command = program(action, ["src", "dist", "state"], compilers());
        command.current_dir(self.root()).args(["--load-path", "lib"]);
        command
    }

    pub(crate) fn run(&self, action: &[&str]) -> Answer {
        Answer::of(self.command(action), self.root())
    }

    #[track_caller]
    pub(crate) fn build(&self) -> Answer {
        self.run(&["build"]).succeeds()
    }

    /// Whether a build would have something to do, and why.
    #[track_caller]
    pub(crate) fn state(&self) -> String {
        self.run(&["build", "--dry-run"]).succeeds().stdout.trim().to_owned()
    }

    /// Everything in `dist/`, by path.
    pub(crate) fn dist(&self) -> BTreeMap<String, Vec<u8>> {
        tree(&self.path("dist"))
    }

    pub(crate) fn stamps(&self) -> Stamps {
        let stamp = |name: String| {
            let found = fs::symlink_metadata(self.path("dist").join(&name)).unwrap();
            (name, (found.ino(), found.mtime(), found.mtime_nsec(), found.mode()))
        };
        self.dist().into_keys().map(stamp).collect()
    }

    pub(crate) fn manifest(&self) -> BTreeMap<String, Entry> {
        let text = fs::read(self.path("dist/manifest.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// The output of a source, as a path from `dist/`.
    #[track_caller]
    pub(crate) fn name(&self, source: &str) -> String {
        let manifest = self.manifest();
        manifest.get(source).unwrap_or_else(|| panic!("no {source}: {manifest:?}")).file.clone()
    }

    pub(crate) fn output(&self, name: &str) -> Vec<u8> {
        fs::read(self.path("dist").join(name)).unwrap()
    }

    /// What a source became, without the line that names its map.
    #[track_caller]
    pub(crate) fn text(&self, source: &str) -> String {
        let text = String::from_utf8(self.output(&self.name(source))).unwrap();
        let end = text.rfind("\n/*# sourceMappingURL=").or(text.rfind("\n//# sourceMappingURL="));
        text[..end.unwrap_or(text.len())].to_owned()
    }

    /// Like [`Project::text`], each hash of a name shown as `#`.
    #[track_caller]
    pub(crate) fn plain(&self, source: &str) -> String {
        without_hashes(&self.text(source))
    }

    #[track_caller]
    pub(crate) fn map(&self, source: &str) -> SourceMap {
        let text = self.output(&format!("{}.map", self.name(source)));
        SourceMap::read(&text)
    }

    /// Where the map leads from the place of a text in the output: source, line, text of the line.
    #[track_caller]
    pub(crate) fn origin(&self, source: &str, wanted: &str) -> (String, u32, String) {
        let text = self.text(source);
        let at = text.find(wanted).unwrap_or_else(|| panic!("no {wanted:?} in\n{text}"));
        let line = text[..at].matches('\n').count();
        let column = at - text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let map = self.map(source);
        let column = text[at - column..at].encode_utf16().count();
        let origin = map.origin(line as u32, column as u32).unwrap();
        let line = origin.content.lines().nth(origin.line as usize).unwrap_or_default();
        let name = origin.source.trim_start_matches('/').to_owned();
        (name, origin.line + 1, line.trim().to_owned())
    }

    /// Every hashed name in a text output names a file that is there.
    #[track_caller]
    pub(crate) fn references_hold(&self) {
        let dist = self.dist();
        let mut count = 0;
        for (name, bytes) in &dist {
            if !(name.ends_with(".css") || name.ends_with(".js")) {
                continue;
            }
            let text = std::str::from_utf8(bytes).unwrap();
            for reference in hashed_references(text) {
                let wanted = join(name, reference.split(['?', '#']).next().unwrap());
                assert!(dist.contains_key(&wanted), "{name} names {reference}, no {wanted}");
                count += 1;
            }
        }
        assert!(count > 0, "no reference was looked at");
    }
}

/// The program on these places: sources, outputs, state; with these compilers.
pub(crate) fn program(
    action: &[&str],
    [source, output, state]: [&str; 3],
    (sass, esbuild): &(PathBuf, PathBuf),
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assets"));
    command.args(action).stdin(Stdio::null()).env("NO_COLOR", "1");
    command.args(["--source", source, "--output", output, "--state", state]);
    command.arg("--sass").arg(sass).arg("--esbuild").arg(esbuild);
    command
}

/// Builds a project with one more source, and compares what that became.
#[track_caller]
pub(crate) fn check(project: &Project, path: &str, text: &str, expected: &expect_test::Expect) {
    project.file(path, text).build();
    project.references_hold();
    expected.assert_eq(&project.plain(path));
}

/// Every file of a directory, by path; a link as its target.
pub(crate) fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_symlink() {
                files.insert(name, fs::read_link(&path).unwrap().display().to_string().into());
            } else if kind.is_file() {
                files.insert(name, fs::read(&path).unwrap());
            } else {
                files.insert(name, b"special".to_vec());
            }
        }
    }
    files
}

/// Texts between quotes or parentheses that hold a hash as names of outputs do.
fn hashed_references(text: &str) -> Vec<&str> {
    let ends = ['"', '\'', '`', '(', ')', ' ', '=', '\n'];
    let parts = text.split(ends).filter(|part| without_hashes(part) != *part);
    parts.collect()
}

/// A path that one output calls another, from the directory of all.
fn join(from: &str, reference: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in reference.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop().expect("leaves the directory")),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A text with `-#` for each `-0123456789abcdef` in it.
pub(crate) fn without_hashes(text: &str) -> String {
    let mut parts = text.split('-');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_hash = |sign: &u8| sign.is_ascii_digit() || (b'a'..=b'f').contains(sign);
        let digits = part.bytes().take_while(is_hash).count();
        plain.push('-');
        plain.push_str(if digits == 16 { "#" } else { "" });
        plain.push_str(if digits == 16 { &part[16..] } else { part });
    }
    plain
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

pub(crate) fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    pub(crate) fn of(mut command: Command, root: &Path) -> Answer {
        let output = command.output().unwrap();
        let root = root.display().to_string();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&root, "<root>");
        Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Answer {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// It ends with 1, prints nothing and says this.
    #[track_caller]
    pub(crate) fn fails(self, expected: &expect_test::Expect) -> Answer {
        assert_eq!(self.code, 1, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "");
        expected.assert_eq(&self.stderr);
        self
    }

    /// The reason of a build, without seconds and numbers.
    pub(crate) fn reason(&self) -> String {
        let text = self.stdout.trim();
        match text.split_once(" s: ") {
            Some((_, rest)) => rest.rsplit_once(" (").map_or(rest, |(reason, _)| reason).to_owned(),
            None => text.to_owned(),
        }
    }

    /// How many files a build has written and removed.
    #[track_caller]
    pub(crate) fn counts(&self) -> (usize, usize) {
        let numbers = self.stdout.rsplit_once(" (").expect(&self.stdout).1;
        let number = |text: &str| text.trim().split(' ').next().unwrap().parse().unwrap();
        let parts: Vec<&str> = numbers.split(',').collect();
        (number(parts[1]), number(parts[2]))
    }
}

/// A command that runs, its output in a file.
pub(crate) struct Running {
    child: Child,
    output: tempfile::NamedTempFile,
}

impl Running {
    pub(crate) fn start(inner: Command) -> Running {
        // Who runs the tests in the background lets them ignore Ctrl-C, and so their children.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(inner.get_program()).args(inner.get_args());
        command.current_dir(inner.get_current_dir().unwrap()).env("NO_COLOR", "1");
        let output = tempfile::NamedTempFile::new().unwrap();
        // Appended to by both, or one would write over what the other wrote.
        let append = || fs::File::options().append(true).open(output.path()).unwrap();
        let child = command.stdout(append()).stderr(append()).spawn().unwrap();
        Running { child, output }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.output.path()).unwrap()
    }

    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&str) -> bool) {
        let started = Instant::now();
        while !holds(&self.output()) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended ({ended:?}) before {what}:\n{}", self.output());
            let late = started.elapsed() > PATIENCE;
            assert!(!late, "waited too long for {what}:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end: the signal that ended it, or nothing.
    pub(crate) fn ends(&mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.signal();
            }
            assert!(started.elapsed() < PATIENCE, "it does not end:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
