//! Archives as engines of both stores write them.

use std::io::Write as _;

use serde_json::json;

use super::*;
use crate::tools::registry::digest;

/// An archive that is made file by file.
struct Made(tar::Builder<Vec<u8>>);

impl Made {
    fn new() -> Made {
        Made(tar::Builder::new(Vec::new()))
    }

    fn file(&mut self, path: &str, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        self.0.append_data(&mut header, path, bytes).unwrap();
    }

    /// Under the name that its bytes have: its digest.
    fn blob(&mut self, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        self.file(&path(&digest), bytes);
        digest
    }

    fn json(&mut self, value: &Value) -> String {
        self.blob(value.to_string().as_bytes())
    }

    fn parse(self, id: &str) -> Result<Parts> {
        let bytes = self.0.into_inner().unwrap();
        Ok(parse(&bytes[..], &[id.to_owned()])?.remove(id).unwrap())
    }
}

fn path(digest: &str) -> String {
    digest.replace("sha256:", "blobs/sha256/")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const LAYER: &[u8] = b"the files of a layer";
const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const OCI_PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image in an index.
fn entry(digest: &str, os: &str) -> Value {
    json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": 400,
        "platform": {"os": os, "architecture": os},
    })
}

fn configuration() -> Value {
    json!({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(LAYER)]}})
}

fn expected(config: String) -> Parts {
    let layer = Layer { diff_id: digest(LAYER), size: LAYER.len() as u64 };
    Parts { config, layers: vec![layer] }
}

/// A manifest with the one layer: its digest, and that of the configuration.
fn manifest(made: &mut Made, layer: &[u8], kind: &str) -> (String, String) {
    let layer = made.blob(layer);
    let config = made.json(&configuration());
    let manifest = made.json(&json!({
        "schemaVersion": 2,
        "config": {"digest": config},
        "layers": [{"mediaType": kind, "digest": layer}],
    }));
    (manifest, config)
}

#[test]
fn the_graph_drivers_store_names_an_image_by_its_configuration() {
    let mut made = Made::new();
    let layer = made.blob(LAYER);
    let config = made.json(&configuration());
    let list = json!([{"Config": path(&config), "Layers": [path(&layer)]}]);
    made.file("manifest.json", list.to_string().as_bytes());
    assert_eq!(made.parse(&config).unwrap(), expected(config));
}

#[test]
fn containerds_store_names_an_image_by_its_manifest_and_has_compressed_layers() {
    for (layer, kind) in [(gzip(LAYER), OCI_GZIP), (LAYER.to_vec(), OCI_PLAIN)] {
        let mut made = Made::new();
        let (manifest, config) = manifest(&mut made, &layer, kind);
        assert_eq!(made.parse(&manifest).unwrap(), expected(config));
    }
}

#[test]
fn an_index_with_an_attestation_leads_to_its_image() {
    let mut made = Made::new();
    let (manifest, config) = manifest(&mut made, &gzip(LAYER), OCI_GZIP);
    let attestation = made.json(&json!({"schemaVersion": 2, "layers": []}));
    let elsewhere = digest(b"another platform, which is not here");
    let index = made.json(&json!({"manifests": [
        entry(&attestation, "unknown"), entry(&elsewhere, "plan9"), entry(&manifest, "linux"),
    ]}));
    assert_eq!(made.parse(&index).unwrap(), expected(config));
}

#[test]
fn of_an_index_with_several_images_the_list_says_which_is_meant() {
    let both = || {
        let mut made = Made::new();
        let (first, config) = manifest(&mut made, &gzip(LAYER), OCI_GZIP);
        let mut other = configuration();
        other["os"] = "plan9".into();
        let other = made.json(&other);
        let layer = json!([{"mediaType": OCI_GZIP, "digest": digest(&gzip(LAYER))}]);
        let second = made.json(&json!({"config": {"digest": other}, "layers": layer}));
        let index =
            made.json(&json!({"manifests": [entry(&second, "plan9"), entry(&first, "linux")]}));
        (made, index, config)
    };
    let (mut made, index, config) = both();
    let list = json!([{"Config": path(&config), "Layers": []}]);
    made.file("manifest.json", list.to_string().as_bytes());
    assert_eq!(made.parse(&index).unwrap(), expected(config));
    let (mut made, index, _) = both();
    made.file("manifest.json", b"[]");
    let error = format!("{:#}", made.parse(&index).unwrap_err());
    assert!(error.contains("no image of its index"), "{error}");
}

#[test]
fn of_an_image_without_its_parts_the_configuration_is_known() {
    // What Docker 26.1 writes of an index of which it has one platform.
    let mut made = Made::new();
    let config = digest(configuration().to_string().as_bytes());
    let layer = json!([{"mediaType": OCI_GZIP, "digest": digest(&gzip(LAYER))}]);
    let manifest = made.json(&json!({"config": {"digest": config}, "layers": layer}));
    let other = digest(b"another platform, which is not here");
    let index =
        made.json(&json!({"manifests": [entry(&manifest, "linux"), entry(&other, "plan9")]}));
    let bytes = made.0.into_inner().unwrap();
    let ids = [index.clone()];
    assert_eq!(configs(&bytes[..], &ids).unwrap(), BTreeMap::from([(index, config)]));
    assert!(parse(&bytes[..], &ids).is_err());
}

#[test]
fn an_image_that_is_not_what_its_names_say_is_refused() {
    let words = |made: Made, id: &str| format!("{:#}", made.parse(id).unwrap_err());
    let mut made = Made::new();
    let (other, _) = manifest(&mut made, &gzip(b"other files"), OCI_GZIP);
    assert!(words(made, &other).contains("not those that its configuration"), "other files");
    let mut made = Made::new();
    let (damaged, _) = manifest(&mut made, &gzip(LAYER)[..20], OCI_GZIP);
    assert!(words(made, &damaged).contains("can't be unpacked"), "damaged");
    let mut made = Made::new();
    let (plain, _) = manifest(&mut made, LAYER, OCI_GZIP);
    assert!(words(made, &plain).contains("can't be unpacked"), "not compressed");
    let id = digest(b"an image that is not here");
    assert!(words(Made::new(), &id).contains("is missing"), "missing");
}
