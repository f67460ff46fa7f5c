//! A project that is released: a git repository with a remote one, `dev` and `prod`, and a registry.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dsl::{Answer, Project, docker};

/// One service on one image of our own, under git, as somebody works on it.
pub(crate) struct Shop {
    pub(crate) project: Project,
    remote: tempfile::TempDir,
}

impl Shop {
    /// Everything is committed and pushed; `registry` is `HOST:PORT`.
    pub(crate) fn new(registry: &str) -> Shop {
        Shop::of(Project::with_stack(), registry)
    }

    /// Like [`Shop::new`], with the project in a directory of its repository.
    pub(crate) fn below(directory: &str, registry: &str) -> Shop {
        let mut project = Project::with_stack();
        project.move_below(directory);
        Shop::of(project, registry)
    }

    fn of(project: Project, registry: &str) -> Shop {
        project
            .file(
                "environments/prod/environment.toml",
                format!("[registry]\nrepository = \"{registry}/team\"\n"),
            )
            .file("environments/dev/environment.toml", "")
            .file(".gitignore", "/.stevedore\n/fake\n/calls\n/environments/*/.env\n");
        let remote = tempfile::tempdir().unwrap();
        let shop = Shop { project, remote };
        git(shop.project.top(), &["init", "--quiet", "--initial-branch", "main"]);
        shop.git(&["config", "user.name", "Ada"]);
        shop.git(&["config", "user.email", "ada@example.org"]);
        let remote = shop.remote().display().to_string();
        let bare = ["init", "--quiet", "--bare", "--initial-branch", "main", &remote];
        git(shop.remote.path(), &bare);
        shop.git(&["remote", "add", "origin", &remote]);
        shop.commit("the beginning");
        shop
    }

    /// The bare repository that everybody has in common.
    pub(crate) fn remote(&self) -> PathBuf {
        self.remote.path().join("shop.git")
    }

    /// git in the project: its stdout; it must succeed.
    #[track_caller]
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(self.project.root(), arguments)
    }

    /// git in the remote repository.
    #[track_caller]
    pub(crate) fn git_there(&self, arguments: &[&str]) -> String {
        git(&self.remote(), arguments)
    }

    /// Commits all files and pushes the branch: the commit.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["push", "--quiet", "--force", "origin", "HEAD"]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn release(&self, version: &str) -> Answer {
        self.project.xtask(&["release", version])
    }

    pub(crate) fn publish(&self, version: &str) -> Answer {
        self.project.xtask(&["publish", version, "--yes"])
    }

    pub(crate) fn verify(&self, version: &str) -> Answer {
        self.project.xtask(&["release", "verify", version])
    }

    /// The record of a release, out of its tag.
    #[track_caller]
    pub(crate) fn record(&self, version: &str) -> serde_json::Value {
        let text = self.git(&["show", &format!("v{version}:./releases/{version}.json")]);
        serde_json::from_str(&text).unwrap()
    }

    /// The digest of the configuration of a released image.
    pub(crate) fn config(&self, version: &str, image: &str) -> String {
        self.record(version)["images"][image]["config"].as_str().unwrap().to_owned()
    }

    /// The name that a released image has in the engine.
    pub(crate) fn name(&self, version: &str, image: &str) -> String {
        format!("{}/{image}:{version}", self.project.name)
    }

    /// Forgets a released image under all of its names, as if on another machine.
    pub(crate) fn forget_image(&self, version: &str, image: &str) {
        let name = self.name(version, image);
        let id = docker(&["image", "inspect", "--format", "{{.Id}}", &name]);
        docker(&["image", "rm", "--force", id.trim()]);
    }

    /// Every branch and tag, here and there: `NAME OBJECT` lines.
    pub(crate) fn references(&self) -> String {
        let format = "--format=%(refname) %(objectname)";
        let here = self.git(&["for-each-ref", format, "refs/heads", "refs/tags"]);
        here + "\n--\n" + &self.git_there(&["for-each-ref", format])
    }

    /// Forgets the images of the project, as if on another machine.
    pub(crate) fn forget_images(&self) {
        let pattern = format!("reference={}/*", self.project.name);
        let list = docker(&["image", "ls", "--quiet", "--no-trunc", "--filter", &pattern]);
        let ids: std::collections::BTreeSet<&str> = list.lines().collect();
        for id in ids {
            docker(&["image", "rm", "--force", id]);
        }
    }
}

/// Runs git somewhere, whoever calls: its stdout without the last line's end.
#[track_caller]
pub(crate) fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(directory).args(arguments).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {words}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// The digest of an image's configuration, as the archive that the engine writes of it says.
pub(crate) fn configuration(reference: &str) -> String {
    let archive = tempfile::NamedTempFile::new().unwrap();
    let mut save = Command::new("docker");
    save.args(["image", "save", "--output"]).arg(archive.path()).arg(reference);
    let saved = save.output().unwrap();
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    configuration_in(archive.path())
}

/// The same, of the one image in an archive.
pub(crate) fn configuration_in(archive: &Path) -> String {
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--to-stdout", "--file"]).arg(archive).arg("manifest.json");
    let list = tar.output().unwrap().stdout;
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    let path = list[0]["Config"].as_str().unwrap();
    format!("sha256:{}", path.rsplit('/').next().unwrap().trim_end_matches(".json"))
}
