//! What is made again after a change, and what is left alone.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use crate::dsl::{Project, Stamps, mode, without_hashes};

/// Which files of dist an edit has written, hashes shown as `#`; removed ones with a `-`.
fn touched(project: &Project, edit: impl FnOnce(&Project)) -> Vec<String> {
    let before = project.stamps();
    edit(project);
    project.build();
    difference(&before, &project.stamps())
}

fn difference(before: &Stamps, now: &Stamps) -> Vec<String> {
    let written = now.iter().filter(|(name, stamp)| before.get(*name) != Some(*stamp));
    let removed = before.keys().filter(|name| !now.contains_key(*name));
    let written = written.map(|(name, _)| without_hashes(name));
    let mut all: Vec<String> =
        written.chain(removed.map(|name| format!("-{}", without_hashes(name)))).collect();
    all.sort();
    all.retain(|name| name.ends_with(".css") || name.ends_with(".js") || !name.contains("#."));
    all
}

#[test]
fn nothing_to_do_writes_nothing() {
    let project = Project::with_everything();
    assert_eq!(project.state(), "stale   dist: never built here");
    let first = project.build();
    assert_eq!(first.reason(), "never built here");
    let stamps = project.stamps();
    assert_eq!(project.state(), "fresh   dist");
    assert_eq!(project.build().stdout, "fresh   dist\n");
    assert_eq!(project.stamps(), stamps);
}

#[test]
fn an_edit_writes_what_depends_on_it() {
    let project = Project::with_everything();
    project.file("lone.scss", ".lone{top:0}").build();
    let ink = touched(&project, |it| _ = it.file("_colors.scss", "$ink: #fff;\n"));
    assert_eq!(ink, ["-style-#.css", "manifest.json", "style-#.css"]);
    let help = touched(&project, |it| _ = it.file("lib/help.js", "export let help = 1;\n"));
    let code = ["app-#.js", "chunks/chunk-#.js", "lib/help-#.js"];
    let gone = code.map(|name| format!("-{name}"));
    let written = code.map(str::to_owned);
    let manifest = ["manifest.json".to_owned()];
    assert_eq!(help, [&gone[..], &written[..], &manifest[..]].concat());
    // Its output holds no name and no text of what else is there.
    let touch = touched(&project, |it| _ = it.file("_colors.scss", "$ink: #fff;\n"));
    assert!(touch.is_empty(), "{touch:?}");
    let unused = touched(&project, |it| _ = it.file("_unused.scss", "$x: 1;\n"));
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn the_reason_is_named() {
    let project = Project::with_everything();
    project.build();
    let reason = |edit: &dyn Fn(&Project)| {
        edit(&project);
        let state = project.state();
        let built = project.build().reason();
        assert_eq!(state, format!("stale   dist: {built}"));
        built
    };
    assert_eq!(
        reason(&|it| _ = it.file("_colors.scss", "$ink: #fff;")),
        "src/_colors.scss changed"
    );
    assert_eq!(reason(&|it| _ = it.file("new.txt", "new")), "src/new.txt is new");
    assert_eq!(reason(&|it| _ = it.remove("new.txt")), "src/new.txt is gone");
    let settings = "the pipeline, its settings or a library changed";
    assert_eq!(reason(&|it| _ = it.library("x.scss", ".x{top:0}")), settings);
    assert_eq!(
        reason(&|it| fs::write(it.path("dist/foreign"), "x").unwrap()),
        "dist/foreign is new"
    );
    assert_eq!(
        reason(&|it| fs::remove_file(it.path("dist/manifest.json")).unwrap()),
        "dist/manifest.json is gone"
    );
}

#[test]
fn a_removed_source_takes_all_its_outputs_along() {
    let project = Project::with_everything();
    project.build();
    project.remove("other.css").remove("lib/help.js").remove("img/dot.svg");
    project.file("style.scss", ".a{top:0}").file("app.js", "alert(1)").build();
    for name in project.dist().keys() {
        assert!(!name.starts_with("other-") && !name.contains('/'), "{name}");
    }
    assert!(!project.path("dist/lib").exists(), "an empty directory");
}

type Case<'c> = Box<dyn Fn() + 'c>;

/// Everything that can happen to the output directory.
#[test]
fn what_was_done_to_the_output_is_undone() {
    let project = Project::with_everything();
    project.build();
    let (good, modes) = (project.dist(), |project: &Project| -> Vec<u32> {
        project.stamps().values().map(|stamp| stamp.3).collect()
    });
    let good_modes = modes(&project);
    let style = project.path("dist").join(project.name("style.scss"));
    let beside = |suffix: &str| {
        style.with_file_name(format!("{}{suffix}", style.file_name().unwrap().to_str().unwrap()))
    };
    let cases: Vec<(&str, Case<'_>)> = vec![
        ("a foreign file", Box::new(|| fs::write(project.path("dist/foreign.js"), "x").unwrap())),
        ("a deleted output", Box::new(|| fs::remove_file(&style).unwrap())),
        ("an edited output", Box::new(|| fs::write(&style, "x").unwrap())),
        ("a deleted .br", Box::new(|| fs::remove_file(beside(".br")).unwrap())),
        ("a deleted .gz", Box::new(|| fs::remove_file(beside(".gz")).unwrap())),
        ("an edited .br", Box::new(|| fs::write(beside(".br"), "x").unwrap())),
        ("a deleted map's .gz", Box::new(|| fs::remove_file(beside(".map.gz")).unwrap())),
        ("an edited map", Box::new(|| fs::write(beside(".map"), "{}").unwrap())),
        ("another mode", Box::new(|| mode(&style, 0o600))),
        ("a mode that lets all write", Box::new(|| mode(&style, 0o666))),
        ("a directory's mode", Box::new(|| mode(&project.path("dist/img"), 0o700))),
        ("dist's mode", Box::new(|| mode(&project.path("dist"), 0o700))),
        ("an empty directory", Box::new(|| fs::create_dir(project.path("dist/empty")).unwrap())),
        (
            "a directory with a file",
            Box::new(|| {
                fs::create_dir_all(project.path("dist/x/y")).unwrap();
                fs::write(project.path("dist/x/y/z"), "z").unwrap();
            }),
        ),
        (
            "a directory in an output's place",
            Box::new(|| {
                fs::remove_file(&style).unwrap();
                fs::create_dir(&style).unwrap();
                fs::write(style.join("x"), "x").unwrap();
            }),
        ),
        (
            "a file in a directory's place",
            Box::new(|| {
                fs::remove_dir_all(project.path("dist/img")).unwrap();
                fs::write(project.path("dist/img"), "x").unwrap();
            }),
        ),
        (
            "a link in an output's place",
            Box::new(|| {
                fs::rename(&style, project.path("elsewhere")).unwrap();
                symlink(project.path("elsewhere"), &style).unwrap();
            }),
        ),
        (
            "a link to a directory",
            Box::new(|| {
                symlink(project.path("src"), project.path("dist/sources")).unwrap();
            }),
        ),
        (
            "a link in dist's place",
            Box::new(|| {
                let _ = fs::remove_dir_all(project.path("moved"));
                fs::rename(project.path("dist"), project.path("moved")).unwrap();
                symlink("moved", project.path("dist")).unwrap();
            }),
        ),
        (
            "a pipe",
            Box::new(|| {
                let mode = rustix::fs::Mode::from_raw_mode(0o644);
                let (at, kind) = (project.path("dist/pipe"), rustix::fs::FileType::Fifo);
                rustix::fs::mknodat(rustix::fs::CWD, at, kind, mode, 0).unwrap();
            }),
        ),
        ("no output at all", Box::new(|| fs::remove_dir_all(project.path("dist")).unwrap())),
        (
            "a file in dist's place",
            Box::new(|| {
                fs::remove_dir_all(project.path("dist")).unwrap();
                fs::write(project.path("dist"), "x").unwrap();
            }),
        ),
        (
            "another manifest",
            Box::new(|| {
                fs::write(project.path("dist/manifest.json"), "{}").unwrap();
            }),
        ),
    ];
    for (case, spoil) in cases {
        spoil();
        assert!(project.state().starts_with("stale"), "{case}: {}", project.state());
        project.build();
        assert!(project.dist() == good, "{case}: {:?}", project.dist().keys());
        assert_eq!(modes(&project), good_modes, "{case}");
        assert!(!project.path("dist/empty").exists() && !project.path("dist/x").exists());
        assert_eq!(project.state(), "fresh   dist", "{case}");
    }
}

#[test]
fn an_edit_that_keeps_size_and_time_is_noticed() {
    let project = Project::with_everything();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let put = |path: &str, text: &str| {
        fs::write(project.path(path), text).unwrap();
        let file = fs::File::options().write(true).open(project.path(path)).unwrap();
        file.set_modified(long_ago).unwrap();
    };
    put("src/note.txt", "one");
    put("src/_colors.scss", "$ink: red;");
    project.build();
    let names = || (project.name("note.txt"), project.name("style.scss"));
    let before = names();
    put("src/note.txt", "two");
    put("src/_colors.scss", "$ink: tan;");
    project.build();
    let now = names();
    assert!(before.0 != now.0 && before.1 != now.1, "{before:?} {now:?}");
    assert!(project.text("style.scss").contains("tan"));
    let style = format!("dist/{}", now.1);
    let good = fs::read_to_string(project.path(&style)).unwrap();
    let time = fs::metadata(project.path(&style)).unwrap().modified().unwrap();
    fs::write(project.path(&style), good.replace("tan", "red")).unwrap();
    let file = fs::File::options().write(true).open(project.path(&style)).unwrap();
    file.set_modified(time).unwrap();
    project.build();
    assert_eq!(fs::read_to_string(project.path(&style)).unwrap(), good, "in dist too");
}

#[test]
fn what_is_remembered_can_be_lost_damaged_or_somebody_elses() {
    let project = Project::with_everything();
    project.build();
    let good = project.dist();
    let state = project.path("state");
    let files =
        || -> Vec<_> { crate::dsl::tree(&state).into_keys().map(|it| state.join(it)).collect() };
    assert!(files().len() > 3, "{:?}", files());
    for content in [&b""[..], b"{}", b"\xff\x00 garbage", b"null", b"[1, 2"] {
        for file in files() {
            fs::write(file, content).unwrap();
        }
        project.build();
        assert!(project.dist() == good, "{content:?}");
        project.file("note.txt", "other").build();
        assert_eq!(project.text("note.txt"), "other");
        project.file("note.txt", "x").build();
        assert!(project.dist() == good, "{content:?}");
    }
    let other = Project::with_everything();
    other.file("_colors.scss", "$ink: #00f;\n").file("more.css", ".more{top:0}").build();
    fs::remove_dir_all(&state).unwrap();
    fs::rename(other.path("state"), &state).unwrap();
    project.build();
    assert!(project.dist() == good, "another project's");
    fs::remove_dir_all(&state).unwrap();
    project.build();
    assert!(project.dist() == good, "none");
    fs::remove_dir_all(&state).unwrap();
    fs::create_dir_all(state.join("last.json/x")).unwrap();
    fs::create_dir_all(state.join("sheets")).unwrap();
    let answer = project.run(&["build"]);
    assert!(answer.code == 0 || answer.stderr.contains("last.json"), "{}", answer.stderr);
}

#[test]
fn a_new_partial_that_is_found_first_counts() {
    let project = Project::new();
    project
        .library("tone.scss", ".tone{color:red}")
        .file("deep/a.scss", "@use \"../tone2\" as t;\n@use \"tone\";")
        .file("tone2.scss", ".two{top:0}")
        .build();
    assert_eq!(project.text("deep/a.scss"), ".two{top:0}.tone{color:red}");
    project.file("deep/_tone.scss", ".tone{color:#00f}").build();
    assert_eq!(project.text("deep/a.scss"), ".two{top:0}.tone{color:#00f}");
    project.remove("deep/_tone.scss").build();
    assert_eq!(project.text("deep/a.scss"), ".two{top:0}.tone{color:red}");
    project.library("_lib.scss", ".lib{top:0}").file("b.scss", "@use \"lib\";").build();
    project.library("_lib.scss", ".lib{top:1px}").build();
    assert_eq!(project.text("b.scss"), ".lib{top:1px}");
}

#[test]
fn other_targets_are_other_outputs() {
    let project = Project::with_everything();
    project.file("assets.toml", "targets = [\"chrome >= 130\"]").build();
    let before = project.name("other.css");
    project.file("assets.toml", "targets = [\"safari >= 14\"]").build();
    assert_ne!(project.name("other.css"), before);
    project.file("assets.toml", "# The same.\ntargets = [\"safari >= 14\"]").build();
    assert_eq!(project.state(), "fresh   dist");
}

#[test]
fn what_is_kept_lies_beside_what_is_built_until_nobody_keeps_it() {
    let old = Project::with_everything();
    old.build();
    let (before, manifest) = (old.dist(), old.output("manifest.json"));
    let project = Project::with_everything();
    project.file("_colors.scss", "$ink: #fff;\n").build();
    let (plain, kept) = (project.dist(), old.path("dist").display().to_string());
    let keep = |action: &[&str]| project.run(&[action, &["--keep", &kept]].concat()).succeeds();

    let style = old.name("style.scss");
    let stale = keep(&["build", "--dry-run"]).stdout;
    assert!(stale.contains("which is kept, is new"), "{stale}");
    keep(&["build"]);
    let both = project.dist();
    assert_eq!(both[&style], before[&style]);
    assert!(before.keys().chain(plain.keys()).all(|name| both.contains_key(name)));
    assert!(plain.iter().all(|(name, bytes)| both[name] == *bytes), "the manifest among them");
    assert_ne!(both["manifest.json"], manifest);
    let stamps = project.stamps();
    assert_eq!(keep(&["build"]).stdout, "fresh   dist\n");
    assert_eq!(project.stamps(), stamps);

    fs::remove_file(project.path("dist").join(&style)).unwrap();
    keep(&["build"]);
    assert_eq!(project.dist(), both);
    fs::write(old.path("dist").join(&style), "another").unwrap();
    assert!(keep(&["build", "--dry-run"]).stdout.contains("which is kept, changed"));
    project.build();
    assert_eq!(project.dist(), plain);
    let answer = project.run(&["build", "--keep", "dist"]);
    assert!(answer.stderr.contains("dist must not lie in dist"), "{}", answer.stderr);
}
