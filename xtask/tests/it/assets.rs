//! Assets as a part of builds: made before anything is hashed, named as a reason by what only
//! looks, and their packages believed by their content alone. The pipeline has tests of its own.

use crate::dsl::{Project, docker, engine, file_in_image};
use crate::registry::Registry;

/// A small package of the npm registry, and what the registry states for it.
const PACKAGE: &str = "[packages.normalize-scss]\nversion = \"8.0.0\"\nintegrity = \"INTEGRITY\"\n";
const INTEGRITY: &str = "sha512-C6GXIxQ2LOYWrde27xWbONavmybobxp+V6TY8BiBJw5M+yMNEg2R0WjaeDtmP5JsunFYKvFOvgMAIC0/OxZuJQ==";
/// Of version 7.0.1.
const OLDER: &str = "sha512-qj16bWnYs+9/ac29IgGjySg4R5qQTp1lXfm7ApFOZNVBYFY8RZ3f8+XQNDDLHeDtI3Ba7Jj4+LuPgz9v/fne2A==";

/// The package as an `assets.toml` pins it.
pub(crate) fn package() -> String {
    PACKAGE.replace("INTEGRITY", INTEGRITY)
}

/// An app whose image holds what becomes of its assets.
fn project() -> Project {
    let project = Project::with_stack();
    project
        .file("app/assets/app.scss", "$ink: #123456;\na { color: $ink; }\n")
        .file("app/.dockerignore", "assets\n")
        .file("docker/app/Dockerfile", "FROM base\nCOPY dist /srv/static\n");
    project
}

#[test]
fn an_image_build_makes_the_assets_first() {
    engine!();
    let project = project();
    project.xtask(&["image", "build"]).succeeds().says("assets built: never built here");
    let manifest = file_in_image(&project.reference("app"), "/srv/static/manifest.json");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let name = manifest["app.scss"]["file"].as_str().unwrap();
    let css = file_in_image(&project.reference("app"), &format!("/srv/static/{name}"));
    assert!(css.starts_with("a{color:#123456}"), "{css}");
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images, ["base fresh", "app fresh"]);
    project.file("app/assets/app.scss", "a { color: red; }\n");
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images[0], "base fresh");
    assert!(images[1].starts_with("app built: app/dist/"), "{images:?}");
}

/// The same project on a colleague's machine: what git has of it, no image, and no npm.
fn fresh_clone(project: &Project) -> Project {
    let mut clone = Project::for_containers();
    for path in ["docker", "app", "environments"] {
        let copied = std::process::Command::new("cp")
            .args(["--recursive", "--no-target-directory"])
            .args([project.path(path), clone.path(path)])
            .status();
        assert!(copied.unwrap().success());
    }
    std::fs::remove_dir_all(clone.path("app/dist")).unwrap();
    clone.name.clone_from(&project.name);
    project.remove_images();
    clone.fake("npm", "echo nobody asked for npm >&2; exit 1");
    clone
}

#[test]
fn a_fresh_clone_pulls_what_was_published_before_any_asset_is_made() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let project = project();
    let settings = format!("[registry]\nrepository = \"{}/team\"\n", registry.address);
    project.file("environments/dev/environment.toml", settings);
    project.xtask(&["publish", "dev", "--yes"]).succeeds();
    let image = project.reference("app");
    let clone = fresh_clone(&project);
    let pulled = clone.xtask(&["image", "pull", "dev"]).succeeds().prints("pulled  app ");
    pulled.says("whether this checkout builds the same app is known after `cargo xtask assets");
    assert!(!clone.path("app/dist").exists(), "nothing is built");
    let published = format!("{}/app:dev", clone.name);
    let list = ["container", "run", "--rm", "--network", "none", &published, "ls", "/srv/static"];
    assert!(docker(&list).contains("manifest.json"));
    // It has the name that its inputs give it, so a build that comes to the same has nothing to do.
    let copied = std::process::Command::new("cp")
        .args(["--recursive", "--no-target-directory"])
        .args([project.path("app/dist"), clone.path("app/dist")])
        .status();
    assert!(copied.unwrap().success());
    assert_eq!(clone.inputs("app"), image.rsplit("f-").next().unwrap());
    assert_ne!(docker(&["image", "ls", "--quiet", &image]), "");
}

#[test]
fn what_only_looks_says_that_the_assets_come_first_and_changes_nothing() {
    engine!();
    let project = project();
    project.xtask(&["image", "build"]).succeeds();
    project.file("app/assets/app.scss", "a { color: red; }\n");
    let manifest = project.read("app/dist/manifest.json");
    let reason = "app/assets/app.scss changed, so app/dist is made anew";
    let list = project.xtask(&["--json", "image", "list"]).succeeds().images();
    assert_eq!(list, ["base fresh".to_owned(), format!("app dirty: {reason}")]);
    project.xtask(&["plan"]).succeeds().prints(reason);
    project.xtask(&["image", "why", "app"]).succeeds().prints(reason);
    let dry = project.xtask(&["image", "build", "--dry-run"]).succeeds();
    let (assets, bake) = (dry.stdout.find("assets build --source"), dry.stdout.find("buildx bake"));
    assert!(assets.is_some() && assets < bake, "{}", dry.stdout);
    assert_eq!(project.read("app/dist/manifest.json"), manifest);
}

#[test]
fn a_broken_style_sheet_fails_the_build_with_its_place_and_keeps_the_last_good_output() {
    engine!();
    let project = project();
    project.xtask(&["image", "build"]).succeeds();
    let manifest = project.read("app/dist/manifest.json");
    project.file("app/assets/app.scss", "a {\n  color: $nope;\n}\n");
    let answer = project.xtask(&["image", "build"]).exits(1);
    answer.says("Undefined variable").says("app/assets/app.scss:2:10").says("color: $nope;");
    assert_eq!(project.read("app/dist/manifest.json"), manifest);
    project.xtask(&["assets", "check"]).exits(3).says("Undefined variable");
    project.xtask(&["start", "dev"]).succeeds().says("the page looks as it did before");
    project.xtask(&["stop", "dev"]).succeeds();
}

#[test]
fn a_project_without_assets_needs_no_pipeline() {
    let project = Project::new();
    project.xtask(&["assets", "build"]).exits(1).says("this project has no assets");
}

#[test]
fn packages_are_fetched_once_and_believed_by_their_content_only() {
    let mut project = Project::new();
    let toml = |integrity: &str| PACKAGE.replace("INTEGRITY", integrity);
    project
        .file("app/assets/app.scss", "@use \"normalize-scss/sass/normalize\";\n")
        .file("app/assets/assets.toml", toml("sha512-AAAA"));
    let answer = project.xtask(&["assets", "build"]).exits(1);
    answer.says("normalize-scss@8.0.0 is not what app/assets/assets.toml says").says(INTEGRITY);
    assert!(!project.path("app/dist").exists(), "nothing was made of it");
    project.file("app/assets/assets.toml", toml(INTEGRITY));
    project.xtask(&["assets", "build"]).succeeds().says("getting normalize-scss@8.0.0");
    let sheet = ".stevedore/packages/normalize-scss@8.0.0/normalize-scss/sass/_normalize.scss";
    let (good, evil) = (project.read(sheet), "evil { color: red; }\n");
    project.file(sheet, evil).xtask(&["assets", "build"]).succeeds();
    assert_eq!(project.read(sheet), good, "what was edited was fetched again");
    let older = toml(OLDER).replace("8.0.0", "7.0.1");
    let answer = project.file("app/assets/assets.toml", older).xtask(&["assets", "build"]);
    answer.says("getting normalize-scss@7.0.1");
    project.file("app/assets/assets.toml", toml(INTEGRITY));
    let answer = project.xtask(&["assets", "build"]).succeeds();
    assert!(!answer.stderr.contains("getting"), "both are here: {}", answer.stderr);
    project.fake("npm", "echo 'npm error code ECONNREFUSED' >&2; exit 1");
    project.xtask(&["assets", "build"]).succeeds().prints("fresh");
    project.file(sheet, evil);
    let answer = project.xtask(&["assets", "build"]).exits(4);
    answer.says("npm can't get normalize-scss@8.0.0").says("  code ECONNREFUSED");
    assert_eq!(
        project.xtask(&["assets", "build", "--dry-run"]).succeeds().stdout.lines().count(),
        3
    );
}

#[test]
fn a_package_json_with_its_lock_brings_packages_too() {
    let mut project = Project::new();
    let package = r#"{"private": true, "dependencies": {"normalize-scss": "8.0.0"}}"#;
    project
        .file("app/assets/app.scss", "@use \"normalize-scss/sass/normalize\";\n")
        .file("app/assets/package.json", package);
    let answer = project.xtask(&["assets", "build"]).exits(1);
    answer.says("can't read app/assets/package-lock.json").says("npm install --package-lock-only");
    let lock = serde_json::json!({
        "lockfileVersion": 3, "requires": true,
        "packages": {
            "": {"dependencies": {"normalize-scss": "8.0.0"}},
            "node_modules/normalize-scss": {
                "version": "8.0.0", "integrity": INTEGRITY,
            },
        },
    });
    project.file("app/assets/package-lock.json", lock.to_string());
    let answer = project.xtask(&["assets", "build"]).succeeds();
    answer.says("getting the packages of app/assets/package.json");
    project.xtask(&["assets", "build"]).succeeds().prints("fresh");
    let manifest = project.read("app/dist/manifest.json");
    assert!(!manifest.contains("package"), "neither file is an output: {manifest}");
    let other = lock.to_string().replace(INTEGRITY, OLDER);
    project.file("app/assets/package-lock.json", other);
    project.xtask(&["assets", "build"]).exits(4).says("npm can't install the packages");
    project.fake("npm", "exit 1");
    project.file("app/assets/package-lock.json", lock.to_string());
    project.xtask(&["assets", "build"]).succeeds();
}

#[test]
fn a_compiler_that_was_changed_by_one_byte_is_never_run() {
    let mut project = Project::new();
    let cache = project.scratch().join("cache");
    project.variable("XDG_CACHE_HOME", cache.to_str().unwrap());
    project.file("app/assets/app.scss", "a { color: red; }\n");
    let answer = project.xtask(&["assets", "build"]).succeeds();
    answer.says("getting sass-embedded-linux-").says("getting @esbuild/linux-");
    let compilers = cache.join("stevedore/compilers");
    let find = |start: &str, file: &str| {
        let entries = std::fs::read_dir(&compilers).unwrap().map(|it| it.unwrap().path());
        let found = entries.filter(|it| it.is_dir() && it.display().to_string().contains(start));
        let found = found.collect::<Vec<_>>();
        assert_eq!(found.len(), 1, "{found:?}");
        walk(&found[0]).into_iter().find(|path| path.ends_with(file)).unwrap()
    };
    for file in [find("esbuild", "bin/esbuild"), find("sass", "sass.snapshot")] {
        let good = std::fs::read(&file).unwrap();
        let mut evil = good.clone();
        let middle = evil.len() / 2;
        evil[middle] ^= 1;
        std::fs::write(&file, evil).unwrap();
        project.file("app/assets/app.scss", format!("a {{ top: {}px; }}\n", good.len()));
        project.xtask(&["assets", "build"]).succeeds().says("getting ");
        assert!(std::fs::read(&file).unwrap() == good, "it was fetched again");
    }
    let pins = "[sass]\nversion = \"1.105.0\"\n[sass.integrity]\n\
                [esbuild]\nversion = \"0.28.2\"\n[esbuild.integrity]\n";
    project.file("app/assets/assets.lock", pins);
    let answer = project.xtask(&["assets", "build"]).exits(4);
    answer.says("app/assets/assets.lock pins no sass-embedded").says("cargo xtask assets update");
}

/// All files below a directory.
fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().map(|it| it.unwrap().path()) {
        match entry.is_dir() {
            true => files.extend(walk(&entry)),
            false => files.push(entry),
        }
    }
    files
}

#[test]
fn the_newest_compilers_are_pinned_and_the_change_is_shown() {
    let project = Project::new();
    project.file("app/assets/app.scss", "a { color: red; }\n");
    let answer = project.xtask(&["assets", "update", "--dry-run"]).succeeds();
    assert!(answer.stdout.contains("write app/assets/assets.lock"), "{}", answer.stdout);
    assert!(!project.path("app/assets/assets.lock").exists());
    let answer = project.xtask(&["assets", "update"]).succeeds();
    answer.prints("dart-sass: ").prints("esbuild: ");
    assert!(project.read("app/assets/assets.lock").contains("[sass.integrity]"));
    project.xtask(&["assets", "build"]).succeeds();
    let manifest = project.read("app/dist/manifest.json");
    assert!(!manifest.contains("assets.lock"), "no output: {manifest}");
}

#[test]
fn without_npm_dev_goes_on_without_style_and_what_ships_does_not() {
    engine!();
    let mut project = project();
    project
        .file("environments/prod/environment.toml", "")
        .file("docker/app/Dockerfile", "FROM base\nCOPY source.txt /\n")
        .file("app/assets/assets.toml", package());
    project.xtask(&["image", "build", "dev", "base"]).succeeds();
    std::fs::remove_dir_all(project.path(".stevedore/packages")).unwrap();
    project.mkdir("bin");
    for program in ["cargo", "docker", "git"] {
        let real = which::which(program).unwrap();
        std::os::unix::fs::symlink(real, project.path("bin").join(program)).unwrap();
    }
    let only = project.path("bin").display().to_string();
    project.variable("PATH", &only);
    project
        .xtask(&["image", "build", "prod"])
        .exits(4)
        .says("style sheets or scripts load normalize-scss@8.0.0, and npm is not here");
    project.xtask(&["start", "dev"]).succeeds().says("the page looks as it did before");
    assert!(!docker(&["ps", "--quiet", "--filter", &format!("name={}", project.name)]).is_empty());
    project.xtask(&["stop", "dev"]).succeeds();
}
