//! A shop that is deployed: its registry, its local Elastic Beanstalk, and an app that answers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::dsl::{Answer, Project, docker, get, wait_until};
use crate::eb;
use crate::registry::Registry;
use crate::shop::Shop;

/// A web server for tests: says its release, its secret and its file at every address, and is ill
/// where the file says so.
const SERVER: &str = r#"use IO::Socket::INET;
$SIG{TERM} = sub { exit 0 };
my $server = IO::Socket::INET->new(LocalPort => 8080, Listen => 50, ReuseAddr => 1) or die;
open(my $file, "<", "/app/source.txt"); my $text = <$file>; chomp $text;
while (my $client = $server->accept) {
    while (my $line = <$client>) { last if $line =~ /^\r?\n$/ }
    my $status = $text =~ /broken/ ? "500 Ill" : "200 OK";
    my $body = "$ENV{APP_VERSION} $ENV{TOKEN} $text\n";
    print $client "HTTP/1.0 $status\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
    close $client;
}
"#;

const APP: &str = "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, \
    command: [perl, /app/server.pl], init: true, stop_grace_period: 2s, \
    environment: {APP_VERSION: \"${STEVEDORE_VERSION:-none}\", TOKEN: \"${TOKEN}\", \
    DATABASE: \"store://${PASSWORD}@store\"}, \
    depends_on: {migrate: {condition: service_completed_successfully}}, \
    healthcheck: {test: [CMD, test, -e, /app/server.pl], interval: 5s, timeout: 5s, \
    start_period: 30s, start_interval: 200ms}, \
    x-stevedore: {main: true, bundle: {ports: [\"80:8080\"], memory_mb: 64, lossy: [start_interval]}}}";
const MIGRATE: &str = "{image: NAME/app, command: [\"true\"], \
    x-stevedore: {once: true, migrations: app/migrations, bundle: {memory_mb: 32}}}";
const STORE: &str = "{build: docker/store, init: true, command: [sleep, infinity], \
    stop_grace_period: 1s, environment: {PASSWORD: \"${PASSWORD}\"}, \
    healthcheck: {test: [CMD, \"true\"], interval: 30s, timeout: 5s, start_period: 30s, \
    start_interval: 200ms}, \
    x-stevedore: {attached: true, version: [store, --version]}}";

pub(crate) struct Ward {
    pub(crate) registry: Registry,
    pub(crate) shop: Shop,
    server: Option<Child>,
}

/// A shop with `prod` and `qa` whose app answers; `facts` is what stands under [beanstalk].
pub(crate) fn shop(registry: &str, facts: &str) -> Shop {
    let mut shop = Shop::new(registry);
    let name = shop.project.name.clone();
    let project = &mut shop.project;
    project.compose(&[
        ("app", APP),
        ("migrate", &MIGRATE.replace("NAME", &name)),
        ("store", STORE),
    ]);
    project.file("app/server.pl", SERVER);
    project.file("app/migrations/1_start.sql", "CREATE TABLE walks (minutes int);\n");
    let store = "FROM base\nRUN printf '#!/bin/sh\\necho \"store 16.9\"\\n' >/usr/bin/store \
                     && chmod +x /usr/bin/store\n";
    project.file("docker/store/Dockerfile", store);
    for (environment, facts) in [("dev", ""), ("qa", facts), ("prod", facts)] {
        let prereleases = environment == "qa";
        let text = format!(
            "[registry]\nrepository = \"{registry}/team\"\n[beanstalk]\nprereleases = {prereleases}\n\
             {facts}\n"
        );
        project.file(&format!("environments/{environment}/environment.toml"), text);
        let schema = "PASSWORD=generate:hex32\nTOKEN=generate:hex32\n";
        project.file(&format!("environments/{environment}/.env.example"), schema);
    }
    find_clients(project);
    shop.commit("a shop that can be deployed");
    shop
}

/// Fakes are found first, then the clients, then the rest of the machine.
fn find_clients(project: &mut Project) {
    let path = std::env::var("PATH").unwrap();
    let (fake, clients) = (project.path("fake"), eb::tools::venv().join("bin"));
    project.variable("PATH", &format!("{}:{}:{path}", fake.display(), clients.display()));
}

impl Ward {
    /// See [`shop`].
    pub(crate) fn new(facts: &str) -> Ward {
        let registry = Registry::start(&Project::with_stack());
        let shop = shop(&registry.address, facts);
        let mut ward = Ward { registry, shop, server: None };
        ward.secrets("prod", "first");
        ward.secrets("qa", "first");
        ward.serve();
        ward
    }

    /// After the PATH was changed for something else.
    pub(crate) fn find_clients(&mut self) {
        find_clients(&mut self.shop.project);
    }

    /// Starts the local Elastic Beanstalk.
    pub(crate) fn serve(&mut self) {
        let project = &self.shop.project;
        let log = std::fs::File::create(project.scratch().join("beanstalk")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .arg("-C")
            .arg(project.root())
            .args(["beanstalk", "serve", "--port", "0", "--patience", "20"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(child);
        let said = || std::fs::read_to_string(project.scratch().join("beanstalk")).unwrap();
        wait_until("the local Elastic Beanstalk", || said().contains("serving Elastic Beanstalk"));
    }

    /// A file of secrets, whose token the app shows.
    pub(crate) fn secrets(&self, environment: &str, token: &str) {
        let path = format!("environments/{environment}/.env");
        let text = format!("PASSWORD=a-password-of-{environment}\nTOKEN={token}\n");
        self.shop.project.file(&path, text).mode(&path, 0o600);
    }

    /// Commits a text that the app shows, and releases and publishes it.
    pub(crate) fn ship(&self, version: &str, text: &str) {
        self.shop.project.file("app/source.txt", format!("{text}\n"));
        self.shop.commit(text);
        self.shop.release(version).succeeds();
        self.shop.publish(version).succeeds();
    }

    pub(crate) fn deploy(&self, version: &str) -> Answer {
        self.xtask(&["deploy", version, "--yes", "--settle", "10"])
    }

    /// Without patience for what is unwell.
    pub(crate) fn deploy_shortly(&self, version: &str) -> Answer {
        self.xtask(&["deploy", version, "--yes", "--settle", "4"])
    }

    /// What the service will call the version.
    pub(crate) fn bundle_label(&self, version: &str) -> String {
        let file = self.shop.project.scratch().join("label.zip");
        let bundle = ["--json", "bundle", version, "--out", file.to_str().unwrap()];
        let events = self.xtask(&bundle).succeeds().events();
        events[0]["label"].as_str().unwrap().to_owned()
    }

    /// Where the real `eb` and `aws` are.
    pub(crate) fn clients(&self) -> PathBuf {
        eb::tools::venv().join("bin")
    }

    /// Puts another program before a client.
    pub(crate) fn fake_client(&self, name: &str, script: &str) {
        let path = format!("fake/{name}");
        self.shop.project.file(&path, script).mode(&path, 0o755);
    }

    /// Puts a script before each call of `eb` and of `aws`: those that change something, as curl
    /// asks. `NAME` and `REAL` in the script are the client and where it is.
    pub(crate) fn fake_clients(&self, script: &str) {
        let clients = self.clients();
        let script = |name: &str| {
            let real = clients.join(name).display().to_string();
            script.replace("NAME", name).replace("REAL", &real)
        };
        self.fake_client("eb", &format!("#!/bin/sh\n{}\n", script("eb")));
        // Its interpreter, whose first word is the file of `aws` itself.
        self.fake_client("python3", &format!("#!/bin/sh\nshift\n{}\n", script("aws")));
        let aws = std::fs::read_to_string(clients.join("aws")).unwrap();
        let (_, rest) = aws.split_once('\n').unwrap();
        let interpreter = self.shop.project.path("fake/python3");
        self.fake_client("aws", &format!("#!{}\n{rest}", interpreter.display()));
    }

    /// Writes down every call of the clients.
    pub(crate) fn log_clients(&self) {
        self.shop.project.file("calls", "");
        let log = self.shop.project.path("calls").display().to_string();
        self.fake_clients(&format!("echo \"NAME $*\" >> '{log}'\nexec 'REAL' \"$@\""));
    }

    /// What [`Ward::log_clients`] wrote, and the end of it.
    pub(crate) fn client_calls(&self) -> String {
        self.honest_clients();
        self.shop.project.read("calls")
    }

    pub(crate) fn honest_clients(&self) {
        std::fs::remove_dir_all(self.shop.project.path("fake")).unwrap();
    }

    /// Ends the local Elastic Beanstalk.
    pub(crate) fn stop_server(&mut self) {
        self.xtask(&["beanstalk", "stop"]).succeeds();
        if let Some(mut server) = self.server.take() {
            server.wait().unwrap();
        }
    }

    pub(crate) fn rollback(&self) -> Answer {
        self.xtask(&["rollback", "--yes", "--settle", "10"])
    }

    pub(crate) fn xtask(&self, arguments: &[&str]) -> Answer {
        self.shop.project.xtask(arguments)
    }

    /// Sets failure drills of the service, as a form.
    pub(crate) fn drill(&self, form: &str) {
        let url = format!("{}/local/drill", self.fence()[0].1);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--data", form, &url]).stdout(Stdio::null());
        assert!(curl.status().unwrap().success(), "{form}");
    }

    /// The variables that lead clients to the service.
    fn fence(&self) -> Vec<(String, String)> {
        let printed = self.xtask(&["beanstalk", "environment"]).succeeds().stdout;
        let exports = printed.lines().filter_map(|line| line.strip_prefix("export "));
        let pairs = exports.filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Somebody's own call of the AWS CLI: what it printed.
    pub(crate) fn aws(&self, arguments: &[&str]) -> Value {
        self.ask_aws(&[&["elasticbeanstalk"], arguments].concat())
    }

    fn ask_aws(&self, arguments: &[&str]) -> Value {
        let output = Command::new(self.clients().join("aws"))
            .args(arguments)
            .envs(self.fence())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "aws {arguments:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// The name that the service knows an environment by.
    pub(crate) fn service_name(&self, environment: &str) -> String {
        format!("{}-{environment}", self.shop.project.name)
    }

    /// How many updates the service was told to make.
    pub(crate) fn updates(&self, environment: &str) -> usize {
        let name = self.service_name(environment);
        let events = self.aws(&["describe-events", "--environment-name", &name]);
        let started = |it: &&Value| it["Message"] == "Environment update is starting.";
        events["Events"].as_array().unwrap().iter().filter(started).count()
    }

    /// The bundle that the service has under a label.
    pub(crate) fn bundle_there(&self, label: &str) -> Option<Vec<u8>> {
        let name = &self.shop.project.name;
        let list = ["describe-application-versions", "--application-name", name];
        let found = self.aws(&[&list[..], &["--version-labels", label]].concat());
        let place = found["ApplicationVersions"].get(0)?["SourceBundle"].clone();
        let file = self.shop.project.scratch().join("there.zip");
        let (bucket, key) = (place["S3Bucket"].as_str()?, place["S3Key"].as_str()?);
        let get = ["s3api", "get-object", "--bucket", bucket, "--key", key];
        self.ask_aws(&[&get[..], &[file.to_str().unwrap()]].concat());
        Some(std::fs::read(file).unwrap())
    }

    /// Somebody tidies up: the service has no bundle under this label any more.
    pub(crate) fn forget_bundle(&self, label: &str) {
        if self.bundle_there(label).is_some() {
            let name = &self.shop.project.name;
            let delete = ["delete-application-version", "--application-name", name];
            let with = ["--version-label", label, "--delete-source-bundle"];
            self.aws(&[&delete[..], &with].concat());
        }
    }

    /// The properties of an environment, as the service has them.
    pub(crate) fn properties(&self, environment: &str) -> BTreeMap<String, String> {
        let (application, name) = (&self.shop.project.name, self.service_name(environment));
        let ask = ["describe-configuration-settings", "--application-name", application];
        let found = self.aws(&[&ask[..], &["--environment-name", &name]].concat());
        let options = found["ConfigurationSettings"][0]["OptionSettings"].as_array().unwrap();
        let namespace = "aws:elasticbeanstalk:application:environment";
        let ours = options.iter().filter(|it| it["Namespace"] == namespace);
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        ours.map(|it| (text(&it["OptionName"]), text(&it["Value"]))).collect()
    }

    /// Ends an environment of the service, and waits for that.
    pub(crate) fn end_environment(&self, environment: &str) {
        let name = self.service_name(environment);
        self.aws(&["terminate-environment", "--environment-name", &name]);
        let list = ["describe-environments", "--no-include-deleted", "--environment-names", &name];
        wait_until("the end of the environment", || {
            self.aws(&list)["Environments"].as_array().is_some_and(Vec::is_empty)
        });
    }

    /// Writes the last line of the log again, as somebody with other hands.
    pub(crate) fn rewrite_log(&self, environment: &str, change: impl Fn(&mut Value)) {
        self.edit_log(environment, |log| change(log.last_mut().unwrap()));
    }

    /// Writes the whole log again.
    pub(crate) fn edit_log(&self, environment: &str, change: impl Fn(&mut Vec<Value>)) {
        let mut log = self.log(environment);
        change(&mut log);
        let text: String = log.iter().map(|line| format!("{line}\n")).collect();
        let branch = format!("refs/heads/stevedore/deployments/{environment}");
        let file = self.shop.project.scratch().join("log");
        std::fs::write(&file, text).unwrap();
        let blob = self.shop.git_there(&["hash-object", "-w", file.to_str().unwrap()]);
        let index = self.shop.project.scratch().join("index");
        let _ = std::fs::remove_file(&index);
        let git = |arguments: &[&str]| {
            let output = Command::new("git")
                .arg("-C")
                .arg(self.shop.remote())
                .args(["-c", "user.name=Eve", "-c", "user.email=eve@example.org"])
                .args(arguments)
                .env("GIT_INDEX_FILE", &index)
                .output()
                .unwrap();
            assert!(output.status.success(), "git {arguments:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let entry = format!("100644,{blob},deployments.jsonl");
        git(&["update-index", "--add", "--cacheinfo", &entry]);
        let tree = git(&["write-tree"]);
        let head = git(&["rev-parse", &branch]);
        let commit = git(&["commit-tree", "-p", &head, "-m", "by hand", &tree]);
        git(&["update-ref", &branch, &commit]);
    }

    /// What the service says of the environment.
    pub(crate) fn environment(&self, name: &str) -> Value {
        let listed = self.xtask(&["--json", "beanstalk", "status"]).succeeds().events();
        let named = |it: &Value| it["name"].as_str().is_some_and(|it| it.ends_with(name));
        listed.into_iter().find(named).unwrap_or_default()
    }

    /// What the app of an environment answers.
    pub(crate) fn page(&self, name: &str) -> String {
        page_at(self.port(name))
    }

    /// Where an environment answers.
    pub(crate) fn port(&self, name: &str) -> u16 {
        let environment = self.environment(name);
        let address = environment["address"].as_str().unwrap_or_default();
        address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
    }

    /// The packages in the container of a service that runs on an instance.
    pub(crate) fn packages(&self, service: &str) -> BTreeMap<String, String> {
        let owner = self.shop.project.read(".stevedore/beanstalk/owner");
        let labels = [
            format!("label=stevedore.beanstalk={}", owner.trim()),
            format!("label=com.docker.compose.service={service}"),
        ];
        let filters = ["--filter", &labels[0], "--filter", &labels[1]];
        let id = docker(&[&["container", "ls", "--quiet"][..], &filters].concat());
        let format = "--showformat=${binary:Package} ${Version}\n";
        let shown = docker(&["container", "exec", id.trim(), "dpkg-query", "--show", format]);
        let packages = shown.lines().filter_map(|line| line.split_once(' '));
        packages.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
    }

    /// The same by the record of a release.
    pub(crate) fn recorded_packages(&self, version: &str, image: &str) -> BTreeMap<String, String> {
        let record = self.shop.record(version);
        let installed = &record["images"][image]["packages"]["installed"];
        serde_json::from_value(installed.clone()).unwrap()
    }

    /// The lines of the deployment log.
    pub(crate) fn log(&self, environment: &str) -> Vec<Value> {
        let file = format!("stevedore/deployments/{environment}:deployments.jsonl");
        let text = self.shop.git_there(&["show", &file]);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The log in short: version and verdict.
    pub(crate) fn story(&self, environment: &str) -> Vec<String> {
        let line = |it: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or("open").to_owned();
            format!(
                "{} {} {}",
                text(&it["kind"]),
                text(&it["version"]),
                text(&it["verdict"]["result"])
            )
        };
        self.log(environment).iter().map(line).collect()
    }
}

impl Drop for Ward {
    /// Environments go on running without their server; these end with the test.
    fn drop(&mut self) {
        self.xtask(&["beanstalk", "stop"]);
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        let owner = self.shop.project.path(".stevedore/beanstalk/owner");
        let Ok(owner) = std::fs::read_to_string(owner) else { return };
        let filter = format!("label=stevedore.beanstalk={}", owner.trim());
        for (kind, remove) in [
            ("container", &["rm", "--force", "--volumes"][..]),
            ("network", &["rm"]),
            ("volume", &["rm", "--force"]),
        ] {
            let list = [kind, "ls", "--quiet", "--filter", &filter];
            let all = if kind == "container" { &["--all"][..] } else { &[] };
            for id in docker(&[&list[..], all].concat()).lines() {
                docker(&[&[kind], remove, &[id]].concat());
            }
        }
    }
}

/// The last line of the page at a port, behind its status; empty where nobody answers.
pub(crate) fn page_at(port: u16) -> String {
    let line = |body: String| body.lines().last().unwrap_or_default().to_owned();
    get(port, "/").map_or(String::new(), |(status, body)| format!("{status} {}", line(body)))
}
