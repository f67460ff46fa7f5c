//! Two machines whose engines keep images in different stores: what one releases, the other one
//! verifies, pulls, deploys and rolls back. `cargo xtask selftest --store` gives these tests a second
//! engine, and says where the first one is.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use crate::dsl::{Answer, docker, engine, wait_until};
use crate::shop::{configuration, configuration_in, git};
use crate::ward::Ward;

/// The machine with the first engine: a clone of a shop, and a local Elastic Beanstalk.
struct Other {
    clone: PathBuf,
    name: String,
    /// The network in which the first engine publishes ports.
    network: String,
    host: String,
    path: String,
    server: Option<Child>,
}

impl Other {
    fn new(ward: &Ward) -> Other {
        let given = |name| std::env::var(name).expect("`cargo xtask selftest --store` runs this");
        let project = &ward.shop.project;
        let clone = project.scratch().join("other");
        let (remote, directory) = (ward.shop.remote(), clone.to_str().unwrap());
        let arguments = ["clone", "--quiet", remote.to_str().unwrap(), directory];
        git(project.scratch(), &arguments);
        git(&clone, &["config", "user.name", "Grace"]);
        git(&clone, &["config", "user.email", "grace@example.org"]);
        for environment in ["qa", "prod"] {
            let file = format!("environments/{environment}/.env");
            std::fs::copy(project.path(&file), clone.join(&file)).unwrap();
        }
        let path = std::env::var("PATH").unwrap();
        let mut other = Other {
            clone,
            name: project.name.clone(),
            network: given("STEVEDORE_FIRST_NETWORK"),
            host: given("STEVEDORE_FIRST_DOCKER_HOST"),
            path: format!("{}:{path}", ward.clients().display()),
            server: None,
        };
        forward(&other.network, &ward.registry.address);
        let archive = project.scratch().join("base.tar");
        let (archive, base) = (archive.to_str().unwrap(), project.own_base());
        docker(&["image", "save", "--output", archive, &base]);
        other.docker(&["image", "load", "--quiet", "--input", archive]);
        other.serve(project.scratch().join("other-beanstalk"));
        other
    }

    fn enter(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network)).arg(program);
        command.env("DOCKER_HOST", &self.host).env("PATH", &self.path);
        command
    }

    #[track_caller]
    fn docker(&self, arguments: &[&str]) -> String {
        let output = self.enter("docker").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The digest of the configuration of a released image that is here.
    fn configuration(&self, version: &str, image: &str) -> String {
        let archive = self.clone.join(".stevedore/image.tar");
        let name = format!("{}/{image}:{version}", self.name);
        self.docker(&["image", "save", "--output", archive.to_str().unwrap(), &name]);
        configuration_in(&archive)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.enter(env!("CARGO_BIN_EXE_xtask"));
        command.arg("-C").arg(&self.clone).args(arguments);
        command
    }

    fn xtask(&self, arguments: &[&str]) -> Answer {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Starts the local Elastic Beanstalk of this machine.
    fn serve(&mut self, log: PathBuf) {
        let file = std::fs::File::create(&log).unwrap();
        let mut command = self.command(&["beanstalk", "serve", "--port", "0", "--patience", "20"]);
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        self.server = Some(command.spawn().unwrap());
        let said = || std::fs::read_to_string(&log).unwrap();
        wait_until("the other Elastic Beanstalk", || said().contains("serving Elastic Beanstalk"));
    }

    fn bundle(&self, version: &str) -> Vec<u8> {
        let file = self.clone.join(".stevedore/bundle.zip");
        self.xtask(&["bundle", version, "--out", file.to_str().unwrap()]).succeeds();
        std::fs::read(file).unwrap()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.xtask(&["beanstalk", "stop"]);
        if let Some(mut server) = self.server.take() {
            let _ = server.wait();
        }
        let pattern = format!("reference={}/*", self.name);
        let list = self.docker(&["image", "ls", "--quiet", "--filter", &pattern]);
        for id in list.lines() {
            let _ = self.enter("docker").args(["image", "rm", "--force", id]).output();
        }
    }
}

/// Forwards an address of another network to the same address of this network.
fn forward(network: &str, address: &str) {
    let file = std::fs::File::open(network).unwrap();
    let (address, upstream) = (address.to_owned(), address.to_owned());
    let (sender, receiver) = mpsc::channel();
    // A socket belongs to the network in which its thread was when it made it.
    std::thread::spawn(move || {
        use std::os::fd::AsFd as _;
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(file.as_fd(), kind).unwrap();
        sender.send(TcpListener::bind(address).unwrap()).unwrap();
    });
    let listener = receiver.recv().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(registry) = TcpStream::connect(&upstream) else { continue };
            let pair = [(&stream, &registry), (&registry, &stream)];
            for (from, to) in pair.map(|(a, b)| (a.try_clone().unwrap(), b.try_clone().unwrap())) {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut &from, &mut &to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
}

/// What two machines find of the same files and the same release.
#[track_caller]
fn assert_same(ward: &Ward, other: &Other, version: &str) {
    for image in ["app", "base", "store"] {
        let inputs = ["image", "inputs", image, "--fingerprint"];
        let here = ward.xtask(&inputs).succeeds().stdout;
        assert_eq!(here, other.xtask(&inputs).succeeds().stdout, "{image}");
        let recorded = ward.shop.config(version, image);
        let here = configuration(&ward.shop.name(version, image));
        assert_eq!((&here, &recorded), (&other.configuration(version, image), &here), "{image}");
    }
    let file = ward.shop.project.scratch().join("here.zip");
    ward.xtask(&["bundle", version, "--out", file.to_str().unwrap()]).succeeds();
    assert!(std::fs::read(file).unwrap() == other.bundle(version), "the bundles differ");
}

#[test]
fn a_release_of_one_store_is_verified_pulled_deployed_and_rolled_back_on_the_other() {
    engine!();
    let ward = Ward::new("");
    ward.ship("1.0.0", "one");
    let other = Other::new(&ward);
    let store = |said: String| said.contains("io.containerd.snapshotter.v1");
    let ask = ["info", "--format", "{{json .DriverStatus}}"];
    assert_ne!(store(docker(&ask)), store(other.docker(&ask)), "the stores are different");

    // Released on the second engine, used on the first.
    other.xtask(&["release", "verify", "1.0.0"]).succeeds().prints("verified 1.0.0");
    other.xtask(&["image", "pull", "1.0.0"]).succeeds().prints("pulled  app");
    assert_same(&ward, &other, "1.0.0");
    let deploy = |version: &str| {
        let arguments = ["deploy", version, "--env", "qa", "--yes", "--settle", "4"];
        other.xtask(&arguments).succeeds().prints(&format!("qa runs {version}"));
    };
    deploy("1.0.0");
    ward.deploy_shortly("1.0.0").succeeds().prints("prod runs 1.0.0");

    // Released on the first engine, used on the second.
    std::fs::write(other.clone.join("app/source.txt"), "two\n").unwrap();
    git(&other.clone, &["commit", "--quiet", "--all", "--message", "two"]);
    git(&other.clone, &["push", "--quiet", "origin", "HEAD"]);
    other.xtask(&["release", "1.1.0"]).succeeds();
    other.xtask(&["publish", "1.1.0", "--yes"]).succeeds();
    ward.shop.git(&["pull", "--quiet", "--rebase", "origin", "main"]);
    ward.shop.git(&["fetch", "--quiet", "--tags"]);
    ward.shop.verify("1.1.0").succeeds().prints("verified 1.1.0");
    ward.xtask(&["image", "pull", "1.1.0"]).succeeds().prints("pulled  app");
    assert_same(&ward, &other, "1.1.0");
    ward.deploy_shortly("1.1.0").succeeds().prints("prod runs 1.1.0");
    assert_eq!(ward.page("prod"), "200 1.1.0 first two");
    ward.rollback().succeeds().prints("prod runs 1.0.0");
    assert_eq!(ward.page("prod"), "200 1.0.0 first one");

    deploy("1.1.0");
    let back = ["rollback", "--env", "qa", "--yes", "--settle", "4"];
    other.xtask(&back).succeeds().prints("qa runs 1.0.0");
}
