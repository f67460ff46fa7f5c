//! The zip of a bundle beside the one that `eb` makes of a directory with the same files.
//!
//! Of both, only the archive is measured: ours with its hash, in a process of its own with the
//! very sources of the tool; the EB CLI's inside its Python, without the time that it takes to
//! start.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::{Bench, median, row};

#[path = "../../src/commands/bundle/archive.rs"]
mod archive;
#[path = "../../beanstalk/tests/it/tools.rs"]
mod tools;

use archive::{Content, Entry};

/// The goal's tree.
const FILES: usize = 10_000;
const BYTES: usize = 400_000_000;
/// Files in one directory.
const FAN: usize = 100;

const EB: &str = "\
import sys, time
from ebcli.core import fileoperations, io
io.log_info = lambda message: None  # It would print what eb writes to its log.
started = time.perf_counter()
fileoperations.zip_up_folder(sys.argv[1], sys.argv[2])
print(time.perf_counter() - started)
";

pub(super) fn measure(bench: &Bench) {
    let (root, out) = (bench.directory.path().join("files"), bench.directory.path().join("zip"));
    make(&root);
    let python = tools::venv().join("bin/python");
    let me = std::env::current_exe().unwrap();
    let (root, out) = (root.to_str().unwrap(), out.to_str().unwrap());
    let measured = |command: &mut Command| -> f64 {
        let _ = fs::remove_file(out);
        let output = command.output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}");
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    let (mut ours, mut peer, mut sizes) = (Vec::new(), Vec::new(), (0, 0));
    // In turns: the machine is not the same from minute to minute.
    for _ in 0..3 {
        peer.push(measured(Command::new(&python).args(["-c", EB, root, out])));
        sizes.1 = fs::metadata(out).unwrap().len();
        ours.push(measured(Command::new(&me).args(["--zip", root, out])));
        sizes.0 = fs::metadata(out).unwrap().len();
    }
    let middle = |mut runs: Vec<f64>| median(runs.len(), || runs.pop().unwrap());
    row("zip of 10,000 files, 400 MB; `eb`'s own", middle(ours), middle(peer), "≤ 0.5");
    println!("| its size | {} MB | {} MB | | |", sizes.0 / 1_000_000, sizes.1 / 1_000_000);
    let _ = fs::remove_dir_all(root);
}

/// Half of it is text, half is what does not get smaller.
fn make(root: &Path) {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let letter = |number: u64| b'a' + (number % 26) as u8;
    let words: Vec<Vec<u8>> = (0..3000)
        .map(|_| (0..2 + next() % 9).map(|_| letter(next())).chain([b' ']).collect())
        .collect();
    for number in 0..FILES {
        let mut content = Vec::new();
        while content.len() < BYTES / FILES {
            match number % 2 {
                0 => content.extend(next().to_le_bytes()),
                _ => content.extend(&words[next() as usize % words.len()]),
            }
        }
        content.truncate(BYTES / FILES);
        let path = root.join(format!(".platform/files/{}/file{number}", number / FAN));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Writes the archive of a directory; prints the seconds.
pub(super) fn zip_once(root: &Path, out: &Path) {
    let started = Instant::now();
    let mut entries = Vec::new();
    for found in walkdir::WalkDir::new(root) {
        let found = found.unwrap();
        if found.file_type().is_file() {
            let name = found.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let size = found.metadata().unwrap().len();
            let content = Content::File(PathBuf::from(found.path()), size);
            entries.push(Entry { name, executable: false, content });
        }
    }
    let content = Content::Text("{}\n".into());
    entries.push(Entry { name: "docker-compose.yml".into(), executable: false, content });
    let mut file = fs::File::create_new(out).unwrap();
    archive::write(&mut file, entries, u64::MAX, &|| Ok(())).unwrap();
    println!("{}", started.elapsed().as_secs_f64());
}
