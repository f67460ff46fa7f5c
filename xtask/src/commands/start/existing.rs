//! A stack that was started before: found by its files, or by the labels of its containers where
//! the files cannot be used any more. So what runs can always be seen and stopped.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};

use super::{LABEL_ENVIRONMENT, LABEL_HOME, LABEL_PROJECT, checkout, containers, labelled};
use crate::commands::{doctor, env};
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::project::stack::Stack;
use crate::tools::compose::{self, Target};
use crate::tools::docker_container::Container;

/// Longest problem that is shown in one line, in characters.
const MAX_LINE: usize = 300;

/// The running (or stopped) stack of an environment: no image is looked at or built.
pub(crate) struct Existing {
    pub(crate) target: Target,
    /// Nothing where the files cannot be read.
    pub(crate) stack: Option<Stack>,
    /// What is wrong with the files; then `target` names none.
    pub(crate) problem: Option<anyhow::Error>,
    /// Other compose projects that have containers of this environment: it was renamed since.
    pub(crate) former: BTreeSet<String>,
    /// Those of the project, not of the former ones.
    pub(crate) containers: Vec<Container>,
}

impl Existing {
    /// For what cannot do without the files.
    pub(crate) fn with_files(self) -> Result<(Stack, Target)> {
        match (self.problem, self.stack) {
            (None, Some(stack)) => Ok((stack, self.target)),
            (Some(problem), _) => Err(problem),
            (None, None) => Err(exit::usage("the compose files cannot be read")),
        }
    }

    /// Refuses names that are not services, by the files or else by the containers.
    pub(crate) fn check_services(&self, services: &[String]) -> Result<()> {
        if let Some(stack) = &self.stack {
            return env::check_services(stack, services);
        }
        let known = self.containers.iter().map(|it| it.service().to_owned()).collect();
        services.iter().try_for_each(|service| crate::project::known("service", service, &known))
    }
}

/// Finds an environment. A problem with its files is a warning as long as containers are left.
pub(crate) fn existing(ctx: &Ctx, name: &str) -> Result<Existing> {
    let mut existing = match by_files(ctx, name) {
        Ok(existing) => existing,
        Err(error) if exit::code(&error) == exit::INTERRUPTED => return Err(error),
        Err(error) if doctor::engine(ctx).problem().is_some() => return Err(error),
        Err(error) => {
            let Some(project) = started_as(ctx, name)?.pop_first() else { return Err(error) };
            let target = compose::by_name(&project);
            let (former, containers) = (BTreeSet::new(), Vec::new());
            Existing { target, stack: None, problem: Some(error), former, containers }
        }
    };
    existing.former = started_as(ctx, name)?;
    let project = existing.target.project.clone();
    existing.former.remove(&project);
    existing.containers = containers(ctx, &project)?;
    let is_gone = existing.containers.is_empty();
    if let Some(former) = existing.former.first().filter(|_| is_gone).cloned() {
        existing.former.remove(&former);
        existing.target.project.clone_from(&former);
        existing.containers = containers(ctx, &former)?;
        existing.problem.get_or_insert(anyhow!(
            "{name} runs as {former}, and by its files it would be {project}; \
             end it with `cargo xtask stop {name}`"
        ));
    } else if is_gone && existing.stack.is_some() {
        // Nothing is left to be found: what is wrong matters to what starts it.
        if existing.problem.take().is_some() {
            existing.target = existing.target.by_name();
        }
    }
    if let Some(problem) = &existing.problem {
        existing.target = existing.target.by_name();
        let line = one_line(&format!("{problem:#}"));
        ctx.warn(format_args!("using the labels of the containers, not the files: {line}"));
    }
    Ok(existing)
}

fn by_files(ctx: &Ctx, name: &str) -> Result<Existing> {
    let facts = env::load(ctx, name)?;
    doctor::require_engine(ctx)?;
    let stack = env::load_stack(ctx, &facts)?;
    let settings = env::settings(ctx, &facts);
    let project = checkout::known(ctx, &super::project_name(&facts, &stack))?;
    let (settings, mut problem) = match settings {
        Ok(settings) => (settings, None),
        Err(error) => (Default::default(), Some(error)),
    };
    let mut target = super::target(ctx, &facts, &stack, project, settings);
    target.files.extend(Some(super::overlay::path(ctx, &facts)).filter(|path| path.exists()));
    if problem.is_none() {
        let answer = ctx.ask(compose::check(&ctx.sh, &target), QUESTION)?;
        let words = || anyhow!("{}", answer.last_lines(1).join(" "));
        problem = (!answer.status.success()).then(words);
    }
    let (former, containers) = (BTreeSet::new(), Vec::new());
    Ok(Existing { target, stack: Some(stack), problem, former, containers })
}

/// The projects that containers of an environment of this checkout belong to, by their labels.
fn started_as(ctx: &Ctx, name: &str) -> Result<BTreeSet<String>> {
    let found = labelled(ctx, LABEL_ENVIRONMENT, name)?;
    let is_ours = |home: &str| {
        let home = std::path::Path::new(home);
        home == ctx.root || home.canonicalize().is_ok_and(|home| home == ctx.root)
    };
    let ours = found.iter().filter(|it| it.label(LABEL_HOME).is_some_and(is_ours));
    Ok(ours.filter_map(|it| it.label(LABEL_PROJECT).map(str::to_owned)).collect())
}

/// A problem in one line: a tool's last words, or ours without line breaks.
fn one_line(problem: &str) -> String {
    let lines: Vec<&str> = problem.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = match lines[..] {
        [first, .., last] if first.starts_with("`docker ") => last.to_owned(),
        _ => lines.join(" "),
    };
    match line.char_indices().nth(MAX_LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_in_one_line() {
        let tool =
            "`docker compose config` failed (exit code 15):\n  warning\n  yaml: line 3: no\n";
        assert_eq!(one_line(tool), "yaml: line 3: no");
        assert_eq!(
            one_line("can't use .env:\n  line 1\n  line 2"),
            "can't use .env: line 1 line 2"
        );
        assert_eq!(one_line(&"x".repeat(400)).chars().count(), MAX_LINE + 1);
    }
}
