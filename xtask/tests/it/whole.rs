//! What must be true of a release whatever happened while it was made, looked at from outside.

use std::process::Command;

use fingerprint::sha256;
use serde_json::Value;

use crate::dsl::docker;
use crate::registry::Registry;
use crate::shop::Shop;

/// The images of every shop.
pub(crate) const IMAGES: [&str; 2] = ["app", "base"];

/// What somebody works on: nothing of it may change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Desk {
    head: String,
    index: String,
    status: String,
    main: String,
}

impl Desk {
    pub(crate) fn of(shop: &Shop) -> Desk {
        Desk {
            head: shop.project.read(".git/HEAD"),
            index: shop.git(&["ls-files", "--stage"]),
            status: shop.git(&["status", "--porcelain"]),
            main: shop.git(&["rev-parse", "main"]),
        }
    }
}

/// Where an image lies in the registry.
fn url(shop: &Shop, registry: &Registry, image: &str) -> String {
    let settings = shop.project.read("environments/prod/environment.toml");
    let shelf = settings.split('"').nth(1).unwrap().split_once('/').unwrap().1;
    format!("http://{}/v2/{shelf}/{}/{image}", registry.address, shop.project.name)
}

/// A manifest in the registry: its digest, and what it says.
fn manifest(
    shop: &Shop,
    registry: &Registry,
    image: &str,
    version: &str,
) -> Option<(String, Value)> {
    let url = format!("{}/manifests/{version}", url(shop, registry, image));
    let accept = "Accept: application/vnd.docker.distribution.manifest.v2+json";
    let arguments = ["--silent", "--fail", "--header", accept, &url];
    let output = Command::new("curl").args(arguments).output().unwrap();
    let bytes = output.status.success().then_some(output.stdout)?;
    Some((sha256(&bytes), serde_json::from_slice(&bytes).unwrap()))
}

/// Digest of the manifest of every image that the registry has of a version.
pub(crate) fn shelf(shop: &Shop, registry: &Registry, version: &str) -> Vec<Option<String>> {
    let digest = |image| manifest(shop, registry, image, version).map(|(digest, _)| digest);
    IMAGES.into_iter().map(digest).collect()
}

/// That the images of a record can be pulled, with every part of them.
#[track_caller]
fn assert_pullable(shop: &Shop, registry: &Registry, record: &Value) {
    let version = record["version"].as_str().unwrap();
    for image in IMAGES {
        let (_, found) = manifest(shop, registry, image, version)
            .unwrap_or_else(|| panic!("{version}: the registry has no {image}"));
        assert_eq!(found["config"]["digest"], record["images"][image]["config"], "{image}");
        let layers = found["layers"].as_array().unwrap();
        for part in layers.iter().chain([&found["config"]]) {
            let digest = part["digest"].as_str().unwrap();
            let url = format!("{}/blobs/{digest}", url(shop, registry, image));
            let arguments = ["--silent", "--fail", "--head", "--output", "/dev/null", &url];
            let there = Command::new("curl").args(arguments).status().unwrap();
            assert!(there.success(), "{version}: the registry has no {digest} of {image}");
        }
    }
}

/// Where a tag is, its images are: the promise of every moment. Whether the tag is there.
#[track_caller]
pub(crate) fn assert_promise(shop: &Shop, registry: &Registry, version: &str) -> bool {
    if shop.git_there(&["tag", "--list", &format!("v{version}")]).is_empty() {
        return false;
    }
    let text = shop.git_there(&["show", &format!("v{version}:releases/{version}.json")]);
    assert_pullable(shop, registry, &serde_json::from_str(&text).unwrap());
    true
}

/// That a published release is all there, here and there, and that nothing else is left of it.
#[track_caller]
pub(crate) fn assert_whole(
    shop: &Shop,
    registry: &Registry,
    version: &str,
    commit: &str,
    fingerprints: Option<&[String]>,
) {
    let tag = format!("v{version}");
    assert!(assert_promise(shop, registry, version), "{tag} is not there");
    let [here, there] = [shop.git(&["rev-parse", &tag]), shop.git_there(&["rev-parse", &tag])];
    assert_eq!(here, there, "one {tag}");
    assert_eq!(shop.git(&["cat-file", "-t", &tag]), "tag", "annotated");
    assert_eq!(shop.git(&["rev-parse", &format!("{tag}^@")]), commit, "one parent");
    let record = shop.record(version);
    assert_eq!(record["commit"], commit);
    for (image, fingerprint) in IMAGES.iter().zip(fingerprints.into_iter().flatten()) {
        assert_eq!(record["images"][image]["fingerprint"], fingerprint.as_str(), "{image}");
    }
    let branch = format!("release-v{}", version.rsplit_once('.').unwrap().0);
    assert_eq!(shop.git(&["rev-parse", &branch]), commit, "{branch} here");
    assert_eq!(shop.git_there(&["rev-parse", &branch]), commit, "{branch} there");
    assert_no_leftovers(shop, registry, &record);
}

/// That a killed run has left nothing behind, once its work was done by another.
#[track_caller]
fn assert_no_leftovers(shop: &Shop, registry: &Registry, record: &Value) {
    let mut left: Vec<String> = Vec::new();
    let claims = shop.git_there(&["for-each-ref", "--format=%(refname)", "refs/heads/stevedore"]);
    left.extend(claims.lines().map(|claim| format!("there: {claim}")));
    let claims = shop.git(&["for-each-ref", "--format=%(refname)"]);
    let claims = claims.lines().filter(|name| name.contains("stevedore"));
    left.extend(claims.map(|claim| format!("here: {claim}")));
    for directory in [shop.project.path(".git"), shop.project.path(".stevedore"), shop.remote()] {
        for entry in walkdir::WalkDir::new(directory) {
            let Ok(entry) = entry else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path().display().to_string();
            let ours = path.contains("/.git/stevedore/") || path.contains("/.stevedore/");
            let temporary = [".tmp", ".new-", "build-"].iter().any(|it| name.starts_with(it));
            if name.ends_with(".journal")
                || name.ends_with(".names")
                || name.ends_with(".lock") && !ours
                || temporary && ours
                || path.ends_with(".stevedore/release/tree")
                || path.contains("/.stevedore/questions/")
            {
                left.push(path);
            }
        }
    }
    let names = docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
    let team = format!("{}/team/{}/", registry.address, shop.project.name);
    let own = format!("{}/", shop.project.name);
    let is_left = |name: &&str| {
        name.starts_with(&team) || name.starts_with(&own) && name.contains(":building")
    };
    left.extend(names.lines().filter(is_left).map(|name| format!("image {name}")));
    left.extend(containers(shop, record).into_iter().map(|it| format!("container {it}")));
    assert!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
}

/// Containers of a shop's images.
fn containers(shop: &Shop, record: &Value) -> Vec<String> {
    let ids = docker(&["container", "ls", "--all", "--quiet", "--no-trunc"]);
    let format = "{{.Image}} {{.Config.Image}} {{.Name}}";
    let arguments = ["container", "inspect", "--format", format];
    let arguments: Vec<&str> = arguments.into_iter().chain(ids.lines()).collect();
    let mut ours = vec![format!("{}/", shop.project.name)];
    let config = |image| record["images"][image]["config"].as_str().unwrap().to_owned();
    ours.extend(IMAGES.map(config));
    let listed = docker(&arguments);
    let is_ours = |line: &&str| ours.iter().any(|part| line.contains(part.as_str()));
    listed.lines().filter(is_ours).map(str::to_owned).collect()
}
