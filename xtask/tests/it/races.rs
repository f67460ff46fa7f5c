//! Eight at once for one release: one wins, and the others find it done or say who was first.
//!
//! Everything is built and has passed its gates before, so a round is quick: a new version of the
//! same images. Four rounds run with all the other tests, `STEVEDORE_FULL=1` runs all of them.

// A campaign says what it did; its figures are in RELIABILITY.md.
#![allow(clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::campaign::chance::{Chance, size};
use crate::dsl::{Project, campaign, engine};
use crate::killer::{Call, Killer, When};
use crate::registry::Registry;
use crate::shop::{Shop, git};
use crate::whole::assert_promise;

/// How many run at once.
const MANY: usize = 8;

fn xtask(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("-C").arg(root).args(arguments).env_remove("CI").env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the same command in each place at the same moment; `kill` ends one of them after a while.
fn at_once(places: &[&Path], arguments: &[&str], kill: Option<(usize, Duration)>) -> Vec<Output> {
    let barrier = Barrier::new(places.len());
    std::thread::scope(|scope| {
        let start = |(number, root): (usize, &&Path)| {
            let (root, barrier) = (root.to_path_buf(), &barrier);
            scope.spawn(move || {
                barrier.wait();
                let mut child = xtask(&root, arguments).spawn().unwrap();
                if let Some((_, after)) = kill.filter(|(victim, _)| *victim == number) {
                    std::thread::sleep(after);
                    child.kill().unwrap();
                }
                child.wait_with_output().unwrap()
            })
        };
        let running: Vec<_> = places.iter().enumerate().map(start).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a release writes down while it is made.
fn journals(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join(".git/stevedore")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".journal") || name.ends_with(".names")).collect()
}

#[test]
fn of_eight_releases_in_one_clone_one_is_made_and_all_find_it_done() {
    campaign!();
    let shop = Shop::new("127.0.0.1:1");
    shop.release("1.0.0").succeeds();
    let mut chance = Chance::new("races in one clone");
    let started = Instant::now();
    let (rounds, mut killed) = (size(4, 200), 0);
    for round in 1..=rounds {
        shop.commit(&format!("round {round}"));
        // In every other round one of them dies, whether it makes the release or waits.
        let after = Duration::from_millis(chance.below(4000) as u64);
        let kill = (round % 2 == 0).then(|| (chance.below(MANY), after));
        let ended = at_once(&[shop.project.root(); MANY], &["release", "minor"], kill);
        let version = format!("1.{round}.0");
        for (number, output) in ended.iter().enumerate() {
            let was_killed = output.status.code().is_none();
            assert!(!was_killed || kill.is_some_and(|(victim, _)| victim == number));
            killed += usize::from(was_killed);
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &words(output);
            assert!(was_killed || output.status.success(), "round {round}: {said}");
            assert!(was_killed || said.contains(&format!("{version} is released")), "{said}");
        }
        assert_eq!(shop.git(&["tag"]).lines().count(), round + 1, "one tag more");
        let head = shop.git(&["rev-parse", "main"]);
        assert_eq!(shop.git(&["rev-parse", &format!("v{version}^@")]), head);
        assert_eq!(shop.git(&["rev-parse", &format!("release-v1.{round}")]), head);
        assert_eq!(journals(shop.project.root()), Vec::<String>::new());
        assert!(!shop.project.path(".stevedore/release/tree").exists());
    }
    eprintln!("{rounds} rounds of {MANY}, {killed} killed, {:?}", started.elapsed());
}

/// Clones of one remote repository, each of another person, with two states of the sources that
/// have both been released before.
struct Team {
    shop: Shop,
    clones: Vec<PathBuf>,
    _directory: tempfile::TempDir,
}

impl Team {
    fn of(many: usize, registry: &Registry) -> Team {
        let shop = Shop::new(&registry.address);
        shop.release("1.0.0").succeeds();
        shop.git(&["checkout", "--quiet", "-b", "other"]);
        shop.project.file("app/source.txt", "other\n");
        shop.git(&["commit", "--quiet", "--all", "--message", "other"]);
        shop.git(&["branch", "--force", "main", "other"]);
        shop.release("1.1.0").succeeds();
        shop.git(&["checkout", "--quiet", "main"]);
        shop.git(&["reset", "--quiet", "--hard", "main^"]);
        // Known and built is both now; released is nothing that anybody has.
        for version in ["1.0.0", "1.1.0"] {
            shop.project.xtask(&["release", "--abort", version, "--yes"]).succeeds();
        }
        let directory = tempfile::tempdir().unwrap();
        let clone = |number: usize| {
            let root = directory.path().join(format!("clone-{number}"));
            let copied = Command::new("cp")
                .arg("--archive")
                .args([shop.project.root(), &root])
                .status()
                .unwrap();
            assert!(copied.success());
            git(&root, &["config", "user.name", &format!("Person {number}")]);
            git(&root, &["config", "user.email", &format!("{number}@example.org")]);
            root
        };
        let clones = (0..many).map(clone).collect();
        Team { shop, clones, _directory: directory }
    }

    fn roots(&self) -> Vec<&Path> {
        self.clones.iter().map(PathBuf::as_path).collect()
    }

    /// Everybody has a release of this version, the second half of other sources.
    fn release(&self, version: &str, different: bool) {
        for (number, root) in self.clones.iter().enumerate() {
            let other = different && number >= self.clones.len() / 2;
            let state = if other { "other" } else { "origin/main" };
            git(root, &["reset", "--quiet", "--hard", state]);
        }
        for output in at_once(&self.roots(), &["release", version], None) {
            assert!(output.status.success(), "{}", words(&output));
        }
    }

    /// Nobody has published anything: neither images nor tags are there.
    fn forget(&self, registry: &Registry) {
        let repositories = "/var/lib/docker-registry/docker/registry/v2/repositories/team";
        registry.inside(&format!("rm -rf {repositories}/{}", self.shop.project.name));
        for kind in ["refs/tags", "refs/heads/release-*"] {
            let listed = self.shop.git_there(&["for-each-ref", "--format=%(refname)", kind]);
            for name in listed.lines() {
                self.shop.git_there(&["update-ref", "-d", name]);
            }
        }
    }

    fn there(&self, name: &str) -> String {
        self.shop.git_there(&["rev-parse", name])
    }

    fn claims(&self) -> String {
        self.shop.git_there(&["for-each-ref", "--format=%(refname)", "refs/heads/stevedore"])
    }
}

/// What a publication says that was not the first.
fn names_the_winner(said: &str, version: &str) -> bool {
    [
        format!("{version} is being published by somebody else (their release is "),
        format!("origin has another v{version}, of "),
    ]
    .iter()
    .any(|text| said.contains(text))
}

#[test]
fn of_eight_people_who_publish_one_version_one_does_and_the_others_are_told() {
    campaign!();
    let registry = Registry::start(&Project::with_stack());
    let team = Team::of(MANY, &registry);
    let rounds = size(4, 200);
    // Releases of the same sources are the same images, and different commits.
    let versions: &[&str] = if rounds > 4 { &["2.0.0", "2.1.0"] } else { &["2.0.0"] };
    for version in versions {
        team.release(version, *version == "2.0.0");
    }
    let started = Instant::now();
    for round in 0..rounds {
        team.forget(&registry);
        one_wins(&team, &registry, versions[round % versions.len()], round);
    }
    eprintln!("{rounds} rounds of {MANY} people, {:?}", started.elapsed());
}

fn one_wins(team: &Team, registry: &Registry, version: &str, round: usize) {
    let tag = format!("v{version}");
    let ended = at_once(&team.roots(), &["publish", version, "--yes"], None);
    let all: Vec<String> = ended.iter().map(words).collect();
    let all = all.join("\n--\n");
    let winners: Vec<usize> = (0..MANY).filter(|it| ended[*it].status.success()).collect();
    let [winner] = winners[..] else { panic!("round {round}: {winners:?} won:\n{all}") };
    for (number, output) in ended.iter().enumerate().filter(|(number, _)| *number != winner) {
        let said = words(output);
        let told = names_the_winner(&said, version);
        assert!(output.status.code() == Some(1) && told, "round {round}, {number}: {said}");
    }
    let root = &team.clones[winner];
    assert_eq!(team.there(&tag), git(root, &["rev-parse", &tag]), "the winner's");
    let branch = format!("release-v{}", version.rsplit_once('.').unwrap().0);
    assert_eq!(team.there(&branch), git(root, &["rev-parse", &format!("{tag}^@")]));
    assert_eq!(team.claims(), "", "round {round}");
    assert!(assert_promise(&team.shop, registry, version));
    let left: Vec<String> = team.clones.iter().flat_map(|root| journals(root)).collect();
    assert_eq!(left, Vec::<String>::new());
    let again = xtask(root, &["publish", version]).output().unwrap();
    assert!(again.status.success(), "{}", words(&again));
}

#[test]
fn a_claim_that_comes_after_somebody_has_published_moves_no_image() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let mut team = Team::of(1, &registry);
    let (quick, program) = (team.clones[0].display().to_string(), env!("CARGO_BIN_EXE_xtask"));
    // Between the look and the claim of the slow one, the quick one does it all.
    let script = format!(
        "case \"$*\" in push*publish/v3.0.0) if mkdir '{quick}/done' 2>/dev/null; then\n\
         PATH=${{PATH#*:}} '{program}' -C '{quick}' publish 3.0.0 --yes || exit 9; fi ;; esac\n\
         exec \"$real\" \"$@\""
    );
    team.shop.project.fake("git", &script);
    let shop = &team.shop;
    git(shop.project.root(), &["reset", "--quiet", "--hard", "other"]);
    shop.release("3.0.0").succeeds();
    team.release("3.0.0", false);
    let said = shop.publish("3.0.0").exits(1).stderr;
    assert!(Path::new(&quick).join("done").exists());
    assert!(said.contains("origin has another v3.0.0, of "), "{said}");
    assert!(assert_promise(shop, &registry, "3.0.0"), "the images are those of the quick one");
    assert_eq!(team.claims(), "");
}

#[test]
fn the_claim_of_one_who_died_is_named_and_can_be_removed_and_the_dead_one_is_told_then() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let mut team = Team::of(2, &registry);
    let killer = Killer::beside(&mut team.shop.project);
    let shop = &team.shop;
    shop.release("3.0.0").succeeds();
    team.release("3.0.0", true);
    let claim = Call::of_kind("git push");
    killer.aim(0, &claim, When::After);
    assert_eq!(shop.publish("3.0.0").code, -1);
    killer.rest();
    assert_eq!(team.claims(), "refs/heads/stevedore/publish/v3.0.0");
    let root = &team.clones[1];
    let run = |arguments: &[&str]| {
        let output = xtask(root, arguments).output().unwrap();
        (output.status.code().unwrap(), words(&output))
    };
    let (code, said) = run(&["publish", "3.0.0", "--yes"]);
    assert!(code == 1 && names_the_winner(&said, "3.0.0"), "{said}");
    assert!(said.contains("cargo xtask publish --unlock 3.0.0"), "{said}");
    let (code, said) = run(&["publish", "--unlock", "3.0.0"]);
    assert!(code == 2 && said.contains("remove the claim on 3.0.0 of Ada <ada@example.org>"));
    assert_eq!(run(&["publish", "--unlock", "3.0.0", "--yes"]).0, 0);
    assert_eq!(team.claims(), "");
    let (code, said) = run(&["publish", "3.0.0", "--yes"]);
    assert_eq!(code, 0, "{said}");
    assert!(assert_promise(shop, &registry, "3.0.0"));
    // The dead one comes back, and finds that the registry has the images of another.
    let said = shop.publish("3.0.0").exits(1).stderr;
    assert!(names_the_winner(&said, "3.0.0"), "{said}");
    assert_eq!(team.claims(), "");
}
