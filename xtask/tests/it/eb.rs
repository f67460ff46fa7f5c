//! The real EB CLI, in the Python environment that the tests of the local Elastic Beanstalk have
//! too.

use std::process::{Command, Stdio};

use crate::dsl::Project;

#[path = "../../beanstalk/tests/it/tools.rs"]
pub(crate) mod tools;

/// The Python that the EB CLI's own modules are in.
pub(crate) fn python() -> std::path::PathBuf {
    tools::venv().join("bin/python")
}

/// One call of `eb`, in a folder of the project that it finds its bundle in.
pub(crate) struct Eb<'p> {
    pub(crate) project: &'p Project,
    pub(crate) folder: &'p str,
}

impl Eb<'_> {
    /// Its exit code, and what it said.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String) {
        let printed = self.project.xtask(&["beanstalk", "environment"]).succeeds().stdout;
        let exports = printed.lines().filter_map(|line| line.strip_prefix("export "));
        let variables = exports.filter_map(|line| line.split_once('='));
        let output = Command::new(tools::venv().join("bin/eb"))
            .args(arguments)
            .current_dir(self.project.path(self.folder))
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", self.project.scratch())
            .env("PAGER", "cat")
            .envs(variables)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
    }

    #[track_caller]
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> String {
        let (code, said) = self.run(arguments);
        assert_eq!(code, 0, "eb {}:\n{said}", arguments.join(" "));
        said
    }
}
