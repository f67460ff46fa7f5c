//! Releases where registry, git or somebody else is in the way: the right verdict for each, and
//! never "published" while a tag exists whose images cannot be pulled.
//!
//! Registry and git are the real ones. A proxy breaks the registry's answers; hooks and settings of
//! the remote repository break pushes; a program named git or docker, first on the PATH, does what
//! somebody else does at just the wrong moment. Faults of one kind share a release, which must
//! stay unpublished through all of them and be published when the last one is over.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::dsl::{Answer, Project, docker, engine, file_in_image, wait_until};
use crate::faulty::{Fault, Faulty};
use crate::registry::Registry;
use crate::shop::Shop;

/// A shop with a release that nobody else has, and a registry behind a proxy.
struct Market {
    shop: Shop,
    registry: Registry,
    faulty: Faulty,
}

fn market() -> Market {
    let registry = Registry::start(&Project::with_stack());
    let faulty = Faulty::in_front_of(&registry.address);
    let shop = Shop::new(&faulty.address);
    // Of its own, so that no other test's layers are in the registry's way.
    shop.project.file("app/source.txt", shop.project.name.repeat(1000));
    shop.commit("something of our own");
    shop.release("1.0.0").succeeds();
    Market { shop, registry, faulty }
}

impl Market {
    fn path(&self, image: &str) -> String {
        format!("team/{}/{image}", self.shop.project.name)
    }

    /// Publishing fails with these words, and nobody can take the release for published.
    #[track_caller]
    fn fails(&self, code: i32, text: &str) {
        refused(&self.shop, self.shop.publish("1.0.0"), code, text);
    }

    /// Publishing succeeds, and everything is there.
    #[track_caller]
    fn succeeds(&self) {
        self.shop.publish("1.0.0").succeeds().prints("1.0.0 is published");
        let tag = self.shop.git(&["rev-parse", "v1.0.0"]);
        assert_eq!(self.shop.git_there(&["rev-parse", "v1.0.0"]), tag);
        let branches = self.shop.git_there(&["branch", "--format=%(refname:short)"]);
        assert_eq!(branches, "main\nrelease-v1.0", "no claim is left");
        for image in ["app", "base"] {
            let manifest = self.registry.manifest(&self.path(image), "1.0.0");
            let config = self.shop.config("1.0.0", image);
            assert_eq!(manifest["config"]["digest"], config.as_str(), "{image}");
        }
        let left = format!("{}/team/{}/*", self.faulty.address, self.shop.project.name);
        assert_eq!(docker(&["image", "ls", "--quiet", &left]), "", "names for pushing only");
    }

    /// Gives docker and us a login of our own.
    fn log_in(&mut self, login: &str) {
        use base64::Engine;
        let pair = base64::engine::general_purpose::STANDARD.encode(login);
        let auths = serde_json::json!({"auths": {&self.faulty.address: {"auth": pair}}});
        let project = &mut self.shop.project;
        let directory = project.scratch().join("login");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("config.json"), auths.to_string()).unwrap();
        project.variable("DOCKER_CONFIG", directory.to_str().unwrap());
    }

    /// As before the first push; only the layers stay in the registry.
    fn forget(&self) {
        self.registry.inside("find /var/lib/docker-registry -name _manifests | xargs rm -r");
        for reference in ["refs/tags/v1.0.0", "refs/heads/release-v1.0"] {
            self.shop.git_there(&["update-ref", "-d", reference]);
        }
    }
}

/// It failed with these words, and nobody can take 1.0.0 for published.
#[track_caller]
fn refused(shop: &Shop, answer: Answer, code: i32, text: &str) {
    let answer = answer.exits(code).says(text);
    assert!(!answer.stdout.contains("published"), "{}", answer.stdout);
    let there = shop.git_there(&["for-each-ref", "refs/tags", "refs/heads/release-v1.0"]);
    assert_eq!(there, "", "{}", answer.stderr);
}

#[test]
fn a_registry_that_fails_leaves_a_release_unpublished_and_says_what_to_do() {
    engine!();
    let mut market = market();
    market.faulty.refuse();
    market.fails(4, "does not answer: Failed to connect");
    market.faulty.accept();
    for (requests, fault, text) in [
        ("GET /v2/", Fault::Status(500, ""), "answered 500, three times"),
        ("GET /v2/", Fault::Status(429, "Retry-After: 0"), "answered 429, three times"),
        ("* /v2/", Fault::Status(401, "WWW-Authenticate: Basic realm=\"x\""), "`docker login"),
        ("* /v2/", Fault::Basic("me", "secret"), "`docker login"),
        ("POST /uploads/", Fault::Status(403, ""), "denied"),
        ("POST /uploads/", Fault::Bearer("me", "secret"), "unauthorized"),
        ("PUT /uploads/", Fault::Forget, "`docker image push"),
        ("PUT /manifests/", Fault::Status(500, ""), "`docker image push"),
        ("PUT /manifests/", Fault::Status(429, ""), "`docker image push"),
        ("PUT /manifests/", Fault::Reset, "`docker image push"),
        ("PUT /manifests/", Fault::Forget, "`cargo xtask publish 1.0.0` brings it"),
        ("GET /manifests/", Fault::OtherBytes, "are damaged, twice"),
        ("GET /manifests/", Fault::Truncated, "are damaged, twice"),
        ("GET /blobs/", Fault::OtherBytes, "are damaged, twice"),
        ("GET /blobs/", Fault::Status(404, ""), "the registry lacks"),
        ("HEAD /blobs/", Fault::Status(404, ""), "`docker image push"),
    ] {
        market.faulty.heal().always(requests, fault);
        market.fails(1, text);
    }
    market.faulty.heal();
    market.succeeds();
}

#[test]
fn a_registry_that_fails_once_or_wants_a_login_gets_a_release_and_what_it_has_is_not_sent_again() {
    engine!();
    let mut market = market();
    // docker tries each layer again, and we each question.
    for requests in ["GET /v2/", "POST /uploads/", "GET /blobs/"] {
        market.faulty.first(1, requests, Fault::Status(500, ""));
    }
    market.faulty.first(1, "PATCH /uploads/", Fault::Reset);
    market.succeeds();
    for demand in [Fault::Basic("me", "5ecre7"), Fault::Bearer("me", "5ecre7")] {
        market.forget();
        market.faulty.heal().always("* /v2/", demand);
        market.log_in("me:wrong");
        market.fails(1, "log in with `docker login");
        market.log_in("me:5ecre7");
        market.succeeds();
    }
    market.faulty.heal().uploaded();
    market.shop.publish("1.0.0").succeeds().prints("1.0.0 is published already");
    // As if the last push had failed.
    market.shop.git_there(&["update-ref", "-d", "refs/tags/v1.0.0"]);
    let answer = market.shop.publish("1.0.0").succeeds().prints("1.0.0 is published\n");
    assert_eq!(answer.stdout.matches("there   ").count(), 2, "{}", answer.stdout);
    assert_eq!(market.faulty.uploaded(), 0);
}

#[test]
fn a_version_that_names_another_image_in_the_registry_is_never_published() {
    engine!();
    let mut market = market();
    let app = format!("{}/{}:1.0.0", market.faulty.address, market.path("app"));
    let other = market.shop.config("1.0.0", "base");
    docker(&["image", "tag", &other, &app]);
    docker(&["image", "push", "--quiet", &app]);
    docker(&["image", "rm", &app]);
    market.fails(1, &format!("/app:1.0.0, whose configuration is {other}; a published name"));
    market.forget();
    // Somebody moves the name when it has just been pushed.
    market.shop.project.fake(
        "docker",
        &format!(
            "\"$real\" \"$@\" || exit\ncase \"$*\" in 'image push --quiet {app}')\n\
             \"$real\" image tag {other} {app} && exec \"$real\" image push --quiet {app}\nesac"
        ),
    );
    market.fails(1, "somebody moved it; release the next version");
}

#[test]
fn a_registry_that_never_answers_is_given_up_and_a_push_that_was_killed_is_finished_by_the_next() {
    engine!();
    let market = market();
    market.faulty.always("PUT /manifests/", Fault::BlackHole);
    for (signal, code) in [("-INT", 130), ("-KILL", 137)] {
        market.faulty.requests();
        let mut publish = market.shop.project.spawn(&["publish", "1.0.0", "--yes"]);
        wait_until("a manifest", || {
            market.faulty.requests().iter().any(|request| request.starts_with("PUT /v2/"))
        });
        publish.signal(signal);
        assert_eq!(publish.ends(), code);
        let there = market.shop.git_there(&["for-each-ref", "--format=%(refname)"]);
        assert_eq!(there, "refs/heads/main\nrefs/heads/stevedore/publish/v1.0.0");
    }
    market.faulty.heal().always("GET /v2/", Fault::BlackHole);
    market.fails(4, "does not answer: Operation timed out");
    market.faulty.heal();
    market.succeeds();
}

/// A program.
fn script(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_remote_repository_that_does_not_take_both_branch_and_tag_gets_neither() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let shop = Shop::new(&registry.address);
    shop.release("1.0.0").succeeds();
    let hooks = shop.remote().join("hooks");
    let fails = |text: &str| refused(&shop, shop.publish("1.0.0"), 1, text);

    shop.git(&["remote", "remove", "origin"]);
    fails("no git remote is configured; add one with `git remote add origin URL`");
    shop.git(&["remote", "add", "origin", "/nowhere"]);
    fails("cannot list the branches and tags of origin; `git ls-remote origin` must work");
    shop.git(&["remote", "set-url", "origin", shop.remote().to_str().unwrap()]);
    shop.git_there(&["config", "receive.advertiseAtomic", "false"]);
    fails("origin can't take branch and tag in one step, so neither was pushed");
    shop.git_there(&["config", "--unset", "receive.advertiseAtomic"]);

    for (name, text) in [
        ("update", "case $1 in refs/heads/release-*) echo protected; exit 1;; esac"),
        ("update", "case $1 in refs/tags/*) echo protected; exit 1;; esac"),
        ("pre-receive", "grep --quiet refs/tags/ && echo protected && exit 1; exit 0"),
    ] {
        script(&hooks.join(name), text);
        fails("origin took neither branch nor tag; the images are there");
        std::fs::remove_file(hooks.join(name)).unwrap();
    }
    // The user's own.
    script(&shop.project.path(".git/hooks/pre-push"), "echo not on a Friday >&2; exit 1");
    fails("not on a Friday");
    std::fs::remove_file(shop.project.path(".git/hooks/pre-push")).unwrap();

    // The claim stays where no branch may be removed, and is in nobody's way.
    let words = "case $3 in 0000*) echo branches are for ever; exit 1;; esac";
    for words in ["", words] {
        match words {
            "" => drop(shop.git_there(&["config", "receive.denyDeletes", "true"])),
            words => {
                shop.git_there(&["config", "--unset", "receive.denyDeletes"]);
                script(&hooks.join("update"), words);
            }
        }
        shop.publish("1.0.0").succeeds().prints("1.0.0 is published\n");
        assert_eq!(shop.git_there(&["rev-parse", "v1.0.0"]), shop.git(&["rev-parse", "v1.0.0"]));
        shop.git_there(&["rev-parse", "--verify", "stevedore/publish/v1.0.0"]);
        shop.publish("1.0.0").succeeds().prints("1.0.0 is published already");
        shop.git_there(&["update-ref", "-d", "refs/tags/v1.0.0"]);
    }
}

#[test]
fn a_colleague_who_pushes_between_plan_and_push_is_never_overwritten() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let mut shop = Shop::new(&registry.address);
    shop.release("1.0.0").succeeds();
    // What can be in the middle of work: nothing of it matters.
    shop.git(&["checkout", "--quiet", "--detach"]);
    shop.project.file("app/source.txt", "dirty\n").file(".git/index.lock", "");
    let other = shop.git(&["commit-tree", "-m", "theirs", "HEAD^{tree}"]);
    let theirs = shop.project.scratch().join("theirs").display().to_string();
    shop.git(&["tag", "--annotate", "--message", "Theirs", "theirs", &other]);
    let remote = shop.remote().display().to_string();
    let claim = "refs/heads/stevedore/publish/v1.0.0";
    for (ours, pushed, reference, first, second) in [
        (claim, &*other, claim, "published by somebody else", "published by somebody else"),
        ("refs/tags/v1", &other, "refs/heads/release-v1.0", "took neither", "does not belong"),
        ("refs/tags/v1", "theirs", "refs/tags/v1.0.0", "took neither", "has another v1.0.0"),
        ("refs/tags/v1", "v1.0.0^{}", "refs/tags/v1.0.0", "took neither", "has another v1.0.0"),
    ] {
        let push = format!("\"$real\" push --quiet '{remote}' '{pushed}:{reference}'");
        let once = format!("mkdir '{theirs}' 2>/dev/null && {push}");
        shop.project.fake(
            "git",
            &format!("case \"$*\" in push*{ours}*) {once};; esac\nexec \"$real\" \"$@\""),
        );
        let before = shop.references();
        for text in [first, second] {
            let answer = shop.publish("1.0.0").exits(1).says(text);
            assert!(!answer.stdout.contains("published"), "{}", answer.stdout);
            let pushed = shop.git(&["rev-parse", pushed]);
            assert_eq!(shop.git_there(&["rev-parse", reference]), pushed, "{text}");
            let there = shop.references();
            let new = there.lines().filter(|line| !before.contains(line));
            assert!(
                new.clone().all(|line| line.contains(reference) || line.contains(claim)),
                "{there}"
            );
        }
        match reference == claim {
            true => drop(shop.project.xtask(&["publish", "--unlock", "1.0.0", "--yes"]).succeeds()),
            false => drop(shop.git_there(&["update-ref", "-d", reference])),
        }
        std::fs::remove_dir(&theirs).unwrap();
    }
    // What is no part of the release may move.
    shop.project.fake("git", &format!(
        "case \"$*\" in push*refs/tags/v1*) \"$real\" push --quiet --force '{remote}' {other}:refs/heads/main;; esac\nexec \"$real\" \"$@\""));
    shop.publish("1.0.0").succeeds().prints("1.0.0 is published\n");
    shop.publish("1.0.0").succeeds().prints("1.0.0 is published already");
}

#[test]
fn neither_settings_nor_variables_nor_the_language_of_the_user_are_in_a_release() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let mut shop = Shop::new(&registry.address);
    let home = shop.project.scratch().join("home");
    let written = home.join("written").display().to_string();
    let hook = format!("echo \"$0 $*\" >> '{written}'; exit 1");
    for name in ["post-checkout", "post-index-change", "pre-commit", "commit-msg", "fsmonitor"] {
        script(&home.join("hooks").join(name), &hook);
    }
    script(&home.join("template/hooks/post-checkout"), &hook);
    std::fs::write(home.join("attributes"), "* text eol=crlf ident\n").unwrap();
    let at = home.display();
    let real = shop.remote().display().to_string();
    let config = format!(
        "[core]\nhooksPath = {at}/hooks\nautocrlf = true\nfsmonitor = {at}/hooks/fsmonitor\n\
         attributesFile = {at}/attributes\npager = false\nsymlinks = false\n\
         [commit]\ngpgSign = true\n[user]\nsigningKey = nobody\n[color]\nui = always\n\
         [alias]\npush = !false\ntag = !false\nls-remote = !false\n[push]\ndefault = nothing\n\
         followTags = true\n[init]\ntemplateDir = {at}/template\n[clone]\nrejectShallow = true\n\
         [log]\nshowSignature = true\n[i18n]\nlogOutputEncoding = UTF-16\n\
         [protocol \"file\"]\nallow = user\n[transfer]\nfsckObjects = true\n[gc]\nauto = 1\n\
         [url \"{real}\"]\ninsteadOf = shop:everybody\n"
    );
    std::fs::write(home.join("gitconfig"), config).unwrap();
    shop.git(&["remote", "set-url", "origin", "shop:everybody"]);
    let english = "[ \"$LC_ALL\" = C ] || { echo 'Schwerwiegend: Sprache' >&2; exit 128; }";
    shop.project.fake("git", &format!("{english}\nexec \"$real\" \"$@\""));
    for (name, value) in [
        ("GIT_CONFIG_GLOBAL", home.join("gitconfig").to_str().unwrap()),
        ("GIT_DIR", "/nowhere"),
        ("GIT_WORK_TREE", "/nowhere"),
        ("GIT_INDEX_FILE", "/nowhere"),
        ("GIT_OBJECT_DIRECTORY", "/nowhere"),
        ("GIT_TEMPLATE_DIR", home.join("template").to_str().unwrap()),
        ("LANG", "de_DE.UTF-8"),
        ("LC_ALL", "de_DE.UTF-8"),
        ("LANGUAGE", "de"),
    ] {
        shop.project.variable(name, value);
    }
    shop.release("1.0.0").succeeds();
    shop.publish("1.0.0").succeeds();
    shop.verify("1.0.0").succeeds();
    shop.project.xtask(&["releases"]).succeeds().prints("1.0.0");
    let name = format!("{}/app:1.0.0", shop.project.name);
    assert_eq!(file_in_image(&name, "/app/source.txt"), "one\n", "as it was committed");
    assert_eq!(std::fs::read_to_string(written).unwrap_or_default(), "");
    // Whoever has no such settings finds the same.
    shop.project.variable("GIT_CONFIG_GLOBAL", "/dev/null").variable("GIT_TEMPLATE_DIR", "");
    shop.git(&["remote", "set-url", "origin", &real]);
    shop.verify("1.0.0").succeeds();
}

#[test]
fn a_project_below_the_top_of_its_repository_is_released_like_any_other() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let shop = Shop::below("web/shop", &registry.address);
    std::fs::write(shop.project.top().join("README"), "two products\n").unwrap();
    for (version, text) in [("1.0.0", "one\n"), ("1.1.0", "two\n")] {
        shop.project.file("app/source.txt", text);
        shop.commit(text.trim());
        shop.release(version).succeeds();
        let files = shop.git(&["diff", "--name-only", "main", &format!("v{version}")]);
        let expected = ["cdx.json", "json", "md"];
        let expected = expected.map(|end| format!("web/shop/releases/{version}.{end}"));
        assert_eq!(files.lines().collect::<Vec<_>>(), expected);
        shop.publish(version).succeeds();
        shop.verify(version).succeeds().prints(&format!("verified {version}"));
    }
    shop.project.xtask(&["releases"]).succeeds().prints("1.1.0").prints("1.0.0");
    shop.project.xtask(&["diff", "1.0.0", "1.1.0"]).succeeds().prints("two");
    shop.project.xtask(&["image", "pull", "1.0.0"]).succeeds();
}

#[test]
fn a_tag_that_is_no_release_is_never_published_nor_released_over() {
    let shop = Shop::new("127.0.0.1:1");
    let lightweight = "tag v1.0.0 is lightweight; releases need an annotated tag";
    let foreign = "the tag v1.0.0 exists already, and is not a release";
    let annotated = vec!["tag", "-a", "-m", "x"];
    let published = "published already by somebody else";
    for (tag, text, exists, only_there) in [
        (vec!["tag"], "is lightweight, so it is not a release", lightweight, lightweight),
        (annotated, "holds no releases/1.0.0.json", foreign, published),
    ] {
        shop.git(&[tag, vec!["v1.0.0"]].concat());
        shop.release("1.0.0").exits(1).says(exists);
        refused(&shop, shop.publish("1.0.0"), 2, text);
        shop.verify("1.0.0").exits(2).says(text);
        shop.git(&["push", "--quiet", "origin", "v1.0.0"]);
        shop.release("1.0.0").exits(1).says(exists);
        shop.publish("1.0.0").exits(2).says(text);
        shop.git(&["tag", "--delete", "v1.0.0"]);
        shop.release("1.0.0").exits(1).says(only_there);
        shop.publish("1.0.0").exits(2).says("get it with `git fetch origin tag v1.0.0`");
        shop.git_there(&["update-ref", "-d", "refs/tags/v1.0.0"]);
    }
}
