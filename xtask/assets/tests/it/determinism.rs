//! The same sources give the same bytes, whoever builds them, wherever and whenever.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::compilers::compilers;
use crate::dsl::{Answer, Project, mode, program, tree, write};

/// Names, modes and bytes, directories included.
fn all(dist: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for (name, bytes) in tree(dist) {
        let path = dist.join(&name);
        for part in path.ancestors().take_while(|part| part.starts_with(dist)) {
            let found = fs::metadata(part).unwrap().permissions().mode();
            let key = part.strip_prefix(dist).unwrap().display().to_string();
            let bytes = if part == path { bytes.clone() } else { Vec::new() };
            all.insert(key, (found, bytes));
        }
    }
    all
}

/// The same sources as [`Project::with_everything`], with libraries and settings.
fn sources() -> Vec<(String, Vec<u8>)> {
    let project = Project::with_everything();
    project
        .file("assets.toml", "targets = [\"safari >= 14\"]\n")
        .file("uses.scss", "@use \"pack/box\";\n@use \"sass:map\";\n$m: (b: 1, a: 2);\n@each $k, $v in $m { .#{$k} { order: $v } }\n")
        .file("a.js", "import { b } from \"./b.js\";\nexport const a = () => b;\n")
        .file("b.js", "import { a } from \"./a.js\";\nexport const b = () => a;\n");
    write(&project.path("lib/pack/_box.scss"), b".box { inset: 0; user-select: none }\n");
    let of = |below: &str| {
        let files = tree(&project.path(below)).into_iter();
        files.map(|(name, bytes)| (format!("{below}/{name}"), bytes)).collect::<Vec<_>>()
    };
    [of("src"), of("lib")].concat()
}

/// Puts the sources into a directory, in this order.
fn put<'s>(root: &Path, sources: impl Iterator<Item = &'s (String, Vec<u8>)>) {
    for (name, bytes) in sources {
        write(&root.join(name), bytes);
    }
}

fn build(root: &Path, places: [&str; 4], prepare: impl FnOnce(&mut Command)) -> Command {
    let [source, output, state, library] = places;
    let _ = root;
    let mut command = program(&["build"], [source, output, state], compilers());
    command.args(["--load-path", library]);
    prepare(&mut command);
    command
}

const RELATIVE: [&str; 4] = ["src", "dist", "state", "lib"];

#[test]
fn place_time_language_and_umask_leave_no_trace() {
    let sources = sources();
    let home = tempfile::tempdir().unwrap();
    let first = home.path().join("first");
    put(&first, sources.iter());
    let command = build(&first, RELATIVE, |it| _ = it.current_dir(&first));
    Answer::of(command, &first).succeeds();
    let good = all(&first.join("dist"));
    assert!(good.len() > 30, "{:?}", good.keys());

    // Another place, files made in the other order, long ago, for their owner only.
    let second = home.path().join("a longer/place with blanks");
    put(&second, sources.iter().rev());
    for (name, _) in &sources {
        let path = second.join(name);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(86_400)).unwrap();
        mode(&path, 0o600);
    }
    let other = |it: &mut Command| {
        it.current_dir(&second).env_clear();
        it.env("TZ", "Pacific/Kiritimati").env("LANG", "tr_TR.UTF-8").env("LC_ALL", "ar_EG.UTF-8");
        it.env("HOME", "/nonexistent").env("SOURCE_DATE_EPOCH", "1").env("TMPDIR", home.path());
    };
    Answer::of(build(&second, RELATIVE, other), &second).succeeds();
    assert!(all(&second.join("dist")) == good, "place, order, times, environment");

    for umask in ["077", "000", "027"] {
        let place = home.path().join(umask);
        put(&place, sources.iter());
        // A shell, since only it can set a mask before the program starts.
        let script = format!("umask {umask} && exec \"$0\" \"$@\"");
        let inner = build(&place, RELATIVE, |_| {});
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(inner.get_program()).args(inner.get_args());
        command.current_dir(&place);
        Answer::of(command, &place).succeeds();
        assert!(all(&place.join("dist")) == good, "umask {umask}");
    }
}

#[test]
fn relative_absolute_and_roundabout_paths_give_the_same() {
    let sources = sources();
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("project");
    put(&place, sources.iter());
    std::os::unix::fs::symlink(&place, home.path().join("link")).unwrap();
    fs::create_dir(place.join("elsewhere")).unwrap();
    let mut good = None;
    let absolute = |root: &Path| RELATIVE.map(|it| root.join(it).display().to_string());
    let under = |prefix: &str| RELATIVE.map(|it| format!("{prefix}{it}"));
    for (case, from, places) in [
        ("relative", place.clone(), under("")),
        ("with a dot", place.clone(), under("./")),
        ("from elsewhere", place.join("elsewhere"), under("../")),
        ("absolute", home.path().into(), absolute(&place)),
        ("roundabout", place.clone(), under("elsewhere/../")),
        ("absolute through a link", home.path().into(), absolute(&home.path().join("link"))),
        ("relative through a link", home.path().into(), under("link/")),
        ("from within a link", home.path().join("link"), under("")),
    ] {
        for name in ["dist", "state"] {
            let _ = fs::remove_dir_all(place.join(name));
        }
        let [source, output, state, library] = &places;
        let places = [source.as_str(), output, state, library];
        let command = build(&place, places, |it| _ = it.current_dir(&from));
        let answer = Answer::of(command, &place);
        assert_eq!(answer.code, 0, "{case}: {}", answer.stderr);
        let dist = all(&place.join("dist"));
        let good = good.get_or_insert(dist.clone());
        assert!(dist == *good, "{case}");
    }
}

#[test]
fn a_build_after_edits_gives_what_a_first_build_gives() {
    let project = Project::with_everything();
    project.build();
    project
        .file("_colors.scss", "$ink: red;")
        .file("x.js", "alert(1)")
        .file("img/dot.svg", "<svg/>");
    project.build();
    project.remove("x.js").file("lib/help.js", "export function help() { return 1 }").build();
    let fresh = Project::with_everything();
    fresh.file("_colors.scss", "$ink: red;").file("img/dot.svg", "<svg/>");
    fresh.file("lib/help.js", "export function help() { return 1 }").build();
    let (after, first) = (all(&project.path("dist")), all(&fresh.path("dist")));
    let names = |dist: &BTreeMap<String, _>| dist.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(&first));
    assert!(after == first);
}
