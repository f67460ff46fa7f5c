//! What becomes of a description on each branch.

use super::*;

/// A proxy, an app, its migrations and a database that stays outside.
fn shop() -> Value {
    let environment = json!({
        "DATABASE_URL": "db://app:${PASSWORD}@db/app", "LOG": "${LOG:-text} $$HOME",
        "VERSION": "${STEVEDORE_VERSION:-dev}", "PRICE": "$PRICE", "PORT": 9090,
    });
    json!({
        "app": {
            "image": "shop/app", "build": {"context": "app"}, "environment": environment,
            "depends_on": {
                "db": {"condition": "service_healthy", "required": true},
                "migrate": {"condition": "service_completed_successfully", "required": true},
            },
            "healthcheck": {
                "test": ["CMD", "app", "health"], "interval": "1m30s", "timeout": "6s",
                "start_interval": "500ms",
            },
            "networks": {"default": null}, "restart": "unless-stopped", "stop_grace_period": "15s",
            "ports": ["127.0.0.1:${STEVEDORE_PORT_HTTP}:9090"],
            "x-stevedore": {"bundle": {
                "ports": [], "memory_mb": 256, "lossy": ["restart", "start_interval"],
            }},
        },
        "db": {
            "image": "shop/db", "build": {"context": "db"},
            "environment": {"PASSWORD": "${PASSWORD}"},
            "healthcheck": {"test": ["CMD", "ready"]},
            "networks": {"default": null}, "ports": ["5432:5432"],
            "volumes": [{"type": "volume", "source": "data", "target": "/data", "volume": {}}],
            "x-stevedore": {"attached": true, "version": ["db", "--version"]},
        },
        "migrate": {
            "image": "shop/app", "command": "migrate --all 'the tables'",
            "environment": {"DATABASE_URL": "db://app:${PASSWORD}@db/app"},
            "depends_on": {"db": {"condition": "service_healthy", "required": true}},
            "restart": "no", "mem_limit": "64m", "x-stevedore": {"once": true},
        },
        "web": {
            "image": "shop/web", "links": ["app"],
            "depends_on": {
                "app": {"condition": "service_healthy", "restart": true, "required": true},
            },
            "x-stevedore": {"bundle": {"ports": ["80:90", "53:53/udp"], "memory_mb": 64}},
        },
    })
}

fn made(branch: &'static str) -> Made {
    let mut case = Case::new(branch, shop());
    case.more = json!({"volumes": {"data": {"name": "shop_data"}}});
    case.make().unwrap()
}

#[test]
fn the_docker_branch_gets_a_compose_file() {
    let made = made(DOCKER);
    expect![[r#"
        {
          "services": {
            "app": {
              "depends_on": {
                "migrate": {
                  "condition": "service_completed_successfully"
                }
              },
              "environment": {
                "DATABASE_URL": "${DATABASE_URL}",
                "LOG": "json $$HOME",
                "PORT": "9090",
                "PRICE": "5 $$",
                "VERSION": "1.2.3"
              },
              "healthcheck": {
                "interval": "90s",
                "start_interval": "500ms",
                "test": [
                  "CMD",
                  "app",
                  "health"
                ],
                "timeout": "6s"
              },
              "image": "registry.example.org/shop/app@sha256:app",
              "restart": "unless-stopped",
              "stop_grace_period": "15s"
            },
            "migrate": {
              "command": [
                "migrate",
                "--all",
                "the tables"
              ],
              "environment": {
                "DATABASE_URL": "${DATABASE_URL}"
              },
              "image": "registry.example.org/shop/app@sha256:app",
              "mem_limit": 67108864,
              "restart": "no"
            },
            "web": {
              "depends_on": {
                "app": {
                  "condition": "service_healthy",
                  "restart": true
                }
              },
              "image": "registry.example.org/shop/web@sha256:web",
              "links": [
                "app"
              ],
              "ports": [
                "80:90/tcp",
                "53:53/udp"
              ]
            }
          }
        }
    "#]]
    .assert_eq(&made.files["docker-compose.yml"]);
    expect![[r#"
        {
          "option_settings": {
            "aws:elasticbeanstalk:application": {
              "Application Healthcheck URL": "/"
            },
            "aws:elasticbeanstalk:command": {
              "DeploymentPolicy": "Immutable"
            }
          }
        }
    "#]]
    .assert_eq(&made.files[".ebextensions/00-stevedore.config"]);
}

#[test]
fn the_ecs_branch_gets_a_dockerrun_file() {
    expect![[r#"
        {
          "AWSEBDockerrunVersion": 2,
          "containerDefinitions": [
            {
              "dependsOn": [
                {
                  "condition": "SUCCESS",
                  "containerName": "migrate"
                }
              ],
              "environment": [
                {
                  "name": "LOG",
                  "value": "json $HOME"
                },
                {
                  "name": "PORT",
                  "value": "9090"
                },
                {
                  "name": "PRICE",
                  "value": "5 $"
                },
                {
                  "name": "VERSION",
                  "value": "1.2.3"
                }
              ],
              "essential": true,
              "healthCheck": {
                "command": [
                  "CMD",
                  "app",
                  "health"
                ],
                "interval": 90,
                "retries": 3,
                "startPeriod": 0,
                "timeout": 6
              },
              "image": "registry.example.org/shop/app@sha256:app",
              "memory": 256,
              "name": "app",
              "stopTimeout": 15
            },
            {
              "command": [
                "migrate",
                "--all",
                "the tables"
              ],
              "essential": false,
              "image": "registry.example.org/shop/app@sha256:app",
              "memory": 64,
              "name": "migrate"
            },
            {
              "dependsOn": [
                {
                  "condition": "HEALTHY",
                  "containerName": "app"
                }
              ],
              "essential": true,
              "image": "registry.example.org/shop/web@sha256:web",
              "links": [
                "app"
              ],
              "memory": 64,
              "name": "web",
              "portMappings": [
                {
                  "containerPort": 90,
                  "hostPort": 80,
                  "protocol": "tcp"
                },
                {
                  "containerPort": 53,
                  "hostPort": 53,
                  "protocol": "udp"
                }
              ]
            }
          ],
          "volumes": []
        }
    "#]]
    .assert_eq(&made(ECS).files["Dockerrun.aws.json"]);
}

#[test]
fn a_value_of_env_is_a_property_and_never_in_a_file() {
    let (docker, ecs) = (made(DOCKER), made(ECS));
    assert!(docker.files.values().all(|text| !text.contains("PASSWORD")));
    assert!(ecs.files.values().all(|text| !text.contains("PASSWORD")));
    assert_eq!(docker.properties, ecs.properties);
    expect![[r#"
        {
            "DATABASE_URL": Property {
                template: "db://app:${PASSWORD}@db/app",
                secret: true,
                attached: true,
                variables: {
                    "PASSWORD",
                },
            },
        }
    "#]]
    .assert_debug_eq(&ecs.properties);
}

#[test]
fn what_is_attached_is_described_apart_and_left_as_it_is() {
    let attached = made(ECS).attached.unwrap();
    expect![[r#"
        {
          "services": {
            "db": {
              "environment": {
                "PASSWORD": "${PASSWORD}"
              },
              "healthcheck": {
                "test": [
                  "CMD",
                  "ready"
                ]
              },
              "image": "registry.example.org/shop/db@sha256:db",
              "volumes": [
                {
                  "source": "data",
                  "target": "/data",
                  "type": "volume",
                  "volume": {}
                }
              ]
            }
          },
          "volumes": {
            "data": {}
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&attached).unwrap());
    let alone = Case::new(DOCKER, json!({"app": {"image": "shop/app"}})).make().unwrap();
    assert!(alone.attached.is_none());
}

/// Every key that both branches know.
fn everything() -> Value {
    json!({"app": service(json!({
        "cap_add": ["NET_ADMIN"], "cap_drop": ["MKNOD"], "command": ["a", "$$b", "${PRICE}"],
        "dns": "1.1.1.1", "dns_search": ["example.org"], "entrypoint": ["/in"],
        "environment": ["B=2", "A=1=1"], "expose": [80], "extra_hosts": ["a:1.2.3.4", "b=::1"],
        "healthcheck": {"test": "curl x", "retries": 5, "start_period": "1m"}, "hostname": "h",
        "init": true, "labels": ["a=b", "c"],
        "logging": {"driver": "json-file", "options": {"max-size": "1m"}},
        "mem_limit": null, "deploy": {"replicas": 1, "resources": {
            "limits": {"memory": "1g", "cpus": "0.5"}, "reservations": {"memory": "512m"},
        }},
        "privileged": true, "read_only": true, "security_opt": ["no-new-privileges"],
        "shm_size": "64m", "stdin_open": true, "stop_grace_period": "1m30s",
        "sysctls": {"net.core.somaxconn": 1024}, "tmpfs": "/run:size=64m", "tty": true,
        "ulimits": {"nofile": 1000, "nproc": {"soft": 1, "hard": 2}}, "user": "1000:1000",
        "volumes": [
            {"type": "volume", "source": "files", "target": "/files", "read_only": true},
            {"type": "tmpfs", "target": "/tmp", "tmpfs": {"size": "1m"}},
        ],
        "working_dir": "/app", "develop": {"watch": []}, "pull_policy": "never",
        "x-stevedore": {"bundle": {"lossy": ["cpus", "volumes"]}}, "x-other": 1,
    }))})
}

#[test]
fn every_key_has_a_word_in_a_compose_file() {
    expect![[r#"
        cap_add: ["NET_ADMIN"]
        cap_drop: ["MKNOD"]
        command: ["a","$$b","5 $$"]
        cpus: "0.5"
        dns: ["1.1.1.1"]
        dns_search: ["example.org"]
        entrypoint: ["/in"]
        environment: {"A":"1=1","B":"2"}
        expose: ["80"]
        extra_hosts: ["a=1.2.3.4","b=::1"]
        healthcheck: {"retries":5,"start_period":"60s","test":["CMD-SHELL","curl x"]}
        hostname: "h"
        image: "registry.example.org/shop/app@sha256:app"
        init: true
        labels: {"a":"b","c":""}
        logging: {"driver":"json-file","options":{"max-size":"1m"}}
        mem_limit: 1073741824
        mem_reservation: 536870912
        privileged: true
        read_only: true
        security_opt: ["no-new-privileges"]
        shm_size: 67108864
        stdin_open: true
        stop_grace_period: "90s"
        sysctls: {"net.core.somaxconn":"1024"}
        tty: true
        ulimits: {"nofile":{"hard":1000,"soft":1000},"nproc":{"hard":2,"soft":1}}
        user: "1000:1000"
        volumes: [{"target":"/run","tmpfs":{"size":67108864},"type":"tmpfs"},{"read_only":true,"source":"files","target":"/files","type":"volume"},{"target":"/tmp","tmpfs":{"size":1048576},"type":"tmpfs"}]
        working_dir: "/app"

        volumes: {"files":{}}
    "#]].assert_eq(&brief(DOCKER, everything()));
}

#[test]
fn every_key_has_a_word_in_a_dockerrun_file() {
    expect![[r#"
        command: ["a","$b","5 $"]
        cpu: 512
        dnsSearchDomains: ["example.org"]
        dnsServers: ["1.1.1.1"]
        dockerLabels: {"a":"b","c":""}
        dockerSecurityOptions: ["no-new-privileges"]
        entryPoint: ["/in"]
        environment: [{"name":"A","value":"1=1"},{"name":"B","value":"2"}]
        essential: true
        extraHosts: [{"hostname":"a","ipAddress":"1.2.3.4"},{"hostname":"b","ipAddress":"::1"}]
        healthCheck: {"command":["CMD-SHELL","curl x"],"interval":30,"retries":5,"startPeriod":60,"timeout":30}
        hostname: "h"
        image: "registry.example.org/shop/app@sha256:app"
        interactive: true
        linuxParameters: {"capabilities":{"add":["NET_ADMIN"],"drop":["MKNOD"]},"initProcessEnabled":true,"sharedMemorySize":64,"tmpfs":[{"containerPath":"/run","mountOptions":[],"size":64},{"containerPath":"/tmp","mountOptions":[],"size":1}]}
        logConfiguration: {"logDriver":"json-file","options":{"max-size":"1m"}}
        memory: 1024
        memoryReservation: 512
        mountPoints: [{"containerPath":"/files","readOnly":true,"sourceVolume":"files"}]
        name: "app"
        privileged: true
        pseudoTerminal: true
        readonlyRootFilesystem: true
        stopTimeout: 90
        systemControls: [{"namespace":"net.core.somaxconn","value":"1024"}]
        ulimits: [{"hardLimit":1000,"name":"nofile","softLimit":1000},{"hardLimit":2,"name":"nproc","softLimit":1}]
        user: "1000:1000"
        workingDirectory: "/app"

        AWSEBDockerrunVersion: 2
        volumes: [{"host":{"sourcePath":"/var/lib/shop/files"},"name":"files"}]
    "#]].assert_eq(&brief(ECS, everything()));
}

#[test]
fn the_same_said_in_another_form_is_the_same_file() {
    let long = json!({
        "a": service(json!({
            "command": ["sleep", "a b"], "labels": {"x": "1"}, "dns": ["1.1.1.1"],
            "stop_grace_period": "90s", "mem_limit": 67_108_864, "environment": {"N": "1"},
            "depends_on": {"b": {"condition": "service_started", "required": true}},
            "links": ["b"], "volumes": [], "networks": {"default": null},
        })),
        "b": service(json!({})),
    });
    let short = json!({
        "a": service(json!({
            "command": "sleep 'a b'", "labels": ["x=1"], "dns": "1.1.1.1",
            "stop_grace_period": "1m30s", "mem_limit": "64m", "environment": ["N=1"],
            "depends_on": ["b"], "links": ["b:b"], "tmpfs": null,
        })),
        "b": service(json!({"networks": {"default": null}, "profiles": []})),
    });
    for branch in [DOCKER, ECS] {
        assert_eq!(definition(branch, long.clone()), definition(branch, short.clone()));
    }
}

#[test]
fn texts_that_yaml_reads_otherwise_are_written_as_their_numbers() {
    let name = "a\u{85}b\u{2028}c\u{7f}\u{feff}é😀\n";
    let services = json!({"app": service(json!({"hostname": name}))});
    let text = definition(DOCKER, services);
    assert!(text.contains(r#""a\u0085b\u2028c\u007f\ufeffé😀\n""#), "{text}");
}
