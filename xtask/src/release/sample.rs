//! A small record for tests: two images on one base, a store, and one of everything else.

use super::record::Record;

pub(crate) fn record() -> Record {
    Record::parse(TEXT).unwrap()
}

const TEXT: &str = r#"{
  "schema": "stevedore.release/1",
  "version": "1.0.0",
  "previous": null,
  "name": "shop",
  "commit": "0123456789abcdef0123456789abcdef01234567",
  "branch": "release-v1.0",
  "created": "2026-11-20T08:00:00Z",
  "by": {"name": "Ada Lovelace", "email": "ada@example.com"},
  "tools": {"docker": "26.1.5", "git": "2.47.3"},
  "environment": "prod",
  "registry": "registry.example.org/team",
  "platform": "linux/amd64",
  "epoch": "2026-11-19T12:00:00Z",
  "bases": {"debian:trixie-slim": {"content": "sha256:aaaaaaaaaaaaaaaa", "digest": null}},
  "images": {
    "app": {
      "fingerprint": "f1",
      "config": "sha256:1111111111111111111111111111111111111111111111111111111111111111",
      "layers": [{"diff_id": "sha256:b", "size": 70000000}, {"diff_id": "sha256:c", "size": 4100000}],
      "from": ["base"],
      "distribution": "debian-13",
      "packages": {"manager": "dpkg", "installed": {"libc6:amd64": "2.41-12", "openssl": "3.5.1-1+deb13u1"}}
    },
    "db": {
      "fingerprint": "f2",
      "config": "sha256:2222222222222222222222222222222222222222222222222222222222222222",
      "layers": [{"diff_id": "sha256:b", "size": 70000000}],
      "from": ["base"],
      "distribution": "debian-13",
      "packages": {"manager": "dpkg", "installed": {"libc6:amd64": "2.41-12", "openssl": "3.5.1-1+deb13u1", "store": "1:17.2~rc1"}}
    },
    "edge": {
      "fingerprint": "f3",
      "config": "sha256:3333333333333333333333333333333333333333333333333333333333333333",
      "layers": [{"diff_id": "sha256:d", "size": 9000000}],
      "from": [],
      "distribution": null,
      "packages": {"manager": "none", "reason": "no package manager"}
    }
  },
  "services": {
    "app": {"image": "app", "config": null, "attached": false, "store": null},
    "db": {"image": "db", "config": null, "attached": true, "store": {"version": "17.2", "major": 17}},
    "mail": {"image": "relay:2", "config": "sha256:7777", "attached": false, "store": null}
  },
  "dependencies": {
    "app/Cargo.lock": [
      {"name": "rand", "version": "0.8.5", "source": null, "checksum": null},
      {"name": "rand", "version": "0.9.2", "source": "registry+https://github.com/rust-lang/crates.io-index", "checksum": "4444444444444444444444444444444444444444444444444444444444444444"},
      {"name": "zstd-sys", "version": "2.0.16+zstd.1.5.7", "source": "registry+https://github.com/rust-lang/crates.io-index", "checksum": "5555555555555555555555555555555555555555555555555555555555555555"}
    ]
  },
  "assets": {"app.scss": {"file": "app-1.css", "integrity": "sha384-x", "size": 20500}},
  "migrations": {
    "app": [
      {"name": "1_start.sql", "sha256": "m1", "compatible": null},
      {"name": "2_more.sql", "sha256": "m2", "compatible": "a new table"}
    ]
  },
  "gates": [
    {"name": "tests", "fingerprint": null},
    {"name": "smoke", "fingerprint": "6666666666666666"}
  ],
  "configuration": {
    "prod": {
      "PASSWORD": {"secret": true, "source": "generated", "services": ["app", "db"], "attached": true},
      "URL": {"secret": false, "source": "public", "services": ["app"], "attached": false}
    }
  }
}
"#;
