//! `release verify` against everything that somebody can change of a release afterwards: in the
//! registry, and with the right to move the tag here and in the remote repository.
//!
//! Whoever has that right makes record, list of parts, changelog and all sums agree with an edit.
//! The commit, the images and the fingerprints in them still say what is so. What nobody can find
//! out again, and what therefore verifies, is only this:
//!
//! - `tools`: what the programs of another machine said of themselves; and with the name of another
//!   cargo xtask in it, after a warning, also gates, assets, list of parts and changelog;
//! - `created` and `by`, where the commit and the tag are of that time and person too;
//! - `previous` of an X.Y.0, as far as it is an earlier release that it can follow, or none, with
//!   the changelog that belongs to that;
//! - `commit`, as far as the other commit holds the same files in everything that a release is
//!   made of or checked by;
//! - the content of a base that no image of the release is built from;
//! - the words of the commit, and in the tag's message those besides the sums.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::dsl::{Answer, Project, campaign, docker, engine};
use crate::registry::Registry;
use crate::shop::{Shop, configuration, git};

/// A shop with two releases that everybody has.
struct Case {
    shop: Shop,
    registry: Registry,
    /// A clone in which releases are forged.
    forge: PathBuf,
    /// The tag of 1.0.0 as it was made.
    tag: String,
}

fn released() -> Case {
    let registry = Registry::start(&Project::with_stack());
    let shop = Shop::new(&registry.address);
    let package = |name: &str| {
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"1.2.3\"\nsource = \"registry+x\"\n\
             checksum = \"{}\"\n\n",
            "5".repeat(64)
        )
    };
    let name = &shop.project.name;
    shop.project
        // Nobody else's images have its ID, so nobody else's are forgotten with it.
        .file(
            "docker/base/Dockerfile",
            format!("FROM debian:trixie-slim\nRUN echo {name} > /base\n"),
        )
        .file("app/Cargo.lock", format!("version = 4\n\n{}{}", package("one"), package("two")))
        .file("app/migrations/0001_begin.sql", "create table a (b int);\n")
        .file("app/migrations/0002_more.sql", "-- stevedore: compatible: adds only\nselect 1;\n")
        .file("app/assets/app.scss", "a { color: #123456; }\n")
        .file("environments/dev/.env.example", "MODE=fast\nTOKEN=generate:hex32\n")
        .file("environments/prod/.env.example", "MODE=fast\nTOKEN=generate:hex32\n")
        .compose(&[(
            "app",
            "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, \
             command: [sleep, infinity], init: true, stop_grace_period: 1s, \
             environment: {MODE: '${MODE:-}', TOKEN: '${TOKEN:-}'}, \
             x-stevedore: {main: true, migrations: app/migrations}}",
        )]);
    shop.commit("everything that a record holds");
    for version in ["1.0.0", "1.1.0"] {
        shop.release(version).succeeds();
        shop.publish(version).succeeds();
        shop.project.file("app/source.txt", "two\n");
        shop.commit("two");
    }
    let forge = shop.project.scratch().join("forge");
    let remote = shop.remote().display().to_string();
    git(shop.project.scratch(), &["clone", "--quiet", &remote, "forge"]);
    let tag = shop.git(&["rev-parse", "v1.0.0"]);
    Case { shop, registry, forge, tag }
}

impl Case {
    /// A file of 1.0.0 as it was released.
    fn file(&self, end: &str) -> String {
        git(self.shop.project.root(), &["show", &format!("{}:releases/1.0.0.{end}", self.tag)])
            + "\n"
    }

    fn record(&self) -> Value {
        serde_json::from_str(&self.file("json")).unwrap()
    }

    fn forgery(&self) -> Forgery {
        let record = self.record();
        Forgery {
            parents: vec![record["commit"].as_str().unwrap().to_owned()],
            files: ["json", "cdx.json", "md"].map(|end| (path(end), self.file(end))).into(),
            name: record["by"]["name"].as_str().unwrap().to_owned(),
            created: record["created"].as_str().unwrap().to_owned(),
        }
    }

    /// Makes it the release 1.0.0, here and in the remote repository, its tag with the right sums.
    fn make(&self, forgery: &Forgery) {
        let Forgery { parents, files, name, created } = forgery;
        let run = |arguments: &[&str]| {
            let who = ["AUTHOR", "COMMITTER"].iter().flat_map(|who| {
                [
                    (format!("GIT_{who}_NAME"), name.clone()),
                    (format!("GIT_{who}_EMAIL"), "ada@example.org".into()),
                    (format!("GIT_{who}_DATE"), created.clone()),
                ]
            });
            let mut git = Command::new("git");
            git.arg("-C").arg(&self.forge).args(arguments).envs(who);
            let output = git.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        run(&["checkout", "--quiet", "--force", "--detach", &parents[0]]);
        run(&["clean", "--quiet", "--force", "-d"]);
        for (path, text) in files {
            let path = self.forge.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        run(&["add", "--all", "--force"]);
        let tree = run(&["write-tree"]);
        let parents = parents.iter().flat_map(|parent| ["-p", parent]);
        let commit = ["commit-tree", "-m", "Release 1.0.0", &tree];
        let commit = run(&commit.into_iter().chain(parents).collect::<Vec<_>>());
        let sums = ["json", "cdx.json", "md"].map(|end| {
            let path = path(end);
            let text = files.get(&path).map(String::as_str).unwrap_or_default();
            format!("{}  {path}\n", sha256(text))
        });
        let message = format!("Release 1.0.0\n\n{}", sums.concat());
        run(&["tag", "--force", "--annotate", "--message", &message, "v1.0.0", &commit]);
        run(&["push", "--quiet", "--force", "origin", "refs/tags/v1.0.0"]);
        self.shop.git(&["fetch", "--quiet", "--force", "origin", "tag", "v1.0.0"]);
    }

    /// Sets the tag, here and there.
    fn set(&self, here: &str, there: &str) {
        self.shop.git(&[
            "push",
            "--quiet",
            "--force",
            "origin",
            &format!("{there}:refs/tags/v1.0.0"),
        ]);
        self.shop.git(&["update-ref", "refs/tags/v1.0.0", here]);
    }

    /// Verifying finds it and says so; then everything is as it was.
    #[track_caller]
    fn finds(&self, texts: &[&str]) {
        let answer = self.shop.verify("1.0.0");
        assert!(answer.code != 0, "nobody sees it: {texts:?}");
        assert!(!answer.stdout.contains("verified"), "{}", answer.stdout);
        self.set(&self.tag, &self.tag);
        texts.iter().fold(answer, |answer, text| answer.says(text));
    }
}

/// A release that somebody else makes under the name of 1.0.0.
struct Forgery {
    parents: Vec<String>,
    files: BTreeMap<String, String>,
    name: String,
    created: String,
}

fn path(end: &str) -> String {
    format!("releases/1.0.0.{end}")
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

#[test]
fn an_untouched_release_verifies_everywhere_and_what_is_changed_in_the_registry_is_found() {
    engine!();
    let case = released();
    change_registry(&case);
    verify_elsewhere(&case);
}

/// On this machine, and in a fresh clone on another one.
fn verify_elsewhere(case: &Case) {
    for version in ["1.0.0", "1.1.0"] {
        case.shop.verify(version).succeeds().prints(&format!("verified {version}"));
    }
    // What lies under a name in the engine is neither believed nor a part of a release.
    let name = format!("{}/app:1.0.0", case.shop.project.name);
    docker(&["image", "tag", &case.shop.name("1.1.0", "app"), &name]);
    case.shop.verify("1.0.0").succeeds();
    case.shop.forget_images();
    let clone = case.shop.project.scratch().join("clone");
    let remote = case.shop.remote().display().to_string();
    git(
        case.shop.project.scratch(),
        &["clone", "--quiet", "--no-tags", "--branch", "main", &remote, "clone"],
    );
    git(&clone, &["fetch", "--quiet", "--tags"]);
    for version in ["1.0.0", "1.1.0"] {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .arg("-C")
            .arg(&clone)
            .args(["release", "verify", version])
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}");
    }
}

/// An edit of a record, and what is said of it.
type Edit = (fn(&mut Value), &'static str);

/// Which do not hide one another.
const EDITS: &[Edit] = &[
    (|it| it["images"]["app"]["fingerprint"] = json!("5".repeat(64)), "app › fingerprint: rec"),
    (|it| it["images"]["app"]["layers"][0]["size"] = json!(7), "layers › 1 › size: recorded 7"),
    (|it| it["images"]["app"]["distribution"] = json!("x"), "app › distribution: recorded x"),
    (|it| it["images"]["app"]["from"] = json!([]), "app › from: recorded []"),
    (|it| drop(installed(it).insert("tar".into(), json!("7"))), "installed › tar: recorded 7"),
    (
        |it| drop(installed(it).insert("x".into(), json!("1"))),
        "installed › x: recorded 1, found no",
    ),
    (|it| drop(installed(it).remove("bash")), "installed › bash: recorded nothing"),
    (|it| locked(it, 0)["version"] = json!("7.0.0"), "1 › version: recorded 7.0.0, found 1.2.3"),
    (|it| locked(it, 1)["checksum"] = json!("6".repeat(64)), "app/Cargo.lock › 2 › checksum"),
    (|it| it["assets"]["app.scss"]["integrity"] = json!("x"), "app.scss › integrity: recorded x"),
    (|it| it["migrations"]["app"][0]["sha256"] = json!("7"), "app › 1 › sha256: recorded 7"),
    (|it| it["migrations"]["app"][0]["compatible"] = json!("so"), "1 › compatible: recorded so"),
    (|it| it["gates"][6]["fingerprint"] = json!("7"), "gates › 7 › fingerprint: recorded 7"),
    (|it| key(it, "TOKEN")["secret"] = json!(false), "TOKEN › secret: recorded false, found true"),
    (|it| key(it, "TOKEN")["attached"] = json!(true), "TOKEN › attached: recorded true"),
    (|it| it["configuration"]["prod"]["EVIL"] = key(it, "MODE").clone(), "prod › EVIL"),
    (|it| base(it)["digest"] = json!("sha256:7"), "trixie-slim › digest: recorded sha256:7"),
    (|it| it["epoch"] = json!("2020-01-01T00:00:00Z"), "epoch: recorded 2020"),
    (|it| it["services"]["app"]["attached"] = json!(true), "app › attached: recorded true"),
    (|it| it["branch"] = json!("release-v7.0"), "branch: recorded release-v7.0"),
    (|it| it["environment"] = json!("qa"), "environment: recorded qa"),
    (|it| it["previous"] = json!("1.1.0"), "1.0.0 does not follow 1.1.0"),
    (|it| it["created"] = json!("2020-01-01T00:00:00Z"), "the committer of"),
    (|it| it["by"]["name"] = json!("Eve"), "the tagger of v1.0.0 is not who the record says"),
    (|it| it["tools"]["git"] = json!("7"), "1.0.0.cdx.json in v1.0.0 is not what the record"),
];

/// After which little else can be said.
const GRAVE_EDITS: &[Edit] = &[
    (|it| it["images"]["app"]["config"] = json!(CONFIG), "app:1.0.0 has the configuration"),
    (|it| layers(it).swap(1, 2), "names other layers than the record"),
    (|it| drop(it["migrations"]["app"].as_array_mut().unwrap().pop()), "migrations › app"),
    (|it| drop(it["gates"].as_array_mut().unwrap().remove(0)), "gates: recorded"),
    (|it| base(it)["content"] = json!("sha256:7"), "images › base › fingerprint"),
    (|it| it["platform"] = json!("linux/arm64"), "images › base › fingerprint"),
    (|it| it["previous"] = json!("0.7.0"), "0.7.0, which the record follows, is not here"),
    (|it| it["commit"] = json!("7".repeat(40)), "7777777777777777777777777777777777777777"),
    (|it| it["version"] = json!("1.0.1"), "the record is of release 1.0.1"),
    (|it| it["evil"] = json!(1), "unknown field `evil`"),
    (|it| it["images"]["app"]["packages"]["evil"] = json!(1), "unknown field `evil`"),
];

const CONFIG: &str = "sha256:7777777777777777777777777777777777777777777777777777777777777777";

fn installed(record: &mut Value) -> &mut serde_json::Map<String, Value> {
    record["images"]["app"]["packages"]["installed"].as_object_mut().unwrap()
}

fn layers(record: &mut Value) -> &mut Vec<Value> {
    record["images"]["app"]["layers"].as_array_mut().unwrap()
}

fn locked(record: &mut Value, number: usize) -> &mut Value {
    &mut record["dependencies"]["app/Cargo.lock"][number]
}

fn key<'r>(record: &'r mut Value, name: &str) -> &'r mut Value {
    &mut record["configuration"]["prod"][name]
}

fn base(record: &mut Value) -> &mut Value {
    &mut record["bases"]["debian:trixie-slim"]
}

#[test]
fn a_release_that_somebody_made_again_is_found_though_tag_and_remote_agree() {
    campaign!();
    let case = released();
    case.shop.verify("1.0.0").succeeds();
    edit_the_record(&case);
    forge_tag_and_commit(&case);
    edit_all_that_follows(&case);
}

fn edit_the_record(case: &Case) {
    // With STEVEDORE_FULL=1 each edit is made alone.
    let together = if std::env::var_os("STEVEDORE_FULL").is_some() { 1 } else { EDITS.len() };
    for edits in EDITS.chunks(together).chain(GRAVE_EDITS.chunks(1)) {
        let (mut record, mut forgery) = (case.record(), case.forgery());
        edits.iter().for_each(|(edit, _)| edit(&mut record));
        forgery.files.insert(path("json"), format!("{record:#}\n"));
        case.make(&forgery);
        case.finds(&edits.iter().map(|(_, text)| *text).collect::<Vec<_>>());
    }
    case.shop.verify("1.0.0").succeeds();
}

fn forge_tag_and_commit(case: &Case) {
    let shop = &case.shop;
    let commit = case.record()["commit"].as_str().unwrap().to_owned();
    let other = shop.git(&["rev-parse", "v1.1.0"]);
    let annotated = |name: &str, target: &str| {
        shop.git(&["tag", "--force", "--annotate", "--message", "x", name, target]);
        shop.git(&["rev-parse", name])
    };
    let released = annotated("on-released", &commit);
    let record = annotated("on-record", &format!("{}^{{}}", case.tag));
    for (here, there, text) in [
        (&released, &released, "holds no releases/1.0.0.json"),
        (&other, &other, "holds no releases/1.0.0.json"),
        (&commit, &commit, "is lightweight, so it is not a release"),
        (&record, &record, "was made under another name"),
        (&case.tag, &other, "in origin"),
        (&case.tag, &released, "in origin"),
    ] {
        case.set(here, there);
        case.finds(&[text]);
    }
    shop.git_there(&["update-ref", "-d", "refs/tags/v1.0.0"]);
    case.finds(&["origin has no tag v1.0.0"]);
    let sbom = case.file("cdx.json");
    let main = shop.git(&["rev-parse", "main"]);
    for (edit, text) in [
        (
            Box::new(|it: &mut Forgery| {
                drop(it.files.insert(path("cdx.json"), sbom.replace("bash", "fish")))
            }) as Box<dyn Fn(&mut Forgery)>,
            "releases/1.0.0.cdx.json in v1.0.0 is not what the record makes of it",
        ),
        (
            Box::new(|it| drop(it.files.insert(path("md"), "# 1.0.0\n\nNothing bad.\n".into()))),
            "releases/1.0.0.md in v1.0.0 is not what the record makes of it",
        ),
        (Box::new(|it| drop(it.files.remove(&path("md")))), "releases/1.0.0.md is missing"),
        (
            Box::new(|it| drop(it.files.insert("app/evil".into(), "x".into()))),
            "changes app/evil too",
        ),
        (
            Box::new(|it| drop(it.files.insert("app/releases/1.0.0.md".into(), "x".into()))),
            "changes app/releases/1.0.0.md too",
        ),
        (Box::new(|it| it.parents.push(main.clone())), "the parent of"),
        (Box::new(|it| it.parents = vec![main.clone()]), "the parent of"),
        (Box::new(|it| it.name = "Eve".into()), "is not who the record says"),
        (
            Box::new(|it| {
                // The same facts in other words: another reader may take another of the two.
                let text = it.files.get_mut(&path("json")).unwrap();
                *text = text.replacen("\"assets\": {", "\"assets\": {\n    \"app.scss\": {\"file\": \"x\", \"integrity\": \"x\", \"size\": 7},", 1);
            }),
            "releases/1.0.0.json in v1.0.0 is not what the record makes of it",
        ),
    ] {
        let mut forgery = case.forgery();
        edit(&mut forgery);
        case.make(&forgery);
        case.finds(&[text]);
    }
    // Here alone the true objects are shown in the place of the forged ones.
    let mut forgery = case.forgery();
    forgery.files.insert(path("md"), "# 1.0.0\n\nNothing bad.\n".into());
    case.make(&forgery);
    let forged = shop.git(&["rev-parse", "v1.0.0"]);
    shop.git(&["replace", &forged, &case.tag]);
    case.finds(&["releases/1.0.0.md in v1.0.0 is not what the record makes of it"]);
    shop.git(&["replace", "--delete", &forged]);
    shop.verify("1.0.0").succeeds();
}

/// Where the registry keeps its files.
const STORE: &str = "/var/lib/docker-registry/docker/registry/v2";

fn change_registry(case: &Case) {
    let (shop, registry) = (&case.shop, &case.registry);
    let name = format!("{}/team/{}/app:1.0.0", registry.address, shop.project.name);
    let put = |image: &str| {
        docker(&["image", "tag", image, &name]);
        docker(&["image", "push", "--quiet", &name]);
        docker(&["image", "rm", &name]);
    };
    let app = shop.config("1.0.0", "app");
    let local = shop.name("1.0.0", "app");
    let manifest = || registry.manifest(&format!("team/{}/app", shop.project.name), "1.0.0");
    let layers = manifest()["layers"].as_array().unwrap().clone();
    let layer = layers.last().unwrap()["digest"].as_str().unwrap().to_owned();
    let recipe = shop.project.scratch().join("evil");
    std::fs::create_dir(&recipe).unwrap();
    std::fs::write(recipe.join("Dockerfile"), format!("FROM {local}\nENV EVIL=1\n")).unwrap();
    let evil = format!("{}/evil:1", shop.project.name);
    docker(&["build", "--quiet", "--tag", &evil, recipe.to_str().unwrap()]);
    for other in [&*shop.name("1.1.0", "app"), &shop.name("1.0.0", "base"), &evil] {
        put(other);
        let other = configuration(other);
        case.finds(&[&format!("app:1.0.0 has the configuration {other}")]);
        put(&local);
    }
    docker(&["image", "rm", &evil]);
    let tag = format!("{STORE}/repositories/team/{}/app/_manifests/tags/1.0.0", shop.project.name);
    let manifest =
        docker(&["container", "exec", &registry.container, "cat", &format!("{tag}/current/link")]);
    let blob = |digest: &str| {
        let hash = digest.trim().trim_start_matches("sha256:");
        format!("{STORE}/blobs/sha256/{}/{hash}/data", &hash[..2])
    };
    let damage = "printf XX | dd of=$FILE bs=1 seek=20 conv=notrunc 2>/dev/null";
    let cut = "truncate --size 21 $FILE";
    for (file, damage, text) in [
        (blob(&layer), damage, "are damaged, twice"),
        (blob(&layer), cut, "are damaged, twice"),
        (blob(&layer), "rm $FILE", "which a manifest of its names"),
        (blob(&app), damage, "are damaged, twice"),
        (blob(&app), "rm $FILE", "which a manifest of its names"),
        (blob(&manifest), damage, "app:1.0.0"),
        (blob(&manifest), "rm $FILE", "app:1.0.0"),
        (format!("{tag}/current/link"), "rm $FILE", "app:1.0.0 is not there"),
    ] {
        registry.inside(&format!("FILE={file}; cp $FILE /tmp/kept; {damage}"));
        case.finds(&[text]);
        registry.inside(&format!("cp /tmp/kept {file}"));
    }
    shop.verify("1.0.0").succeeds();
}

/// How a hash stands in a record: nobody has another one by chance.
fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit())
}

impl Case {
    /// Forges 1.0.0 with these replacements in all its files, then with whatever verifying says
    /// that it would have found instead: what a patient attacker ends with.
    fn verify_forgery(&self, edits: &[(&str, &str)]) -> Answer {
        let mut edits: Vec<(String, String)> =
            edits.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect();
        let serial = |record: &str| {
            let hash = sha256(record);
            let (a, b, c) = (&hash[..8], &hash[8..12], &hash[13..16]);
            format!("urn:uuid:{a}-{b}-8{c}-8{}-{}", &hash[17..20], &hash[20..32])
        };
        loop {
            let edited = |text: &str| {
                edits.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
            };
            let record = edited(&self.file("json"));
            let sbom = edited(&self.file("cdx.json"));
            let sbom = sbom.replace(&serial(&self.file("json")), &serial(&record));
            let parsed: Value = serde_json::from_str(&record).unwrap();
            let mut forgery = self.forgery();
            forgery.name = parsed["by"]["name"].as_str().unwrap().to_owned();
            forgery.created = parsed["created"].as_str().unwrap().to_owned();
            forgery.files.extend([(path("json"), record), (path("cdx.json"), sbom)]);
            self.make(&forgery);
            let answer = self.shop.verify("1.0.0");
            self.set(&self.tag, &self.tag);
            let known = edits.len();
            for line in answer.stderr.lines() {
                let said = line
                    .split_once(": recorded ")
                    .and_then(|(_, rest)| rest.split_once(", found "));
                let Some((from, to)) = said.filter(|(from, to)| is_hash(from) && is_hash(to))
                else {
                    continue;
                };
                edits.push((from.to_owned(), to.to_owned()));
            }
            if edits.len() == known || edits.len() > 20 {
                return answer;
            }
        }
    }
}

fn edit_all_that_follows(case: &Case) {
    let record = case.record();
    let content = record["bases"]["debian:trixie-slim"]["content"].as_str().unwrap();
    let created = record["created"].as_str().unwrap();
    for edit in [(content, CONFIG), ("linux/amd64", "linux/arm64")] {
        case.verify_forgery(&[edit]).exits(1).says("the image says that it was built from");
    }
    for edit in [
        ("git version", "fig version"),
        ("\"name\": \"Ada\"", "\"name\": \"Eve\""),
        (created, "2020-01-01T00:00:00Z"),
    ] {
        case.verify_forgery(&[edit]).succeeds().prints("verified 1.0.0");
    }
    let tool = format!("\"stevedore\": {}", record["tools"]["stevedore"]);
    let answer = case.verify_forgery(&[(&tool, "\"stevedore\": \"another\"")]).succeeds();
    answer.says(
        "another cargo xtask made this release, so fingerprints, gates, assets and the texts",
    );
}
