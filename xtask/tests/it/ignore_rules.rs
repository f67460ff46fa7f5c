//! `.dockerignore` against the real engine: what we hash is what `COPY . /` copies.
//!
//! Random trees with random ignore files, and every named case on one tree. All of them are built
//! in one `docker buildx bake`, each into a directory that is then listed. 40 random trees in a
//! normal run, 520 with `STEVEDORE_FULL=1` (40 at a time: BuildKit loses jobs when it gets 500 at
//! once); the seed of a failure repeats with `STEVEDORE_SEED=N`.

#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::dsl::{Answer, Project, campaign, engine, repository};

/// Few, since we read the trees of all images of a project to answer for one.
const TREES_PER_FOREST: usize = 10;

/// The name of a case and its ignore file.
const NAMED: &[(&str, &[u8])] = &[
    ("nothing", b""),
    ("star-and-exception", b"*\n!x\n"),
    ("star-and-deep-exception", b"*\n!d/e/f/z\n"),
    ("star-and-exception-anywhere", b"*\n!**/z\n"),
    ("star-and-exception-in-directory", b"*\n!d/*\n"),
    ("directory-and-exception", b"d\n!d/e/a\nd/e/f\n"),
    ("exception-first", b"!x\n*\n"),
    ("exceptions-only", b"!x\n!d/**\n"),
    ("exception-of-a-parent", b"d/e\n!d\n"),
    ("exception-that-cannot-be-reached", b"d/e\n!d/e?/a\n!x\n"),
    ("exception-by-two-stars", b"*\n!d/**\n"),
    ("exception-of-an-empty-directory", b"*\n!d/empty\n!empty\n"),
    ("two-stars-first", b"**/a\n"),
    ("two-stars-last", b"d/**\n"),
    ("two-stars-between", b"d/**/a\n"),
    ("two-stars-without-slash", b"**a\nd**\n"),
    ("two-stars-alone", b"**\n"),
    ("many-two-stars", b"**/**/**/**/a\n"),
    ("trailing-slash-and-space", b"d/e/ \n /x/\n"),
    ("comments", b"#a\n #b\n\\#a\n"),
    ("byte-order-mark", b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n"),
    ("byte-order-mark-and-comment", b"\xef\xbb\xbf#a\nb\n"),
    ("carriage-returns", b"a\r\nb\r\n\r\n#x\r\n"),
    ("absolute", b"/a\n/d/a\n"),
    ("outside", b"../x\n../../d\n"),
    ("itself", b".\n/\n..\n"),
    ("the-dockerfile", b"Dockerfile\n"),
    ("the-ignore-file", b".dockerignore\n"),
    ("hidden-exception", b"*\n./!x\n"),
    ("space-behind-the-slash", b"/ x\n"),
    ("space-behind-the-mark", b"*\n! x\n!/ x\n"),
    ("alternatives", b"a|b*\n"),
    ("alternatives-without-wildcard", b"a|b\n"),
    ("star-in-brackets", b"[a*]\n"),
    ("named-class", b"[[:alpha:]]\n"),
    ("negated", b"[^ab]\n"),
    ("escapes", b"\\!x\n\\[\n"),
    ("repeated", b"ax{2}?\naxx{0,3}*\n"),
    ("not-ascii", b"\xc3\xa9\n%61\nd+e\n"),
    ("not-utf-8", b"a\xff\n?\xff\n"),
    ("control-character-beside-not-ascii", b"a\tb\n\xc3\xa9\n"),
    ("unchecked-part", b"a*b*[]c]\nx*l*[g-]\n"),
];

/// Ignore files that the builder fails with, and the line to blame.
const ERRORS: &[(&str, &[u8], usize)] = &[
    ("exception-to-nothing", b"a\n!\n", 2),
    ("exception-to-blank", b"!  \n", 1),
    ("exception-to-root", b"!/\n", 1),
    ("open-bracket", b"[\n", 1),
    ("open-range", b"a\n\n[a-]\n", 3),
    ("empty-brackets", b"[]a]\n", 1),
    ("negated-nothing", b"[^]\n", 1),
    ("last-backslash", b"a\\\n", 1),
    ("backward-range", b"[b-a]\n", 1),
    ("unknown-class", b"[[:nope:]]\n", 1),
    ("unknown-escape", b"\\q\n", 1),
    ("repeated-star", b"*{2}\n", 1),
    ("control-character", b"a\tb\n", 1),
];

/// The tree of the named cases: directories end in `/`, symlinks have a target.
const TREE: &[(&str, &str)] = &[
    (" x", ""),
    ("!x", ""),
    ("#a", ""),
    ("%61", ""),
    ("-rf", ""),
    (".hidden", ""),
    ("Dockerfile", ""),
    ("[", ""),
    ("a", ""),
    ("a b", ""),
    ("a\tb", ""),
    ("a]", ""),
    ("a|b", ""),
    ("ab", ""),
    ("axx", ""),
    ("axxx", ""),
    ("b", ""),
    ("d/!x", ""),
    ("d/a", ""),
    ("d/b", ""),
    ("d/e/a", ""),
    ("d/e/f/a", ""),
    ("d/e/f/z", ""),
    ("d/e/g/", ""),
    ("d/empty/", ""),
    ("d/up", ".."),
    ("d/x", ""),
    ("d/x.log", ""),
    ("d+e", ""),
    ("da", ""),
    ("e/z", ""),
    ("empty/", ""),
    ("gone", "no/where"),
    ("link", "a"),
    ("root", "/"),
    ("x", ""),
    ("x.log", ""),
    ("y", ""),
    ("\u{e9}", ""),
    ("a\nb", ""),
    ("^", ""),
];

#[test]
fn named_ignore_files_leave_what_the_engine_copies() {
    engine!();
    let mut many: Vec<u8> =
        (0..10_000).flat_map(|n| format!("p{n}/**/q*\n").into_bytes()).collect();
    many.extend_from_slice(b"d\n!d/x\n");
    let cases: Vec<_> = NAMED.iter().copied().chain([("ten-thousand", &many[..])]).collect();
    let forest = |cases: &[(&str, &[u8])]| {
        let mut forest = Forest::new();
        for (name, ignore) in cases {
            let tree = forest.plant(&format!("named-{name}"), ignore);
            TREE.iter().for_each(|(path, target)| make(&tree, path, target));
        }
        forest
    };
    let forests: Vec<Forest> = cases.chunks(TREES_PER_FOREST).map(forest).collect();
    compare(&forests, "named");
}

#[test]
fn ignore_files_that_the_engine_refuses_are_refused_with_their_line() {
    engine!();
    let long = b"#".repeat(64 << 10);
    for (name, ignore, line) in ERRORS.iter().chain([&("line-of-64-kilobytes", &long[..], 1)]) {
        let mut forest = Forest::new();
        let name = format!("error-{name}");
        let tree = forest.plant(&name, ignore);
        make(&tree, "z", "");
        make(&tree, "z.log", "");
        assert!(!bake(std::slice::from_ref(&forest)).status.success(), "{name}: it is built");
        let ours = our_answer(&forest.project, &name);
        assert_ne!(ours.code, 0, "{name}");
        ours.says(&format!("trees/{name}/.dockerignore")).says(&format!("line {line}"));
    }
}

#[test]
fn random_ignore_files_leave_what_the_engine_copies() {
    campaign!();
    let full = std::env::var_os("STEVEDORE_FULL").is_some();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let seed = std::env::var("STEVEDORE_SEED").map_or(now, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let mut random = Random(seed);
    for batch in 0..if full { 13 } else { 1 } {
        let forest = |number| {
            let mut forest = Forest::new();
            for tree in 0..TREES_PER_FOREST {
                let name = format!("random-{batch}-{number}-{tree}");
                let directory = forest.plant(&name, random.ignore_file().as_bytes());
                random.grow(&directory);
            }
            forest
        };
        let forests: Vec<Forest> = (0..40 / TREES_PER_FOREST).map(forest).collect();
        compare(&forests, &format!("STEVEDORE_SEED={seed}"));
    }
}

/// A project with an image for each tree, which its Dockerfile copies whole.
struct Forest {
    project: Project,
    images: Vec<String>,
}

impl Forest {
    fn new() -> Forest {
        let project = Project::new();
        let lock = fs::read_to_string(repository().join("docker/stack.lock")).unwrap();
        project.file("docker/stack.lock", lock);
        Forest { project, images: Vec::new() }
    }

    /// A tree of this name, which no other context may have: buildx tells them apart by it.
    fn plant(&mut self, name: &str, ignore: &[u8]) -> PathBuf {
        let tree = format!("trees/{name}");
        self.project
            .file(&format!("docker/{name}/Dockerfile"), "FROM scratch\nCOPY . /\n")
            .file(&format!("{tree}/.dockerignore"), ignore);
        self.images.push(name.to_owned());
        let service = |name: &String| {
            format!(
                "{{build: {{context: trees/{name}, dockerfile: ../../docker/{name}/Dockerfile}}}}"
            )
        };
        let services: Vec<String> = self.images.iter().map(service).collect();
        let names = self.images.iter().map(String::as_str);
        self.project.compose(&names.zip(services.iter().map(String::as_str)).collect::<Vec<_>>());
        self.project.path(&tree)
    }

    /// Where each image has its `trees`, or what was `copied` of it.
    fn paths(&self, directory: &str) -> Vec<PathBuf> {
        self.images.iter().map(|image| self.project.path(&format!("{directory}/{image}"))).collect()
    }

    /// Each tree of which we list other entries than the engine copied.
    fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for (image, copied) in self.images.iter().zip(self.paths("copied")) {
            let tree = self.project.path(&format!("trees/{image}"));
            let (ours, theirs) = (our_paths(&self.project, image), list(&copied));
            if ours != theirs {
                findings.push(format!(
                    "{image}: {:?}\nours only: {:?}\ntheirs only: {:?}",
                    String::from_utf8_lossy(&fs::read(tree.join(".dockerignore")).unwrap()),
                    ours.difference(&theirs).collect::<Vec<_>>(),
                    theirs.difference(&ours).collect::<Vec<_>>(),
                ));
            }
        }
        findings
    }
}

/// Holds our list against the engine's, tree by tree; names what differs.
fn compare(forests: &[Forest], repeat: &str) {
    let output = bake(forests);
    assert!(output.status.success(), "{repeat}\n{}", String::from_utf8_lossy(&output.stderr));
    let findings = std::thread::scope(|scope| {
        let threads: Vec<_> =
            forests.iter().map(|forest| scope.spawn(|| forest.findings())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(findings.is_empty(), "{repeat}\n{}", findings.join("\n\n"));
    let count = |directory: &str| -> usize {
        let trees = forests.iter().flat_map(|forest| forest.paths(directory));
        trees.map(|tree| list(&tree).len()).sum()
    };
    let sizes = [count("copied"), count("trees")];
    println!("{} of {} entries copied", sizes[0], sizes[1]);
    assert!(sizes[0] > sizes[1] / 10 && sizes[0] < sizes[1] * 19 / 20, "both verdicts: {sizes:?}");
}

/// Builds every tree in one call, each into a directory of its own.
fn bake(forests: &[Forest]) -> Output {
    let mut targets = serde_json::Map::new();
    for (forest, image) in forests.iter().flat_map(|f| f.images.iter().map(move |i| (f, i))) {
        let copied = forest.project.path(&format!("copied/{image}"));
        let target = serde_json::json!({
            "context": forest.project.path(&format!("trees/{image}")),
            "dockerfile": forest.project.path(&format!("docker/{image}/Dockerfile")),
            "output": [format!("type=local,dest={}", copied.display())],
        });
        targets.insert(image.clone(), target);
    }
    let names: Vec<&String> = targets.keys().collect();
    let definition =
        serde_json::json!({"group": {"default": {"targets": names}}, "target": targets});
    let file = forests[0].project.path("bake.json");
    fs::write(&file, definition.to_string()).unwrap();
    Command::new("docker")
        .args(["buildx", "bake", "--progress", "plain", "--file"])
        .arg(file)
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDX_BAKE_ENTITLEMENTS_FS", "0")
        .output()
        .unwrap()
}

fn our_answer(project: &Project, image: &str) -> Answer {
    project.xtask(&["--json", "image", "inputs", image])
}

/// Each input as `KIND MODE PATH TARGET`, in the words of [`list`].
fn our_paths(project: &Project, image: &str) -> BTreeSet<String> {
    let events = our_answer(project, image).succeeds().events();
    let inputs =
        events.iter().filter(|event| event["event"] == "input" && event["path"].is_string());
    let entry = |event: &serde_json::Value| {
        let text = |key: &str| event[key].as_str().unwrap();
        let target = if text("kind") == "symlink" { text("content") } else { "" };
        let mode = u32::from_str_radix(text("mode"), 8).unwrap();
        format!("{} {mode:o} {} {target}", text("kind"), text("path"))
    };
    inputs.map(entry).collect()
}

/// Everything below a directory.
fn list(root: &Path) -> BTreeSet<String> {
    let entry = |entry: walkdir::Result<walkdir::DirEntry>| {
        let entry = entry.unwrap();
        let path = escape(entry.path().strip_prefix(root).unwrap());
        let mode = entry.metadata().unwrap().mode() & 0o7777;
        match entry.file_type() {
            kind if kind.is_dir() => format!("directory {mode:o} {path} "),
            kind if kind.is_symlink() => {
                format!("symlink 777 {path} {}", escape(&entry.path().read_link().unwrap()))
            }
            _ => format!("file {mode:o} {path} "),
        }
    };
    walkdir::WalkDir::new(root).min_depth(1).into_iter().map(entry).collect()
}

/// A path as our events write it.
fn escape(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            let hexadecimal =
                || c.to_string().bytes().map(|byte| format!("\\x{byte:02x}")).collect();
            text += &if c == '\\' || c.is_control() { hexadecimal() } else { c.to_string() };
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// Puts one entry into a tree, unless its name is taken. Never through a symlink: it may lead out.
fn make(tree: &Path, path: &str, target: &str) {
    let at = tree.join(path.trim_end_matches('/'));
    let mut above = at.ancestors().take_while(|above| *above != tree);
    let is_taken = at.symlink_metadata().is_ok();
    if is_taken || above.any(|above| above.symlink_metadata().is_ok_and(|meta| !meta.is_dir())) {
        return;
    }
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    if path.ends_with('/') {
        fs::create_dir(at).unwrap();
    } else if target.is_empty() {
        fs::write(at, path).unwrap();
    } else {
        symlink(target, at).unwrap();
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        from[((z ^ (z >> 31)) % from.len() as u64) as usize]
    }

    fn times(&mut self, least: usize, most: usize) -> std::ops::Range<usize> {
        let dots = ".".repeat(most - least + 1);
        let lengths: Vec<&str> = (0..dots.len()).map(|length| &dots[..length]).collect();
        0..least + self.pick(&lengths).len()
    }

    /// Patterns that no builder refuses: what it refuses has tests of its own.
    fn ignore_file(&mut self) -> String {
        let names = ["a", "b", "c", "ab", "d", "é", ".a", "-a", "a b", "x.a"];
        let wild = ["*", "**", "**/", "?", "[a-c]", "[^a]", "*.", "[a*]", "[[:alpha:]]", "^", "|"];
        let mut file = self.pick(&["", "*\n", "**/a\n", "a\nb\n"]).to_owned();
        for _ in self.times(1, 5) {
            file += self.pick(&["", "", "", "!", "! ", "!", "/", "./", "../", " ", "#", "./!"]);
            for _ in self.times(0, 3) {
                let pieces =
                    if self.pick(&["name", "wild"]) == "name" { &names[..] } else { &wild };
                file += self.pick(pieces);
                file += self.pick(&["", "/", "/", "//", "/./"]);
            }
            file += self.pick(&["a", "b", "c", "d", "*", "*", "**", "?", "a*", "a/**", "b/*"]);
            file += self.pick(&["\n", "\n", "/\n", " \n", "\r\n"]);
        }
        file
    }

    /// Fills a tree with 20 to 60 entries.
    fn grow(&mut self, tree: &Path) {
        let names = [
            "a", "b", "c", "d", "ab", "abc", "x.a", ".a", ".b", "-a", "--", "a b", " a", "é",
            "日本", "a|b", "[a]", "a]", "^", "#a", "!a", "*", "a\\b", "+", "a\nb",
        ];
        for _ in self.times(20, 60) {
            let mut path = String::new();
            for _ in self.times(0, 3) {
                path += self.pick(&names[..9]);
                path.push('/');
            }
            path += self.pick(&names);
            match self.pick(&["file", "file", "file", "directory", "symlink"]) {
                "file" => make(tree, &path, ""),
                "directory" => make(tree, &format!("{path}/"), ""),
                _ => make(tree, &path, self.pick(&["a", "..", "no/where", "/", "a/../../b", "."])),
            }
        }
    }
}
