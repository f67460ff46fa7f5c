//! The real clients: the EB CLI, boto3 and the AWS CLI, in a Python environment of their own.
//!
//! It is made once below the target directory; `STEVEDORE_EB_VENV` names one that is there already.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

/// The client that the texts and traps of the server are made for. The others may be any that go
/// with it.
const PACKAGES: [&str; 3] = ["awsebcli==3.27.5", "boto3", "awscli"];

/// Its directory.
pub(crate) fn venv() -> &'static Path {
    static VENV: OnceLock<PathBuf> = OnceLock::new();
    VENV.get_or_init(|| match std::env::var_os("STEVEDORE_EB_VENV") {
        Some(given) => PathBuf::from(given),
        None => once("eb-venv", make),
    })
}

/// Makes something below the target directory unless it is there; of several processes one does.
pub(crate) fn once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = fs::File::create(target.join(format!("{name}.lock"))).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let (directory, done) = (target.join(name), target.join(format!("{name}.done")));
    if !done.exists() {
        // Cut off in its middle, it cannot be trusted.
        let _ = fs::remove_dir_all(&directory);
        make(&directory);
        fs::write(done, "").unwrap();
    }
    directory
}

fn make(directory: &Path) {
    run(Command::new("python3").args(["-m", "venv"]).arg(directory));
    let mut pip = Command::new(directory.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
    run(&mut pip);
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{said}");
}
