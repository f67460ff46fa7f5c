//! A project and, behind the faulty proxy, a shelf of bytes that answers as a registry would.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::faulty::Faulty;
use crate::cli;
use crate::commands::registry::{Patience, Registry, open_within};
use crate::ctx::Ctx;
use crate::exit;
use crate::tools::registry::{self as protocol, Descriptor};

const PAUSES: &[Duration] = &[Duration::from_millis(10), Duration::from_millis(20)];

pub(super) const IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The platform that is asked for.
pub(super) const AMD: &str = "linux/amd64";
pub(super) const GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Answers GET and HEAD from a table: path -> media type and bytes.
fn shelf(table: BTreeMap<String, (String, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let line = lines.next().unwrap_or_default();
            let _ = lines.take_while(|line| !line.is_empty()).count();
            let mut words = line.split(' ');
            let (method, path) = (words.next(), words.next().unwrap_or_default());
            let unknown = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no\u001b[m"}]}"#;
            let none = (String::from("application/json"), unknown.to_vec());
            let found = table.get(path);
            let status = if found.is_some() { 200 } else { 404 };
            let (kind, body) = found.unwrap_or(&none);
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
            );
            let body = if method == Some("HEAD") { &[] } else { body.as_slice() };
            let _ = (&stream).write_all(&[head.as_bytes(), body].concat());
        }
    });
    address
}

/// A project, and an image `app:1` in a registry below `team/`.
pub(super) struct World {
    pub(super) directory: tempfile::TempDir,
    pub(super) ctx: Ctx,
    pub(super) patience: Patience,
    pub(super) upstream: String,
    pub(super) faulty: Faulty,
    pub(super) layer: Vec<u8>,
    pub(super) packed: Descriptor,
    pub(super) config: Vec<u8>,
}

impl World {
    pub(super) fn new() -> World {
        World::with(&[])
    }

    /// With these manifests under their digests too, and the last under the tag `new`: media types
    /// and bytes.
    pub(super) fn with(manifests: &[(&str, Vec<u8>)]) -> World {
        let directory = tempfile::tempdir().unwrap();
        for part in ["docker", "environments/dev", "login"] {
            std::fs::create_dir_all(directory.path().join(part)).unwrap();
        }
        let ctx = Ctx::new(&cli::Global {
            directory: Some(directory.path().into()),
            dry_run: true,
            json: false,
            yes: false,
            verbose: false,
            quiet: true,
            color: cli::Color::Never,
        });
        let ctx = ctx.unwrap();
        ctx.sh.set_var("DOCKER_CONFIG", directory.path().join("login"));
        let layer = b"a layer ".repeat(100_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&layer).unwrap();
        let packed = gzip.finish().unwrap();
        let config = br#"{"os":"linux"}"#.to_vec();
        let other = manifest(&config, &[(GZIP, &packed), (GZIP, &layer)]);
        let zstd = manifest(&config, &[("application/vnd.oci.image.layer.v1.tar+zstd", &packed)]);
        let index = json!({"schemaVersion": 2, "manifests": []}).to_string().into_bytes();
        let one = manifest(&config, &[(GZIP, &packed)]);
        let descriptor = descriptor(GZIP, &packed);
        let mut table = BTreeMap::new();
        let mut put = |path: String, kind: &str, bytes: Vec<u8>| {
            table.insert(path, (kind.to_owned(), bytes));
        };
        put("/v2/".into(), "application/json", b"{}".to_vec());
        for (tag, bytes) in [("1", &one), ("other", &other), ("zstd", &zstd)] {
            put(format!("/v2/team/app/manifests/{tag}"), IMAGE, bytes.clone());
        }
        put(format!("/v2/team/app/manifests/{}", protocol::digest(&one)), IMAGE, one);
        let kind = "application/vnd.oci.image.index.v1+json";
        put("/v2/team/app/manifests/index".into(), kind, index);
        for (kind, bytes) in manifests {
            for reference in [&protocol::digest(bytes), "new"] {
                put(format!("/v2/team/app/manifests/{reference}"), kind, bytes.clone());
            }
        }
        for bytes in [&packed, &layer, &config] {
            let digest = protocol::digest(bytes);
            put(format!("/v2/team/app/blobs/{digest}"), "application/octet-stream", bytes.clone());
        }
        let upstream = shelf(table);
        let faulty = Faulty::in_front_of(&upstream);
        // Long for what a busy machine has to do, short for what nobody needs to wait for.
        let patience =
            Patience { connect_seconds: 30, answer_seconds: 60, stall_seconds: 60, pauses: PAUSES };
        World { directory, ctx, patience, upstream, faulty, layer, packed: descriptor, config }
    }

    pub(super) fn open(&self) -> Result<Registry<'_>> {
        open_within(&self.ctx, &format!("{}/team", self.faulty.address), self.patience)
    }

    pub(super) fn docker_login(&self, config: &serde_json::Value) -> &World {
        let path = self.directory.path().join("login/config.json");
        #[allow(clippy::disallowed_methods)] // a test's own file
        std::fs::write(path, config.to_string()).unwrap();
        self
    }

    pub(super) fn password(&self, pair: &str) -> &World {
        use base64::Engine;
        let auth = base64::engine::general_purpose::STANDARD.encode(pair);
        self.docker_login(&json!({"auths": { &self.faulty.address: { "auth": auth } }}))
    }

    /// Reads `app:1`, in one line: its size or the exit code and words of the error; then the
    /// requests, TLS tried first left out.
    pub(super) fn read(&self) -> String {
        let read = || -> Result<String> {
            let manifest = self.open()?.manifest("app", "1", AMD)?;
            let manifest = manifest.context("nothing is there")?;
            Ok(format!("{} layer", manifest.layers.len()))
        };
        let said = self.said(read());
        format!("{said}\n{}", self.faulty.requests().join("\n").replace(&self.hash(), "HASH"))
    }

    /// A result, with its exit code where it is an error.
    pub(super) fn said<T: std::fmt::Display>(&self, result: Result<T>) -> String {
        let text = match result {
            Ok(value) => value.to_string(),
            Err(error) => format!("{}: {error:#}", exit::code(&error)),
        };
        assert!(!text.contains("s3cret") && !text.contains("czNjcmV0"), "{text}");
        text.replace(&self.faulty.address, "HOST").replace(&self.hash(), "HASH")
    }

    fn hash(&self) -> String {
        self.packed.digest.clone()
    }
}

pub(super) fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    let (digest, size) = (protocol::digest(bytes), bytes.len() as u64);
    Descriptor { digest, size, media_type: media_type.to_owned() }
}

pub(super) fn manifest(config: &[u8], layers: &[(&str, &[u8])]) -> Vec<u8> {
    let part = |kind: &str, bytes: &[u8]| {
        let Descriptor { digest, size, media_type } = descriptor(kind, bytes);
        json!({"digest": digest, "size": size, "mediaType": media_type})
    };
    let layers: Vec<_> = layers.iter().map(|(kind, bytes)| part(kind, bytes)).collect();
    let config = part("application/vnd.docker.container.image.v1+json", config);
    json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers})
        .to_string()
        .into_bytes()
}
