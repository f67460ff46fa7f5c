//! A rehearsal: a whole release on this machine with one command, and nothing of it left.

use crate::dsl::{Project, docker, engine, repository};
use crate::ward;

#[test]
fn a_rehearsal_lives_through_everything_and_leaves_nothing_behind() {
    engine!();
    let shop = ward::shop("registry.example.org:5000", "region = \"eu-central-1\"");
    let project = &shop.project;
    for file in ["docker/registry/Dockerfile", "docker/registry/config.yml"] {
        project.file(file, std::fs::read(repository().join(file)).unwrap());
    }
    // A default branch with a name of its own, and a different one that is checked out.
    shop.git(&["branch", "--move", "main", "trunk"]);
    shop.commit("with a registry");
    shop.git_there(&["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    shop.git(&["checkout", "--quiet", "-b", "idea"]);
    let references = shop.references();
    let answer = project.xtask(&["rehearse", "1.0.0", "--yes"]).succeeds();
    for line in ["release 0.0.0", "deploy 1.0.0", "roll back to 0.0.0", "compare", "all green"] {
        assert!(answer.stdout.contains(line), "{line}: {}", answer.stdout);
    }
    assert!(answer.stdout.contains(" 0 without an answer, 0 refused"), "{}", answer.stdout);
    assert_eq!(shop.references(), references);
    let left = docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
    let of_release = |it: &&str| it.starts_with(&project.name) && it.ends_with(".0.0");
    assert_eq!(left.lines().find(of_release), None, "names of images are given back");
    assert_eq!(containers_of(project), [""; 0]);

    // One that is killed leaves what it needs to be found, and the next one finds it.
    let mut killed = project.spawn(&["rehearse", "1.0.0", "--yes"]);
    killed.until("deploy 1.0.0");
    killed.signal("-KILL");
    killed.ends();
    let left = containers_of(project);
    assert!(left.len() > 1, "{left:?}");

    // What would not do there does not do here.
    shop.git(&["checkout", "--quiet", "trunk"]);
    project.file("app/source.txt", "broken\n");
    shop.commit("an app that is ill");
    shop.release("1.0.0").succeeds();
    let failed = project.xtask(&["rehearse", "1.1.0", "--yes", "--json"]).exits(1);
    failed.says("the rehearsal failed; all of it is in <root>/.stevedore/rehearsal/log");
    let now = docker(&["container", "ls", "--all", "--format", "{{.Names}}"]);
    let name = |line: &String| line.split(' ').next().unwrap().to_owned();
    assert_eq!(left.iter().map(name).find(|it| now.contains(it)), None);
    assert_eq!(containers_of(project), [""; 0]);
}

/// Containers of a rehearsal of this project: its registry, and what its environments run.
fn containers_of(project: &Project) -> Vec<String> {
    let all = docker(&["container", "ls", "--all", "--format", "{{.Names}} {{.Labels}}"]);
    let directory = project.path(".stevedore/rehearsal");
    let place = fingerprint::sha256(directory.as_os_str().as_encoded_bytes());
    let registry = format!("dev.stevedore.rehearsal={}", fingerprint::short(&place));
    let owner = directory.join("clone/.stevedore/beanstalk/owner");
    let owner = std::fs::read_to_string(owner).unwrap_or("nobody".into());
    let environment = format!("stevedore.beanstalk={}", owner.trim());
    let own = |line: &&str| line.contains(&registry) || line.contains(&environment);
    all.lines().filter(own).map(str::to_owned).collect()
}
