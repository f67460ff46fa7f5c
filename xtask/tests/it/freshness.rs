//! Laws 1 and 2: a skip is always true, a rebuild has a named reason.

use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use crate::dsl::{Project, docker, engine, file_in_image};

/// Builds, then changes the project, then says what `image build` makes of it.
fn after(change: impl FnOnce(&Project)) -> Vec<String> {
    let project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    change(&project);
    project.xtask(&["--json", "image", "build"]).succeeds().images()
}

#[track_caller]
fn app_is_dirty(change: impl FnOnce(&Project), reason: &str) {
    assert_eq!(after(change), ["base fresh", &format!("app built: {reason}")]);
}

#[track_caller]
fn all_is_fresh(change: impl FnOnce(&Project)) {
    assert_eq!(after(change), ["base fresh", "app fresh"]);
}

fn set_time(project: &Project, path: &str, time: SystemTime) {
    let file = std::fs::File::options().read(true).open(project.path(path)).unwrap();
    file.set_modified(time).unwrap();
}

#[test]
fn the_second_build_calls_no_builder_and_says_each_image_is_fresh() {
    engine!();
    let mut project = Project::with_stack();
    project.log_docker();
    let first = project.xtask(&["--json", "image", "build"]).succeeds();
    assert_eq!(first.images(), ["base built: never built here", "app built: never built here"]);
    assert!(project.calls().iter().any(|call| call.contains("buildx bake")));

    let second = project.xtask(&["--json", "image", "build"]).succeeds();
    assert_eq!(second.images(), ["base fresh", "app fresh"]);
    let calls = project.calls();
    assert!(!calls.iter().any(|call| call.contains("bake") || call.contains(" tag ")), "{calls:?}");
    let questions = calls.iter().filter(|call| call.contains("image inspect")).count();
    assert_eq!(questions, 1, "one question for all images: {calls:?}");
}

#[test]
fn one_edited_file_makes_exactly_its_image_dirty_and_is_named() {
    engine!();
    let edit = |project: &Project| {
        project.file("app/source.txt", "two\n");
    };
    app_is_dirty(edit, "app/source.txt changed");
}

#[test]
fn a_new_and_a_removed_file_are_named() {
    engine!();
    app_is_dirty(
        |project| {
            project.file("app/new.txt", "");
            std::fs::remove_file(project.path("app/lib/other.txt")).unwrap();
        },
        "app/new.txt is new, app/lib/other.txt is gone",
    );
}

#[test]
fn a_changed_time_alone_is_fresh() {
    engine!();
    all_is_fresh(|project| {
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        set_time(project, "app/source.txt", long_ago);
        set_time(project, "app/lib", long_ago);
        set_time(project, "docker/app/Dockerfile", long_ago);
    });
}

#[test]
fn an_edit_of_the_same_size_and_time_is_dirty_and_the_image_holds_the_new_bytes() {
    engine!();
    let project = Project::with_stack();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (round, text) in ["1.2.3", "1.2.4", "1.2.5", "1.2.3"].into_iter().enumerate() {
        project.file("app/VERSION", text);
        set_time(&project, "app/VERSION", time);
        let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
        assert_eq!(file_in_image(&project.reference("app"), "/app/VERSION"), text);
        // The fourth state is the first again, whose image still exists.
        let dirty = images.last().unwrap().starts_with("app built");
        assert_eq!(dirty, round < 3, "round {round}: {images:?}");
    }
}

#[test]
fn a_same_size_same_time_edit_of_the_dockerfile_builds_the_new_one() {
    engine!();
    let project = Project::with_stack();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for text in ["aaa", "bbb"] {
        project.file("docker/app/Dockerfile", format!("FROM base\nRUN echo {text} > /text\n"));
        set_time(&project, "docker/app/Dockerfile", time);
        project.xtask(&["image", "build"]).succeeds();
        assert_eq!(file_in_image(&project.reference("app"), "/text"), format!("{text}\n"));
    }
}

#[test]
fn modes_links_and_directories_count() {
    engine!();
    let executable = |project: &Project| {
        project.mode("app/source.txt", 0o755);
    };
    app_is_dirty(executable, "app/source.txt has mode 0755 instead of 0644");
    let directory = |project: &Project| {
        project.mode("app/lib", 0o555);
    };
    app_is_dirty(directory, "app/lib has mode 0555 instead of 0755");
    app_is_dirty(
        |project| {
            project.mkdir("app/empty");
        },
        "app/empty is new",
    );
}

#[test]
fn a_link_that_points_elsewhere_and_a_file_that_becomes_one_are_dirty() {
    engine!();
    let project = Project::with_stack();
    symlink("source.txt", project.path("app/link")).unwrap();
    project.xtask(&["image", "build"]).succeeds();
    std::fs::remove_file(project.path("app/link")).unwrap();
    symlink("lib/other.txt", project.path("app/link")).unwrap();
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images[1], "app built: app/link points to lib/other.txt now");
    std::fs::remove_file(project.path("app/source.txt")).unwrap();
    symlink("link", project.path("app/source.txt")).unwrap();
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images[1], "app built: app/source.txt is a symlink now");
}

#[test]
fn swapped_contents_and_a_renamed_directory_are_dirty() {
    engine!();
    app_is_dirty(
        |project| {
            project.file("app/source.txt", "other\n").file("app/lib/other.txt", "one\n");
        },
        "app/lib/other.txt changed, app/source.txt changed",
    );
    app_is_dirty(
        |project| std::fs::rename(project.path("app/lib"), project.path("app/lob")).unwrap(),
        "app/lob is new, app/lob/other.txt is new, app/lib is gone, and 1 more",
    );
}

#[test]
fn dirtiness_travels_up_from() {
    engine!();
    let images = after(|project| {
        project.file("docker/base/Dockerfile", "FROM debian:trixie-slim\nRUN echo 2 > /base\n");
    });
    assert_eq!(
        images,
        ["base built: docker/base/Dockerfile changed", "app built: base image base changed"]
    );
}

#[test]
fn arguments_and_targets_are_named() {
    engine!();
    let build = |more: &str| {
        format!("{{build: {{context: app, dockerfile: ../docker/app/Dockerfile, {more}}}}}")
    };
    let argument = build("args: {GREETING: hello}");
    app_is_dirty(
        |project| {
            project.compose(&[("app", &argument)]);
        },
        "build argument GREETING is new",
    );
    let project = Project::with_stack();
    let dockerfile = "FROM base AS one\nCOPY . /app\nFROM one AS two\n";
    project.file("docker/app/Dockerfile", dockerfile).compose(&[("app", &build("target: one"))]);
    project.xtask(&["image", "build"]).succeeds();
    project.compose(&[("app", &build("target: two"))]);
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images[1], "app built: target: two instead of one");
}

#[test]
fn the_lock_is_an_input_of_every_image() {
    engine!();
    let project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    let lock = project.read("docker/stack.lock");
    let epoch = lock.lines().find(|line| line.starts_with("epoch")).unwrap().to_owned();
    let moved = lock.replace(&epoch, "epoch = \"2026-01-01T00:00:00Z\"");
    project.file("docker/stack.lock", moved);
    let plan = project.xtask(&["--json", "image", "list"]).succeeds().images();
    for line in plan {
        assert!(line.contains("dirty: docker/stack.lock: epoch moved from "), "{line}");
    }
}

#[test]
fn ignored_files_do_not_count_and_the_ignore_file_decides() {
    engine!();
    let project = Project::with_stack();
    project.file("app/.dockerignore", "*.log\n.dockerignore\n").file("app/a.log", "1");
    project.xtask(&["image", "build"]).succeeds();
    project.file("app/a.log", "2").file("app/b.log", "");
    project.file("app/.dockerignore", "# a comment\n*.log\n.dockerignore\n");
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images, ["base fresh", "app fresh"]);
    project.file("app/.dockerignore", "*.log\n!a.log\n.dockerignore\n");
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images[1], "app built: app/a.log is new (`!a.log` in app/.dockerignore:2 keeps it)");
    assert_eq!(file_in_image(&project.reference("app"), "/app/a.log"), "2");
}

#[test]
fn an_ignore_file_beside_the_dockerfile_wins() {
    engine!();
    let project = Project::with_stack();
    project.file("app/.dockerignore", "source.txt\n");
    project.file("docker/app/Dockerfile.dockerignore", "lib\n");
    project.xtask(&["image", "build"]).succeeds();
    project.file("app/lib/other.txt", "changed\n");
    assert_eq!(
        project.xtask(&["--json", "image", "build"]).succeeds().images(),
        ["base fresh", "app fresh"]
    );
    project.file("app/source.txt", "changed\n");
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images[1], "app built: app/source.txt changed");
    assert_eq!(file_in_image(&project.reference("app"), "/app/source.txt"), "changed\n");
}

#[test]
fn an_image_that_is_gone_is_built_again() {
    engine!();
    let project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    docker(&["image", "rm", "--force", &project.reference("app")]);
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images, ["base fresh", "app built: the image is gone"]);
}

#[test]
fn a_tag_on_another_image_is_not_believed() {
    engine!();
    let project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    let (app, base) = (project.reference("app"), project.reference("base"));
    docker(&["image", "tag", &base, &app]);
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    let reason = "its tag holds an image that was not built from these inputs";
    assert_eq!(images, ["base fresh", &format!("app built: {reason}")]);
    assert_eq!(file_in_image(&app, "/app/source.txt"), "one\n");
}

#[test]
fn another_checkout_elsewhere_finds_the_same_images() {
    engine!();
    let project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    let other = Project::new();
    for path in ["docker", "app"] {
        let copied = std::process::Command::new("cp")
            .args(["--recursive", "--no-target-directory"])
            .args([project.path(path), other.path(path)])
            .status();
        assert!(copied.unwrap().success());
    }
    let images = other.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images, ["base fresh", "app fresh"]);
}

#[test]
fn an_edit_during_the_build_is_built_as_well() {
    engine!();
    let mut project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    let victim = project.path("app/source.txt").display().to_string();
    project.fake(
        "docker",
        &format!(
            "\"$real\" \"$@\"\ncode=$?\n\
             case \"$*\" in *bake.json*) echo later > '{victim}';; esac\nexit $code"
        ),
    );
    project.file("app/source.txt", "before\n");
    let before = project.fingerprint("app");
    project
        .xtask(&["image", "build"])
        .succeeds()
        .says("app is built again (app/source.txt changed)");
    let image = format!("{}/app:f-{before}", project.name);
    assert_eq!(file_in_image(&image, "/app/source.txt"), "before\n", "as it was when it was read");
    project.fake("docker", "exec \"$real\" \"$@\"");
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images, ["base fresh", "app fresh"]);
    assert_eq!(file_in_image(&project.reference("app"), "/app/source.txt"), "later\n");
}

#[test]
fn a_damaged_record_costs_the_reason_only() {
    engine!();
    let project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    project.file(".stevedore/dev/inputs/app", "{\"image\": 1");
    project.file("app/source.txt", "two\n");
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images[1], "app built: never built here");
    project.file(".stevedore/dev/inputs/app", "{\"image\": 1");
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images, ["base fresh", "app fresh"]);
}

#[test]
fn a_removed_empty_directory_is_named() {
    engine!();
    let project = Project::with_stack();
    project.mkdir("app/empty");
    project.xtask(&["image", "build"]).succeeds();
    std::fs::remove_dir(project.path("app/empty")).unwrap();
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images, ["base fresh", "app built: app/empty is gone"]);
}

#[test]
fn a_directorys_mode_alone_reaches_the_image() {
    engine!();
    let project = Project::with_stack();
    for mode in [0o755, 0o555, 0o755] {
        project.mode("app/lib", mode);
        project.xtask(&["image", "build"]).succeeds();
        let reference = project.reference("app");
        let stat = ["container", "run", "--rm", "--network", "none", &reference];
        let stat = [&stat[..], &["stat", "--format", "%a", "/app/lib"]].concat();
        assert_eq!(docker(&stat), format!("{mode:o}\n"));
    }
}

#[test]
fn two_images_with_alike_directories_and_files_are_not_confused() {
    engine!();
    let project = Project::with_stack();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for service in ["one", "two"] {
        let file = format!("{service}/context/name");
        project.file(&file, service);
        set_time(&project, &file, time);
        project.file(&format!("docker/{service}/Dockerfile"), "FROM base\nCOPY . /context\n");
    }
    let build = |name: &str| {
        format!(
            "{{build: {{context: {name}/context, dockerfile: ../../docker/{name}/Dockerfile}}}}"
        )
    };
    project.compose(&[("one", &build("one")), ("two", &build("two"))]);
    project.xtask(&["image", "build"]).succeeds();
    for service in ["one", "two"] {
        assert_eq!(file_in_image(&project.reference(service), "/context/name"), service);
    }
    project.file("two/context/name", "owt");
    set_time(&project, "two/context/name", time);
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images, ["base fresh", "one fresh", "two built: two/context/name changed"]);
    assert_eq!(file_in_image(&project.reference("two"), "/context/name"), "owt");
    assert_eq!(file_in_image(&project.reference("one"), "/context/name"), "one");
}

#[test]
fn a_dockerfile_outside_the_context_counts() {
    engine!();
    let edit = |project: &Project| {
        project.file("docker/app/Dockerfile", "FROM base\nCOPY . /app\nRUN true\n");
    };
    app_is_dirty(edit, "docker/app/Dockerfile changed");
}

#[test]
fn an_external_base_that_moved_under_its_name_is_a_reason() {
    engine!();
    let project = Project::with_own_base();
    project.xtask(&["image", "build"]).succeeds();
    let moved = format!("{}/moved:1", project.name);
    let made = std::process::Command::new("docker")
        .args(["build", "--quiet", "--tag", &moved, "-"])
        .stdin(docker_input(
            &project,
            &format!("FROM {}\nRUN echo 2 > /moved\n", project.own_base()),
        ))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    docker(&["image", "tag", &moved, &project.own_base()]);
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(
        images,
        [
            "base built: external base debian:trixie-slim changed",
            "app built: base image base changed"
        ]
    );
    assert_eq!(file_in_image(&project.reference("app"), "/moved"), "2\n");
}

fn docker_input(project: &Project, text: &str) -> std::fs::File {
    project.file("input", text);
    std::fs::File::open(project.path("input")).unwrap()
}

/// What an image got as its build argument.
fn argument(project: &Project) -> String {
    file_in_image(&project.reference("app"), "/argument")
}

#[test]
fn a_build_argument_reaches_the_build_as_it_was_hashed() {
    engine!();
    let project = Project::with_stack();
    project.file(
        "docker/app/Dockerfile",
        "FROM base\nARG GREETING\nRUN printf %s \"$GREETING\" > /argument\n",
    );
    for text in ["x%{http_code}", "100%%{x", "%%{ if true }", "x${upper(\"abc\")}", "$${y}"] {
        let toml = text.replace('"', "\\\"");
        let settings = format!("[variables]\nTEXT = \"{toml}\"\n");
        project.file("environments/dev/environment.toml", settings).compose(&[(
            "app",
            "{build: {context: app, dockerfile: ../docker/app/Dockerfile, \
             args: {GREETING: \"${TEXT}\"}}, x-stevedore: {main: true}}",
        )]);
        project.xtask(&["image", "build"]).succeeds();
        assert_eq!(argument(&project), text);
    }
}

#[test]
fn what_is_set_in_the_shell_never_reaches_a_build() {
    engine!();
    let mut project = Project::with_stack();
    project.file(
        "docker/app/Dockerfile",
        "FROM base\nARG SOURCE_DATE_EPOCH=none\nARG GREETING=none\n\
         RUN echo $SOURCE_DATE_EPOCH $GREETING > /argument\n",
    );
    project.variable("SOURCE_DATE_EPOCH", "12345").variable("GREETING", "shell");
    project.xtask(&["image", "build"]).succeeds();
    assert_eq!(argument(&project), "none none\n");
}

#[test]
fn after_going_back_the_reasons_are_against_what_is_there_now() {
    engine!();
    let project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    project.file("app/source.txt", "two\n").xtask(&["image", "build"]).succeeds();
    project.file("app/source.txt", "one\n").xtask(&["image", "build"]).succeeds();
    project.file("app/other.txt", "new\n");
    let images = project.xtask(&["--json", "image", "list"]).succeeds().images();
    assert_eq!(images, ["base fresh", "app dirty: app/other.txt is new"]);
}

#[test]
fn another_platform_is_a_reason() {
    engine!();
    let project = Project::with_stack();
    project.file("docker/base/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    project.xtask(&["image", "build"]).succeeds();
    project.file("environments/dev/environment.toml", "[images]\nplatform = \"linux/s390x\"\n");
    let images = project.xtask(&["--json", "image", "list"]).succeeds().images();
    assert_eq!(images[0], "base dirty: platform: linux/s390x instead of linux/amd64");
    project.file("docker/base/Dockerfile", "FROM debian:trixie-slim\n");
    let answer = project.xtask(&["image", "build"]).exits(4);
    assert!(!answer.stderr.contains("building"), "{}", answer.stderr);
    answer.says("[images] platform of environment.toml is linux/s390x, and this engine builds for");
}

#[test]
fn paranoia_finds_what_a_forged_cache_hides_and_forgets_the_cache() {
    engine!();
    let project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    project.xtask(&["plan"]).succeeds();
    let before = project.inputs("app");
    let directory = project.path(".stevedore/stats");
    let cache = std::fs::read_dir(&directory).unwrap().flatten();
    let cache =
        cache.map(|entry| entry.path()).find(|path| path.to_str().unwrap().contains("source-app"));
    let cache = cache.unwrap();
    // Another content for the first record, under a checksum that fits.
    let mut bytes = std::fs::read(&cache).unwrap();
    let end = bytes.len() - 32;
    bytes[24 + 32 + 44] ^= 1;
    let forged = fingerprint::sha256(&bytes[..end]);
    let checksum = (0..32).map(|at| u8::from_str_radix(&forged[2 * at..2 * at + 2], 16).unwrap());
    bytes.splice(end.., checksum);
    std::fs::write(&cache, &bytes).unwrap();
    assert_ne!(project.inputs("app"), before, "the forgery is believed");
    let answer =
        project.xtask(&["image", "inputs", "app", "--fingerprint", "--paranoid"]).succeeds();
    assert_eq!(answer.stdout.trim(), before);
    answer.says("what was remembered of app was wrong and is forgotten");
    assert_eq!(project.inputs("app"), before);
}
