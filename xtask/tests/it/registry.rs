//! A real registry for tests, and proof that the faulty proxy in front of it does what it promises:
//! a test that passes because its fault never happened proves nothing.

use std::process::Command;

use crate::dsl::{Project, docker, engine, repository, wait_until};
use crate::faulty::{Fault, Faulty};

/// A registry in a container, gone with the test.
pub(crate) struct Registry {
    pub(crate) container: String,
    image: String,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
}

impl Registry {
    /// Debian's own, from this repository's Dockerfile.
    pub(crate) fn start(project: &Project) -> Registry {
        for file in ["docker/registry/Dockerfile", "docker/registry/config.yml"] {
            project.file(file, std::fs::read(repository().join(file)).unwrap());
        }
        project.compose(&[("registry", "{build: docker/registry}")]);
        project.xtask(&["image", "build", "dev", "registry"]).succeeds();
        let image = project.reference("registry");
        let run = ["container", "run", "--detach", "--publish", "127.0.0.1:0:5000", &image];
        let container = docker(&run).trim().to_owned();
        let port = docker(&["container", "port", &container, "5000"]);
        let address = port.trim().to_owned();
        let registry = Registry { container, image, address };
        wait_until("the registry", || registry.get("/v2/").starts_with('2'));
        registry
    }

    /// The status of an answer, and all of it.
    pub(crate) fn get(&self, path: &str) -> String {
        let output = Command::new("curl")
            .args(["--silent", "--write-out", "%{stderr}%{http_code}"])
            .arg(format!("http://{}{path}", self.address))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// The manifest under a tag or digest of an image; `null` where there is none.
    pub(crate) fn manifest(&self, image: &str, reference: &str) -> serde_json::Value {
        // Without it the registry makes up a manifest of an older kind, each time another.
        let accept = "Accept: application/vnd.docker.distribution.manifest.v2+json";
        let url = format!("http://{}/v2/{image}/manifests/{reference}", self.address);
        let output = Command::new("curl")
            .args(["--silent", "--fail", "--header", accept, &url])
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// The name under which an image of ours lies there.
    pub(crate) fn name(&self, reference: &str) -> String {
        format!("{}/cache/{reference}", self.address)
    }

    /// Puts another image where ours should be.
    pub(crate) fn replace(&self, reference: &str, image: &str) {
        let name = self.name(reference);
        docker(&["image", "tag", image, &name]);
        docker(&["image", "push", "--quiet", &name]);
        docker(&["image", "rm", &name]);
    }

    /// Runs a shell command where the registry keeps its files.
    pub(crate) fn inside(&self, script: &str) {
        let arguments = ["container", "exec", &self.container, "sh", "-c", script];
        assert!(Command::new("docker").args(arguments).status().unwrap().success(), "{script}");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        docker(&["container", "rm", "--force", "--volumes", &self.container]);
        docker(&["image", "rm", "--force", &self.image]);
    }
}

/// A project with an image `x` of one file that nobody else has, and a registry behind a proxy.
fn pushable() -> (Project, Registry, Faulty) {
    let project = Project::with_stack();
    let registry = Registry::start(&project);
    let faulty = Faulty::in_front_of(&registry.address);
    let name = format!("{}/x", project.name);
    project.file("x/Dockerfile", "FROM scratch\nCOPY data /\n").file("x/data", vec![7; 3000]);
    project.file("x/data", format!("{name}\n").repeat(1000));
    let build =
        ["build", "--quiet", "--tag", &name, project.path("x").to_str().unwrap()].map(String::from);
    docker(&build.each_ref().map(String::as_str));
    (project, registry, faulty)
}

/// `docker push` by way of the proxy, with a login or without: whether it succeeded, and its words.
fn push(project: &Project, faulty: &Faulty, login: Option<&str>) -> (bool, String) {
    let name = format!("{}/x:1", faulty.address);
    docker(&["image", "tag", &format!("{}/x", project.name), &name]);
    let pair = login.map(|login| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(login)
    });
    let auths = pair.map_or(
        serde_json::json!({}),
        |pair| serde_json::json!({ &faulty.address: { "auth": pair } }),
    );
    project.file("login/config.json", serde_json::json!({ "auths": auths }).to_string());
    let output = Command::new("docker")
        .env("DOCKER_CONFIG", project.path("login"))
        .args(["image", "push", &name])
        .output()
        .unwrap();
    docker(&["image", "rm", &name]);
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_push_by_way_of_the_proxy_is_written_down_and_counted() {
    engine!();
    let (project, registry, mut faulty) = pushable();
    let (done, words) = push(&project, &faulty, None);
    assert!(done, "{words}");
    assert!(registry.get("/v2/x/manifests/1").starts_with("200"));
    assert!(faulty.uploaded() > 500);
    let requests = faulty.requests();
    assert!(requests.contains(&"PUT /v2/x/manifests/1".to_owned()), "{requests:?}");
    assert!(requests.iter().any(|request| request.starts_with("PATCH /v2/x/blobs/uploads/")));
    assert_eq!((faulty.uploaded(), faulty.requests().len()), (0, 0), "each look begins anew");

    faulty.refuse();
    let (done, words) = push(&project, &faulty, None);
    assert!(!done && words.contains("connection refused"), "{words}");
    faulty.accept();
    assert!(push(&project, &faulty, None).0);
}

#[test]
fn a_forgotten_manifest_was_answered_with_201_and_is_not_there() {
    engine!();
    let (project, registry, faulty) = pushable();
    faulty.always("PUT /manifests/", Fault::Forget);
    let (done, words) = push(&project, &faulty, None);
    assert!(done, "docker believes it: {words}");
    assert!(registry.get("/v2/x/manifests/1").starts_with("404"));
    faulty.heal();
    assert!(push(&project, &faulty, None).0);
    assert!(registry.get("/v2/x/manifests/1").starts_with("200"));
}

#[test]
fn demands_for_a_login_are_met_by_dockers_own() {
    engine!();
    let (project, registry, faulty) = pushable();
    for demand in [Fault::Basic("me", "secret"), Fault::Bearer("me", "secret")] {
        faulty.heal().always("* /v2/", demand.clone());
        for login in [None, Some("me:wrong")] {
            assert!(!push(&project, &faulty, login).0, "{demand:?} {login:?}");
            assert!(registry.get("/v2/x/manifests/1").starts_with("404"));
        }
    }
    for demand in [Fault::Basic("me", "secret"), Fault::Bearer("me", "secret")] {
        faulty.heal().always("* /v2/", demand.clone());
        let (done, words) = push(&project, &faulty, Some("me:secret"));
        assert!(done, "{demand:?}: {words}");
    }
}

#[test]
fn answers_are_broken_as_the_rules_say() {
    engine!();
    let (project, registry, faulty) = pushable();
    assert!(push(&project, &faulty, None).0);
    let name = format!("http://{}/v2/x/manifests/1", faulty.address);
    let curl = || {
        // Without it the registry makes up a manifest of an older kind, each time another.
        let accept = "Accept: application/vnd.docker.distribution.manifest.v2+json";
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "1", "--write-out", "%{stderr}%{http_code}"])
            .args(["--header", accept, &name])
            .output()
            .unwrap();
        let status = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), status, output.stdout)
    };
    let (_, _, whole) = curl();
    for (fault, code, status) in [
        (Fault::BlackHole, 28, "000"),
        (Fault::Reset, 56, ""),
        (Fault::Truncated, 18, "200"),
        (Fault::OtherBytes, 0, "200"),
        (Fault::Status(429, "Retry-After: 1"), 0, "429"),
    ] {
        faulty.heal().first(1, "GET /manifests/", fault.clone());
        let (found, said, bytes) = curl();
        assert_eq!(found, code, "{fault:?}");
        assert!(said.starts_with(status) && bytes != whole, "{fault:?}: {said}");
        assert!(curl().2 == whole, "{fault:?} is over");
    }
    faulty.heal().always("PATCH /blobs/uploads/", Fault::Reset).uploaded();
    let upload = format!("http://{}/v2/x/blobs/uploads/1", faulty.address);
    project.file("large", vec![7; 1 << 20]);
    let file = format!("@{}", project.path("large").display());
    let status = Command::new("curl")
        .args(["--silent", "--request", "PATCH", "--data-binary", &file, &upload])
        .status()
        .unwrap();
    assert!([Some(55), Some(56)].contains(&status.code()), "{status}");
    assert!((1..1 << 20).contains(&faulty.uploaded()), "a part was taken");
    drop(registry);
}
