//! The document of a small record, and what holds for that of every record.

use expect_test::expect;
use serde_json::Value;

use super::super::record::Dependency;
use super::super::sample::record;
use super::*;

fn document(record: &Record) -> Value {
    serde_json::from_str(&text(record).unwrap()).unwrap()
}

/// One line for each component and each list.
fn lines(document: &Value) -> String {
    let mut lines = String::new();
    for (key, value) in document.as_object().unwrap() {
        match value.as_array() {
            None => lines.push_str(&format!("{key}: {value}\n")),
            Some(list) => list.iter().for_each(|it| lines.push_str(&format!("{key}: {it}\n"))),
        }
    }
    lines
}

/// Every component's `bom-ref`, the product's last.
fn references(document: &Value) -> Vec<&str> {
    let components = document["components"].as_array().unwrap().iter();
    let all = components.chain([&document["metadata"]["component"]]);
    all.map(|it| it["bom-ref"].as_str().unwrap()).collect()
}

#[test]
fn images_packages_bases_and_dependencies_are_components() {
    expect![[r#"
        $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json"
        bomFormat: "CycloneDX"
        components: {"bom-ref":"base:debian:trixie-slim","name":"debian:trixie-slim","properties":[{"name":"stevedore:content","value":"sha256:aaaaaaaaaaaaaaaa"}],"type":"container"}
        components: {"bom-ref":"image:app","hashes":[{"alg":"SHA-256","content":"1111111111111111111111111111111111111111111111111111111111111111"}],"name":"shop/app","properties":[{"name":"stevedore:fingerprint","value":"f1"},{"name":"stevedore:platform","value":"linux/amd64"},{"name":"stevedore:size_bytes","value":"74100000"},{"name":"stevedore:layer","value":"sha256:b"},{"name":"stevedore:layer","value":"sha256:c"}],"type":"container"}
        components: {"bom-ref":"image:db","hashes":[{"alg":"SHA-256","content":"2222222222222222222222222222222222222222222222222222222222222222"}],"name":"shop/db","properties":[{"name":"stevedore:fingerprint","value":"f2"},{"name":"stevedore:platform","value":"linux/amd64"},{"name":"stevedore:size_bytes","value":"70000000"},{"name":"stevedore:layer","value":"sha256:b"}],"type":"container"}
        components: {"bom-ref":"image:edge","hashes":[{"alg":"SHA-256","content":"3333333333333333333333333333333333333333333333333333333333333333"}],"name":"shop/edge","properties":[{"name":"stevedore:fingerprint","value":"f3"},{"name":"stevedore:platform","value":"linux/amd64"},{"name":"stevedore:size_bytes","value":"9000000"},{"name":"stevedore:layer","value":"sha256:d"},{"name":"stevedore:packages","value":"not known: no package manager"}],"type":"container"}
        components: {"bom-ref":"image:relay:2","name":"relay:2","type":"container"}
        components: {"bom-ref":"lock:app/Cargo.lock","name":"app/Cargo.lock","type":"file"}
        components: {"bom-ref":"pkg:cargo/rand@0.9.2","hashes":[{"alg":"SHA-256","content":"4444444444444444444444444444444444444444444444444444444444444444"}],"name":"rand","purl":"pkg:cargo/rand@0.9.2","type":"library","version":"0.9.2"}
        components: {"bom-ref":"pkg:cargo/zstd-sys@2.0.16%2Bzstd.1.5.7","hashes":[{"alg":"SHA-256","content":"5555555555555555555555555555555555555555555555555555555555555555"}],"name":"zstd-sys","purl":"pkg:cargo/zstd-sys@2.0.16%2Bzstd.1.5.7","type":"library","version":"2.0.16+zstd.1.5.7"}
        components: {"bom-ref":"pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13","name":"libc6","purl":"pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13","type":"library","version":"2.41-12"}
        components: {"bom-ref":"pkg:deb/debian/openssl@3.5.1-1%2Bdeb13u1?distro=debian-13","name":"openssl","purl":"pkg:deb/debian/openssl@3.5.1-1%2Bdeb13u1?distro=debian-13","type":"library","version":"3.5.1-1+deb13u1"}
        components: {"bom-ref":"pkg:deb/debian/store@1:17.2~rc1?distro=debian-13","name":"store","purl":"pkg:deb/debian/store@1:17.2~rc1?distro=debian-13","type":"library","version":"1:17.2~rc1"}
        components: {"bom-ref":"pkg:generic/rand@0.8.5","name":"rand","purl":"pkg:generic/rand@0.8.5","type":"library","version":"0.8.5"}
        compositions: {"aggregate":"unknown","assemblies":["image:edge","image:relay:2"]}
        dependencies: {"dependsOn":["pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13","pkg:deb/debian/openssl@3.5.1-1%2Bdeb13u1?distro=debian-13"],"ref":"image:app"}
        dependencies: {"dependsOn":["pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13","pkg:deb/debian/openssl@3.5.1-1%2Bdeb13u1?distro=debian-13","pkg:deb/debian/store@1:17.2~rc1?distro=debian-13"],"ref":"image:db"}
        dependencies: {"dependsOn":["pkg:cargo/rand@0.9.2","pkg:cargo/zstd-sys@2.0.16%2Bzstd.1.5.7","pkg:generic/rand@0.8.5"],"ref":"lock:app/Cargo.lock"}
        dependencies: {"dependsOn":["base:debian:trixie-slim","image:app","image:db","image:edge","image:relay:2","lock:app/Cargo.lock"],"ref":"release:1.0.0"}
        metadata: {"component":{"bom-ref":"release:1.0.0","name":"shop","purl":"pkg:generic/shop@1.0.0","type":"application","version":"1.0.0"},"timestamp":"2026-11-20T08:00:00Z"}
        serialNumber: "urn:uuid:1cf2e440-b2de-862e-8328-738e77b8bbfd"
        specVersion: "1.6"
        version: 1
    "#]].assert_eq(&lines(&document(&record())));
}

#[test]
fn every_reference_is_of_exactly_one_component_and_the_product_holds_all() {
    let mut record = record();
    // The app's own package, under the name and version of the product, in two lock files.
    let own =
        Dependency { name: "shop".into(), version: "1.0.0".into(), source: None, checksum: None };
    record.dependencies.insert("other/Cargo.lock".into(), vec![own.clone(), own]);
    let document = document(&record);
    let mut references = references(&document);
    let unique: BTreeSet<&str> = references.iter().copied().collect();
    assert_eq!(unique.len(), references.len(), "{references:?}");
    let mut held = BTreeSet::new();
    for it in document["dependencies"].as_array().unwrap() {
        assert!(unique.contains(it["ref"].as_str().unwrap()), "{it}");
        held.extend(it["dependsOn"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()));
    }
    references.pop();
    assert_eq!(held, references.into_iter().collect());
}

#[test]
fn the_same_record_gives_the_same_bytes_and_another_one_another_serial_number() {
    let mut other = record();
    assert_eq!(text(&record()).unwrap(), text(&other).unwrap());
    other.by.name.push('x');
    assert_ne!(document(&other)["serialNumber"], document(&record())["serialNumber"]);
}

#[test]
fn packages_of_alpine_have_its_package_urls() {
    let mut record = record();
    let installed = BTreeMap::from([("musl".to_owned(), "1.2.5-r9".to_owned())]);
    record.images.get_mut("edge").unwrap().packages = Packages::Apk { installed };
    let document = document(&record);
    assert!(references(&document).contains(&"pkg:apk/alpine/musl@1.2.5-r9"));
    assert_eq!(document["compositions"][0]["assemblies"], serde_json::json!(["image:relay:2"]));
}

#[test]
fn names_and_versions_are_encoded_as_package_urls_want_it() {
    assert_eq!(
        purl("deb/debian", "libstdc++6", "1:2.3~rc1+b/1"),
        "pkg:deb/debian/libstdc%2B%2B6@1:2.3~rc1%2Bb%2F1"
    );
    assert_eq!(purl("generic", "@a/ü", "1 2"), "pkg:generic/%40a%2F%C3%BC@1%202");
}
