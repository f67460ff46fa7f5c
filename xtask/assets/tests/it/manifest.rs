//! The manifest, and the compressed files beside the outputs.

use std::io::Read;

use base64::Engine as _;
use sha2::Digest as _;

use crate::dsl::{Project, without_hashes};

#[test]
fn it_names_file_integrity_and_size_of_every_source() {
    let project = Project::with_everything();
    project.build();
    let manifest = project.manifest();
    let sources: Vec<String> = manifest.keys().map(|key| without_hashes(key)).collect();
    let expected = [
        "app.js",
        // What both scripts use: no source's own output.
        "chunks/chunk-#.js",
        "classic.js",
        "img/dot.svg",
        "lib/help.js",
        "note.txt",
        "other.css",
        "photo.jpg",
        "style.scss",
    ];
    assert_eq!(sources, expected);
    for (source, entry) in &manifest {
        let bytes = project.output(&entry.file);
        let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha384::digest(&bytes));
        assert_eq!(entry.integrity, format!("sha384-{hash}"), "{source}");
        assert_eq!(entry.size, bytes.len(), "{source}");
    }
    let text = String::from_utf8(project.output("manifest.json")).unwrap();
    assert!(text.ends_with("}\n") && text.lines().count() > 8, "one can read it:\n{text}");
}

#[test]
fn an_integrity_is_what_openssl_says() {
    let project = Project::with_everything();
    project.build();
    let Ok(openssl) = which::which("openssl") else { return };
    let entry = &project.manifest()["style.scss"];
    let digest = std::process::Command::new(openssl)
        .args(["dgst", "-sha384", "-binary"])
        .arg(project.path("dist").join(&entry.file))
        .output()
        .unwrap();
    let hash = base64::engine::general_purpose::STANDARD.encode(digest.stdout);
    assert_eq!(entry.integrity, format!("sha384-{hash}"));
}

#[test]
fn no_source_no_output() {
    let project = Project::new();
    project.build();
    assert_eq!(project.dist().into_keys().collect::<Vec<_>>(), ["manifest.json"]);
    assert!(project.manifest().is_empty());
}

#[test]
fn compressed_files_hold_the_same_and_are_smaller() {
    let project = Project::with_everything();
    project.file("text/long.txt", "again and again\n".repeat(500)).build();
    let dist = project.dist();
    let mut compressed = 0;
    for (name, bytes) in &dist {
        let mut whole = Vec::new();
        let original = match name.rsplit_once('.').unwrap() {
            (original, "gz") => {
                flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut whole).unwrap();
                assert_eq!(bytes[4..8], [0; 4], "{name} holds a time");
                original
            }
            (original, "br") => {
                brotlic::DecompressorReader::new(&bytes[..]).read_to_end(&mut whole).unwrap();
                original
            }
            _ => continue,
        };
        assert_eq!(whole, dist[original], "{name}");
        assert!(bytes.len() < whole.len(), "{name} is not smaller");
        compressed += 1;
    }
    assert!(compressed > 15, "{compressed}");
}

#[test]
fn what_would_not_get_smaller_and_what_is_compressed_already_is_left_alone() {
    let project = Project::with_everything();
    project.file("picture.png", vec![b'a'; 5000]).file("tiny.css", "a{top:0}").build();
    let dist = project.dist();
    for source in ["note.txt", "photo.jpg", "picture.png"] {
        for suffix in [".br", ".gz"] {
            assert!(!dist.contains_key(&format!("{}{suffix}", project.name(source))), "{source}");
        }
    }
}
