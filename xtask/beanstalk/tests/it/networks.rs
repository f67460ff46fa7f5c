//! What containers of an instance find under a name: containers of the same instance and the
//! attached services, and nothing of a different instance.
//!
//! On the service each instance is a machine of its own:
//! <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/concepts-webserver.html>.

use std::collections::BTreeSet;

use crate::app;
use crate::dsl::{Server, docker, engine};

/// A bundle whose services use the default network, and one on a network of its own.
fn bundle(version: &str) -> Vec<u8> {
    let image = app::image();
    let compose = format!(
        "services:\n  \
           web: {{image: {image}, ports: ['80:8000'], volumes: ['./:/app:ro']}}\n  \
           inner: {{image: {image}, volumes: ['./:/app:ro'], networks: [inside]}}\n\
         networks:\n  inside: {{}}\n"
    );
    app::zip(&[("docker-compose.yml", &compose), ("version.txt", version)])
}

/// The containers of a service of the server's instances.
fn containers(server: &Server, service: &str) -> Vec<String> {
    let owner = format!("label=stevedore.beanstalk={}", server.owner());
    let service = format!("label=com.docker.compose.service={service}");
    let list =
        ["container", "ls", "--filter", &owner, "--filter", &service, "--format", "{{.Names}}"];
    docker(&list).lines().map(str::to_owned).collect()
}

/// The addresses of a name, as a container gets them.
fn addresses(container: &str, name: &str) -> BTreeSet<String> {
    let found = docker(&["container", "exec", container, "getent", "ahostsv4", name]);
    found.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
}

fn own_addresses(container: &str) -> BTreeSet<String> {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    let found = docker(&["container", "inspect", "--format", format, container]);
    found.split_whitespace().map(str::to_owned).collect()
}

fn networks(server: &Server) -> String {
    let owner = format!("label=stevedore.beanstalk={}", server.owner());
    docker(&["network", "ls", "--filter", &owner, "--format", "{{.Name}}"])
}

#[test]
fn an_instance_sees_its_own_containers_and_the_attached_services_only() {
    engine!();
    let directory = tempfile::tempdir().unwrap();
    let attached = directory.path().join("attached.yml");
    let image = app::image();
    std::fs::write(&attached, format!("services: {{store: {{image: {image}}}}}\n")).unwrap();
    let server = Server::with(&["--attached", attached.to_str().unwrap()]);
    server.version("app", "one", &bundle("one")).succeeds();
    server.version("app", "two", &bundle("two")).succeeds();
    let options = [
        ("VersionLabel", "one"),
        ("OptionSettings.member.1.Value", "LoadBalanced"),
        ("OptionSettings.member.2.Namespace", "aws:autoscaling:asg"),
        ("OptionSettings.member.2.OptionName", "MinSize"),
        ("OptionSettings.member.2.Value", "2"),
    ];
    server.create("app", "names", &options).succeeds();
    server.ready("names");
    let store = own_addresses(&containers(&server, "store")[0]);
    let web = containers(&server, "web");
    assert_eq!(web.len(), 2, "{:#?}", server.events("names"));
    for container in web.iter().chain(&containers(&server, "inner")) {
        let found = addresses(container, "store");
        assert!(!found.is_empty() && found.is_subset(&store), "{container}: {found:?} {store:?}");
    }
    for container in &web {
        assert_eq!(addresses(container, "web"), own_addresses(container), "{container}");
    }

    // In place, and then all of it goes, the networks too.
    let update = [("EnvironmentName", "names"), ("VersionLabel", "two")];
    server.call("UpdateEnvironment", &update).succeeds();
    server.ready("names");
    assert!(server.page("names").unwrap().contains("two"), "{:#?}", server.events("names"));
    server.call("TerminateEnvironment", &[("EnvironmentName", "names")]).succeeds();
    crate::dsl::wait_until("its networks are gone", || networks(&server).is_empty());
}
