//! What registries that ran for it answered: read as they gave it.

use expect_test::{Expect, expect};
use serde_json::json;

use super::replay::Replay;
use super::world::World;
use crate::commands::registry::{Registry, open_within};
use crate::tools::registry::Manifest;

/// Opens the registry that a text is of, with docker's login `me:s3cret` or without; gives it to
/// `ask` and compares what that says, digests in short.
fn check(text: &str, login: bool, ask: impl Fn(&Registry<'_>) -> String, expected: Expect) {
    let (replay, world) = (Replay::new(text), World::new());
    if login {
        let auths = json!({ &replay.address: { "auth": "bWU6czNjcmV0" } });
        world.docker_login(&json!({ "auths": auths }));
    }
    let opened = open_within(&world.ctx, &format!("{}/team", replay.address), world.patience);
    let said = match opened {
        Ok(registry) => ask(&registry),
        Err(error) => format!("{error:#}"),
    };
    let mut words: Vec<String> = Vec::new();
    for word in said.replace(&replay.address, "HOST").split(' ') {
        let (before, hash) = word.split_once("sha256:").unwrap_or((word, ""));
        let rest = hash.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        let short = &hash[..hash.len().min(8)];
        words.push(if hash.is_empty() { word.into() } else { format!("{before}{short}{rest}") });
    }
    expected.assert_eq(&words.join(" "));
}

/// One line for each name and platform: what the image there is, with the size of its files.
fn images(registry: &Registry<'_>, names: &[(&str, &str)]) -> String {
    let line = |(reference, platform): &(&str, &str)| {
        let said = match registry.manifest("app", reference, platform) {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(manifest)) => described(registry, &manifest),
            Err(error) => format!("{error:#}"),
        };
        format!("{reference} {platform}: {said}")
    };
    names.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn described(registry: &Registry<'_>, manifest: &Manifest) -> String {
    let layer = &manifest.layers[0];
    let kind = layer.media_type.rsplit('.').next().unwrap_or_default();
    let has = match registry.has_blob("app", layer) {
        Ok(true) => match registry.layer("app", layer) {
            Ok(layer) => format!("{} bytes {}", layer.size, layer.diff_id),
            Err(error) => format!("{error:#}"),
        },
        Ok(false) => "which is not there".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    format!("{} with a layer {kind} of {has}", manifest.digest)
}

#[test]
fn debians_docker_registry() {
    check(
        include_str!("answers/docker-registry.txt"),
        false,
        |registry| {
            let names = [
                ("schema2", "linux/amd64"),
                ("oci", "linux/amd64"),
                ("attested", "linux/amd64"),
                ("attested", "linux/arm64"),
                ("several", "linux/amd64"),
                ("several", "linux/arm64"),
                ("several", "linux/arm64/v8"),
                ("several", "linux/arm/v7"),
                ("several", "linux/arm/v6"),
                ("list", "linux/arm/v6"),
                ("list", "linux/riscv64"),
                ("zstd", "linux/amd64"),
                ("unknown", "linux/amd64"),
            ];
            images(registry, &names)
        },
        expect![[r#"
            schema2 linux/amd64: 8c5a35a5 with a layer gzip of 2048 bytes d33ff282
            oci linux/amd64: 1156ad76 with a layer tar+gzip of 2048 bytes d33ff282
            attested linux/amd64: 1156ad76 with a layer tar+gzip of 2048 bytes d33ff282
            attested linux/arm64: can't use HOST/team/app:attested: it is an index with images for linux/amd64, and linux/arm64 is wanted; publish an image for linux/arm64, or change [images] platform in environment.toml
            several linux/amd64: 1156ad76 with a layer tar+gzip of 2048 bytes d33ff282
            several linux/arm64: 1af21e40 with a layer tar+gzip of 2048 bytes d33ff282
            several linux/arm64/v8: 1af21e40 with a layer tar+gzip of 2048 bytes d33ff282
            several linux/arm/v7: c790fda9 with a layer tar+gzip of 2048 bytes d33ff282
            several linux/arm/v6: can't use HOST/team/app:several: it is an index with images for linux/amd64, linux/arm64, linux/arm/v7, and linux/arm/v6 is wanted; publish an image for linux/arm/v6, or change [images] platform in environment.toml
            list linux/arm/v6: ac6411e0 with a layer gzip of 2048 bytes d33ff282
            list linux/riscv64: can't use HOST/team/app:list: it is an index with images for linux/amd64, linux/arm64, linux/arm/v6, and linux/riscv64 is wanted; publish an image for linux/riscv64, or change [images] platform in environment.toml
            zstd linux/amd64: 09c410a6 with a layer tar+zstd of 2048 bytes d33ff282
            unknown linux/amd64: nothing"#]],
    );
}

#[test]
fn a_registry_of_crates_io() {
    let ask = |registry: &Registry<'_>| {
        let names = [("pushed", "linux/amd64"), ("oci", "linux/amd64"), ("unknown", "linux/amd64")];
        images(registry, &names)
    };
    let text = include_str!("answers/container-registry.txt");
    check(
        text,
        true,
        ask,
        expect![[r#"
        pushed linux/amd64: 8c5a35a5 with a layer gzip of 2048 bytes d33ff282
        oci linux/amd64: 1156ad76 with a layer tar+gzip of 2048 bytes d33ff282
        unknown linux/amd64: nothing"#]],
    );
    check(
        text,
        false,
        ask,
        expect![
            "the registry HOST does not let us read HOST/team (401); log in with `docker login HOST`"
        ],
    );
}

#[test]
fn debians_docker_registry_with_accounts() {
    let ask = |registry: &Registry<'_>| images(registry, &[("oci", "linux/amd64")]);
    let text = include_str!("answers/docker-registry-accounts.txt");
    check(
        text,
        false,
        ask,
        expect![
            "the registry HOST does not let us read HOST/team (401: UNAUTHORIZED authentication required); log in with `docker login HOST`"
        ],
    );
    check(
        text,
        true,
        ask,
        expect![
            "the registry HOST does not let us read HOST/team (401: UNAUTHORIZED authentication required); log in with `docker login HOST`"
        ],
    );
    let text = include_str!("answers/docker-registry-tokens.txt");
    check(
        text,
        false,
        ask,
        expect![
            "oci linux/amd64: the registry HOST does not let us read HOST/team/app (401: UNAUTHORIZED authentication required); log in with `docker login HOST`"
        ],
    );
}
