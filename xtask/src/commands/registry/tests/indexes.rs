//! Indexes: which image of several is read, and what is refused.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::world::{GZIP, IMAGE, World, descriptor, manifest};
use crate::tools::registry as protocol;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// An image that differs from others by its configuration.
fn image(of: &str) -> Vec<u8> {
    manifest(of.as_bytes(), &[(GZIP, b"")])
}

fn entry(kind: &str, bytes: &[u8], platform: Option<&str>) -> Value {
    let found = descriptor(kind, bytes);
    let mut entry = json!({"mediaType": kind, "digest": found.digest, "size": found.size});
    if let Some(platform) = platform {
        let parts: Vec<&str> = platform.split('/').collect();
        entry["platform"] = json!({"os": parts[0], "architecture": parts[1]});
        if let Some(variant) = parts.get(2) {
            entry["platform"]["variant"] = json!(variant);
        }
    }
    entry
}

fn index(kind: &str, entries: &[Value]) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).to_string().into_bytes()
}

/// Reads the last document for a platform: the configuration of the image, which tells it from
/// others, or the error.
fn read(world: &World, platform: &str) -> String {
    let registry = world.open().unwrap();
    let read = registry.manifest("app", "new", platform);
    let read = read.map(|found| {
        let manifest = found.unwrap();
        assert_eq!(manifest.digest, protocol::digest(&manifest.bytes), "its own digest");
        manifest.config.digest
    });
    let mut said = world.said(read);
    said = said.replace(&format!("{} bytes", image("amd").len()), "SIZE bytes");
    for of in ["amd", "arm", "arm6", "arm7", "second"] {
        said = said.replace(&protocol::digest(of.as_bytes()), of);
        said = said.replace(&protocol::digest(&image(of)), &format!("DIGEST-OF-{of}"));
    }
    said
}

#[test]
fn the_image_of_a_platform_is_read_out_of_an_index() {
    let images = ["amd", "arm", "arm6", "arm7", "second"].map(image);
    let [amd, arm, arm6, arm7, second] = &images;
    for kind in [INDEX, LIST] {
        let mut attestation = entry(IMAGE, second, Some("unknown/unknown"));
        attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
        let mut signature = entry(IMAGE, second, Some("linux/amd64"));
        signature["artifactType"] = json!("application/example");
        let all = index(
            kind,
            &[
                attestation,
                signature,
                entry(IMAGE, amd, Some("linux/amd64")),
                entry(IMAGE, second, Some("linux/amd64")),
                entry(IMAGE, arm, Some("linux/arm64/v8")),
                entry(IMAGE, arm6, Some("linux/arm/v6")),
                entry(IMAGE, arm7, Some("linux/arm")),
            ],
        );
        let mut held: Vec<_> = images.iter().map(|image| (IMAGE, image.clone())).collect();
        held.push((kind, all));
        let world = World::with(&held);
        for (platform, expected) in [
            ("linux/amd64", "amd"),
            ("linux/arm64", "arm"),
            ("linux/arm64/v8", "arm"),
            ("linux/aarch64", "arm"),
            ("linux/arm/v6", "arm6"),
            ("linux/arm/v7", "arm7"),
        ] {
            assert_eq!(read(&world, platform), expected, "{platform} in a {kind}");
        }
        expect![
            "1: can't use HOST/team/app:new: it is an index with images for linux/amd64, linux/amd64, linux/arm64/v8, linux/arm/v6, linux/arm, and linux/riscv64 is wanted; publish an image for linux/riscv64, or change [images] platform in environment.toml"
        ]
        .assert_eq(&read(&world, "linux/riscv64"));
    }
}

/// Reads the last of these documents for `linux/amd64`.
fn check(documents: &[(&str, Vec<u8>)], expected: Expect) {
    let mut held = vec![(IMAGE, image("amd")), (IMAGE, image("second"))];
    held.extend_from_slice(documents);
    expected.assert_eq(&read(&World::with(&held), "linux/amd64"));
}

#[test]
fn one_image_without_a_platform_is_taken() {
    let (amd, second) = (image("amd"), image("second"));
    let attestation = entry(IMAGE, &second, Some("unknown/unknown"));
    let without = |bytes: &[u8]| entry(IMAGE, bytes, None);
    check(&[(INDEX, index(INDEX, &[without(&amd), attestation]))], expect!["amd"]);
    check(
        &[(INDEX, index(INDEX, &[without(&amd), without(&second)]))],
        expect![
            "1: can't use HOST/team/app:new: it is an index with images for a platform that it does not name, a platform that it does not name, and linux/amd64 is wanted; publish an image for linux/amd64, or change [images] platform in environment.toml"
        ],
    );
    check(
        &[(INDEX, index(INDEX, &[entry(IMAGE, &amd, Some("linux/arm64"))]))],
        expect![
            "1: can't use HOST/team/app:new: it is an index with images for linux/arm64, and linux/amd64 is wanted; publish an image for linux/amd64, or change [images] platform in environment.toml"
        ],
    );
    check(
        &[(INDEX, index(INDEX, &[]))],
        expect![
            "1: can't use HOST/team/app:new: it is an index with no image in it, and linux/amd64 is wanted; publish an image for linux/amd64, or change [images] platform in environment.toml"
        ],
    );
}

#[test]
fn indexes_in_an_index_are_followed_once() {
    let amd = image("amd");
    let arm = index(INDEX, &[entry(IMAGE, &image("second"), Some("linux/arm64"))]);
    let inner = index(INDEX, &[entry(IMAGE, &amd, Some("linux/amd64"))]);
    let both = [entry(INDEX, &arm, None), entry(INDEX, &inner, None)];
    let outer = index(INDEX, &both);
    let nested = [(INDEX, arm), (INDEX, inner), (INDEX, outer.clone())];
    check(&nested, expect!["amd"]);
    let deeper = index(INDEX, &[entry(INDEX, &outer, Some("linux/amd64"))]);
    let [arm, inner, outer] = nested;
    check(
        &[arm, inner, outer, (INDEX, deeper)],
        expect![
            "1: can't use HOST/team/app:new: it is an index in an index in an index; publish the image without them"
        ],
    );
}

#[test]
fn what_does_not_fit_its_index_is_refused() {
    let amd = image("amd");
    let change = |key: &str, value: Value| {
        let mut entry = entry(IMAGE, &amd, Some("linux/amd64"));
        entry[key] = value;
        vec![(INDEX, index(INDEX, &[entry]))]
    };
    check(
        &change("size", json!(7)),
        expect![
            "1: can't use HOST/team/app:new: its index names DIGEST-OF-amd as application/vnd.docker.distribution.manifest.v2+json of 7 bytes, and it is application/vnd.docker.distribution.manifest.v2+json of SIZE bytes; push it again"
        ],
    );
    check(
        &change("mediaType", json!("application/vnd.oci.image.manifest.v1+json")),
        expect![
            "1: can't use HOST/team/app:new: its index names DIGEST-OF-amd as application/vnd.oci.image.manifest.v1+json of SIZE bytes, and it is application/vnd.docker.distribution.manifest.v2+json of SIZE bytes; push it again"
        ],
    );
    check(
        &change("digest", json!(protocol::digest(b"?"))),
        expect![
            "1: can't use HOST/team/app:new: the registry lacks HOST/team/app@sha256:8a8de823d5ed3e12746a62ef169bcf372be0ca44f0a1236abc35df05d96928e1, which its index names; push it again"
        ],
    );
    check(
        &change("digest", json!("sha512:00")),
        expect![[
            r#"1: can't use HOST/team/app:new: its index names "sha512:00", which is not a sha256 digest"#
        ]],
    );
    let mut both: Value = serde_json::from_slice(&amd).unwrap();
    both["manifests"] = json!([]);
    check(
        &[(IMAGE, both.to_string().into_bytes())],
        expect!["1: can't use HOST/team/app:new: it is an image and an index at once"],
    );
}

#[test]
fn other_bytes_under_the_digest_that_an_index_names_are_refused() {
    use super::faulty::Fault;
    let amd = image("amd");
    let all = index(INDEX, &[entry(IMAGE, &amd, Some("linux/amd64"))]);
    let world = World::with(&[(IMAGE, amd.clone()), (INDEX, all)]);
    let path = format!("GET /manifests/{}", protocol::digest(&amd));
    world.faulty.always(&path, Fault::OtherBytes);
    let said = read(&world, "linux/amd64");
    assert!(said.contains("HOST/team/app@DIGEST-OF-amd are damaged, twice: wanted"), "{said}");
}
