//! Problems: each with file and key, all at once.

use super::*;

#[test]
fn what_no_bundle_can_carry_is_named_with_file_and_key() {
    let keys = json!({
        "configs": ["a"], "container_name": "x", "devices": ["/dev/x"], "env_file": [".env"],
        "network_mode": "host", "pid": "host", "scale": 2, "secrets": ["s"], "userns_mode": "host",
        "volumes_from": ["x"], "deploy": {"mode": "global"},
        "ports": [{"target": 80, "published": "9000"}],
        "volumes": [{"type": "bind", "source": "./x", "target": "/y"}],
        "environment": {"EMPTY": null, "A": "${NOBODY}", "U": "${STEVEDORE_UID}"},
        "labels": {"token": "${TOKEN}"}, "command": ["x", "$MAIL"], "mem_limit": "a lot",
        "stop_grace_period": "soon",
        "healthcheck": {"test": "x", "interval": "often", "retries": "many", "odd": 1},
    });
    let mut case = Case::new(DOCKER, json!({"app": service(keys), "b": {"image": "busybox"}}));
    case.overlay = json!({"services": {"app": {
        "container_name": "x", "environment": ["A=${NOBODY}"], "volumes": [1],
        "labels": {"other": ""},
    }}});
    refused(
        &case,
        expect![[r#"
            prod can't be carried into a bundle:
              docker/compose.yml: services.app.command: it uses ${MAIL}, whose value is in .env and never in a bundle; give it to the container in `environment`, and use it there
              docker/compose.yml: services.app.configs: a bundle has no files of this machine; take the file into the image
              environments/prod/compose.yml: services.app.container_name: Elastic Beanstalk names containers itself; remove it
              docker/compose.yml: services.app.deploy.mode: it can't be carried into a bundle
              docker/compose.yml: services.app.devices: it can't be carried into a bundle
              docker/compose.yml: services.app.env_file: a bundle has no files of this machine; name the variables in `environment`
              environments/prod/compose.yml: services.app.environment.A: it uses ${NOBODY}, which is neither in environments/prod/.env.example nor in [variables] of environments/prod/environment.toml
              docker/compose.yml: services.app.environment.EMPTY: it has no value, so it would come from the shell; give it one
              docker/compose.yml: services.app.environment.U: it uses ${STEVEDORE_UID}, which is about this machine; a bundle has STEVEDORE_VERSION and STEVEDORE_COMMIT
              docker/compose.yml: services.app.healthcheck.interval: "often" is no length of time such as 30s or 1m30s
              docker/compose.yml: services.app.labels.token: it uses ${TOKEN}, whose value is in .env and never in a bundle; give it to the container in `environment`, and use it there
              docker/compose.yml: services.app.mem_limit: "a lot" is no size such as 512m or 1g
              docker/compose.yml: services.app.network_mode: a service of a bundle is on the bundle's own networks; remove it
              docker/compose.yml: services.app.pid: it can't be carried into a bundle
              docker/compose.yml: services.app.ports: they are about this machine; say what it publishes on an instance with `x-stevedore: {bundle: {ports: ["80:80"]}}`
              docker/compose.yml: services.app.scale: it can't be carried into a bundle
              docker/compose.yml: services.app.secrets: a bundle has no files of this machine; give the value in `environment`
              docker/compose.yml: services.app.stop_grace_period: "soon" is no length of time such as 30s or 1m30s
              docker/compose.yml: services.app.userns_mode: it can't be carried into a bundle
              environments/prod/compose.yml: services.app.volumes: ./x is a file of this machine; take it into the image, or use a volume
              docker/compose.yml: services.app.volumes_from: it can't be carried into a bundle
              docker/compose.yml: services.b.image: it is no image of the release, and no digest names it; build it in docker/IMAGE, or name it IMAGE@sha256:…"#]],
    );
}

#[test]
fn networks_and_volumes_of_others_are_refused() {
    let keys = json!({
        "networks": {"default": null, "back": {"aliases": ["a"]}, "far": null},
        "volumes": [
            {"type": "volume", "source": "data", "target": "/data"},
            {"type": "volume", "source": "far", "target": "/far"},
            {"type": "volume", "target": "/nameless"},
        ],
    });
    let mut case = Case::new(DOCKER, json!({"app": service(keys)}));
    case.more = json!({
        "networks": {"back": {"name": "shop_back"}, "far": {"external": true, "name": "far"}},
        "volumes": {"data": {"name": "shop_data"}, "far": {"name": "mine"}},
    });
    refused(
        &case,
        expect![[r#"
        prod can't be carried into a bundle:
          docker/compose.yml: services.app.volumes: the volume at /nameless needs a name
          docker/compose.yml: services.app.volumes: a volume lives no longer than the instance, which the next version may replace; accept it with `x-stevedore: {bundle: {lossy: [volumes]}}`
          docker/compose.yml: networks.far.external: an instance has none but the bundle's own
          docker/compose.yml: networks.far.name: an instance has none but the bundle's own; remove the name
          docker/compose.yml: volumes.far.name: an instance has none but the bundle's own; remove the name"#]],
    );
}

#[test]
fn the_ecs_branch_says_what_it_lacks() {
    let keys = json!({
        "cpus": 0.5, "restart": "always", "stop_signal": "INT", "mem_limit": "1000",
        "pids_limit": 5, "stop_grace_period": "500ms", "tmpfs": ["/run"], "entrypoint": [],
        "extra_hosts": ["a:host-gateway"], "networks": {"default": {"aliases": ["x"]}},
        "volumes": [{"type": "volume", "source": "data", "target": "/data"}],
        "healthcheck": {
            "test": "x", "interval": "1s", "timeout": "90s", "start_period": "10m",
            "start_interval": "1s", "retries": 11,
        },
        "depends_on": {
            "b": {"condition": "service_healthy"},
            "c": {"condition": "service_completed_successfully"},
        },
    });
    let off = json!({"healthcheck": {"disable": true}, "mem_limit": null, "links": ["c"]});
    let services = json!({
        "app": service(keys), "b": service(off),
        "c": service(json!({"links": ["b:x"], "healthcheck": {"interval": "5s"}})),
        "c.d": service(json!({})),
    });
    refused(
        &Case::new(ECS, services),
        expect![[r#"
            prod can't be carried into a bundle:
              docker/compose.yml: services.app.volumes: a volume becomes a directory of the instance, empty at first, and lives no longer than that; accept it with `x-stevedore: {bundle: {lossy: [volumes]}}`
              docker/compose.yml: services.app.networks: ECS has one network for all containers, where names come from `links`
              docker/compose.yml: services.app.depends_on.b: without a link it can't find b on the ECS branch; add `links: [b]`
              docker/compose.yml: services.app.depends_on.b: ECS sees health checks of the compose file only; give b one
              docker/compose.yml: services.app.healthcheck.start_interval: ECS asks at one pace from the beginning; accept it with `x-stevedore: {bundle: {lossy: [start_interval]}}`
              docker/compose.yml: services.app.healthcheck.interval: it is 1s, and ECS takes whole seconds from 5 to 300
              docker/compose.yml: services.app.healthcheck.timeout: it is 90s, and ECS takes whole seconds from 2 to 60
              docker/compose.yml: services.app.healthcheck.start_period: it is 600s, and ECS takes whole seconds from 0 to 300
              docker/compose.yml: services.app.healthcheck.retries: ECS tries 1 to 10 times
              docker/compose.yml: services.app.tmpfs: of the memory at /run: ECS needs its size
              docker/compose.yml: services.app.cpus: a quota becomes a share on the ECS branch; accept it with `x-stevedore: {bundle: {lossy: [cpus]}}`
              docker/compose.yml: services.app.entrypoint: ECS can't take an image's entrypoint away
              docker/compose.yml: services.app.extra_hosts: a=host-gateway: ECS takes addresses only
              docker/compose.yml: services.app.mem_limit: it is 1000 bytes, and ECS takes whole MiB
              docker/compose.yml: services.app.pids_limit: the ECS branch has nothing like it
              docker/compose.yml: services.app.restart: ECS does not start a container again, it starts the whole task again when one ends that is not `once`; accept it with `x-stevedore: {bundle: {lossy: [restart]}}`
              docker/compose.yml: services.app.stop_grace_period: it is 500ms, and ECS takes whole seconds from 2 to 86400
              docker/compose.yml: services.app.stop_signal: the ECS branch has nothing like it
              docker/compose.yml: services.b.healthcheck: ECS can't take an image's health check away
              docker/compose.yml: services.b.mem_limit: the ECS branch needs a limit of memory; say one with `mem_limit`, or with `x-stevedore: {bundle: {memory_mb: 256}}`
              docker/compose.yml: services.c.healthcheck: ECS does not see the image's test; say it here
              docker/compose.yml: services.c.d: ECS takes letters, digits, _ and - in the name of a container
              docker/compose.yml: services.app.links: the links and dependencies of app, b, c go round in a circle"#]],
    );
}

#[test]
fn a_property_has_one_value_for_all() {
    let services = json!({
        "a": service(json!({"environment": {"P": "${PASSWORD}", "L": "1", "M": "${MAIL}"}})),
        "b": service(json!({"environment": {"P": "x${PASSWORD}", "L": "${TOKEN}", "M": "${MAIL}"}})),
    });
    refused(
        &Case::new(DOCKER, services.clone()),
        expect![[r#"
        prod can't be carried into a bundle:
          docker/compose.yml: services.b.environment.P: it is another text in a, and a property has one value for all services; give one of the two another name"#]],
    );
    refused(
        &Case::new(ECS, services),
        expect![[r#"
        prod can't be carried into a bundle:
          docker/compose.yml: services.b.environment.P: it is another text in a, and a property has one value for all services; give one of the two another name
          docker/compose.yml: services.a.environment.L: b takes its value from .env, so it is a property, and on the ECS branch properties reach every container; give one of the two another name"#]],
    );
}

#[test]
fn one_port_of_the_instance_belongs_to_one_service() {
    let ports = |list: Value| service(json!({"x-stevedore": {"bundle": {"ports": list}}}));
    let services = json!({"a": ports(json!(["80:1", "80:1/udp"])), "b": ports(json!(["80:2"]))});
    refused(
        &Case::new(DOCKER, services),
        expect![[r#"
        prod can't be carried into a bundle:
          docker/compose.yml: services.b.x-stevedore.bundle.ports: a publishes 80 as well"#]],
    );
}

#[test]
fn a_stack_of_nothing_that_goes_on_is_refused() {
    let attached = json!({"db": {"image": "shop/db", "x-stevedore": {"attached": true}}});
    refused(
        &Case::new(DOCKER, attached),
        expect![[r#"
        prod can't be carried into a bundle:
          every service is attached, so there is nothing to bundle"#]],
    );
    let once = json!({"job": service(json!({"x-stevedore": {"once": true}}))});
    refused(
        &Case::new(ECS, once),
        expect![[r#"
        prod can't be carried into a bundle:
          every service ends by itself, and ECS needs one that goes on"#]],
    );
}

#[test]
fn hints_that_mean_nothing_are_refused_where_they_stand() {
    for (hints, expected) in [
        (json!({"port": []}), "unknown field `port`"),
        (json!({"lossy": ["everything"]}), "expected one of `cpus`, `restart`"),
        (json!({"ports": ["80"]}), "the port \"80\" is no \"HOST:CONTAINER\""),
        (json!({"ports": ["0:80"]}), "the port \"0:80\""),
        (json!({"ports": ["80:+8"]}), "the port \"80:+8\""),
        (json!({"ports": ["80:80/sctp"]}), "the port"),
        (json!({"ports": ["127.0.0.1:80:80"]}), "the port"),
        (json!({"memory_mb": -1}), "invalid value"),
    ] {
        let services = json!({"app": service(json!({"x-stevedore": {"bundle": hints}}))});
        let error = Case::new(DOCKER, services).make().map(|made| made.files).unwrap_err();
        assert!(format!("{error:#}").contains(expected), "{hints}: {error:#}");
    }
}
