//! The compilers and packages that the tests use, from the npm registry: each fetched once into the
//! target directory and compared with its integrity.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha512};

/// What `cargo xtask` uses where a project pins nothing else.
const PINS: &str = include_str!("../../../src/project/compilers.toml");

/// The package of dart-sass, and the program esbuild.
pub(crate) fn compilers() -> &'static (PathBuf, PathBuf) {
    static HERE: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    HERE.get_or_init(|| {
        let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
        let pins: toml::Table = PINS.parse().unwrap();
        let pinned = |section: &str, name: &str| {
            let version = pins[section]["version"].as_str().unwrap();
            package(name, version, pins[section]["integrity"][name].as_str().unwrap()).join(name)
        };
        let sass = pinned("sass", &format!("sass-embedded-linux-{arch}"));
        let esbuild = pinned("esbuild", &format!("@esbuild/linux-{arch}"));
        (sass, esbuild.join("bin/esbuild"))
    })
}

/// The load path of a package: a directory that holds it by its name, and nothing else.
pub(crate) fn package(name: &str, version: &str, integrity: &str) -> PathBuf {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
    fs::create_dir_all(&parent).unwrap();
    let place = parent.join(format!("{}@{version}", name.replace('/', "+")));
    let lock = fs::File::create(place.with_extension("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    if !place.join("whole").exists() {
        let _ = fs::remove_dir_all(&place);
        fetch(&place, name, version, integrity);
    }
    place
}

fn fetch(place: &Path, name: &str, version: &str, integrity: &str) {
    assert!(which::which("npm").is_ok(), "no npm here to get {name}: apt-get install npm");
    let directory = place.join(name);
    fs::create_dir_all(&directory).unwrap();
    let wanted = format!("{name}@{version}");
    let answer = Command::new("npm")
        .args(["pack", &wanted, "--ignore-scripts", "--json", "--pack-destination"])
        .arg(place)
        .output()
        .unwrap();
    assert!(answer.status.success(), "{wanted}: {}", String::from_utf8_lossy(&answer.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    let archive = place.join(answer[0]["filename"].as_str().unwrap());
    let hash = Sha512::digest(fs::read(&archive).unwrap());
    assert_eq!(format!("sha512-{}", BASE64.encode(hash)), integrity, "{wanted}");
    let tar = Command::new("tar")
        .args(["--extract", "--gzip", "--strip-components", "1", "--no-same-owner", "--file"])
        .arg(&archive)
        .arg("--directory")
        .arg(&directory)
        .status();
    assert!(tar.unwrap().success(), "{wanted}");
    fs::remove_file(archive).unwrap();
    fs::write(place.join("whole"), "").unwrap();
}
