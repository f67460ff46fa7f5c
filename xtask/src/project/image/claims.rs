//! Which service's build another service's `image:` stands for.
//!
//! Compose gives what it builds the name that `image:` says, and a service without a build that
//! names it runs what lies under that name. Here images have names by fingerprint, so the name
//! has to be understood: taken as it is, it is an image of some earlier `docker build`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::folder_of;
use crate::project::reference::{Likeness, Reference};
use crate::project::stack::{Build, Service, Stack};

/// A name that a build gives to its image.
struct Claim<'s> {
    service: &'s String,
    build: &'s Build,
    /// As the files have it.
    text: String,
    reference: Reference,
}

/// The names that the services give to what they build.
fn claims(stack: &Stack) -> impl Iterator<Item = Claim<'_>> {
    let services = stack.services.iter().map(|(name, it)| (name, &it.image, &it.build));
    services.filter_map(|(name, image, build)| claim(stack, name, image, build))
}

/// The same of services behind a profile.
fn switched_off(stack: &Stack) -> impl Iterator<Item = Claim<'_>> {
    let services = stack.switched_off.iter().map(|(name, it)| (name, &it.image, &it.build));
    services.filter_map(|(name, image, build)| claim(stack, name, image, build))
}

fn claim<'s>(
    stack: &Stack,
    service: &'s String,
    image: &Option<String>,
    build: &'s Option<Build>,
) -> Option<Claim<'s>> {
    let build = build.as_ref()?;
    // Compose's own name for what has none.
    let text = image.clone().unwrap_or_else(|| format!("{}-{service}", stack.name));
    Some(Claim { service, build, reference: Reference::parse(&text), text })
}

/// The claims on the image of a service without a build: those of services that are started, else
/// those behind a profile.
fn claims_on<'s>(stack: &'s Stack, reference: &Reference, wanted: Likeness) -> Vec<Claim<'s>> {
    let fits = |claim: &Claim<'_>| claim.reference.likeness(reference) == wanted;
    let started: Vec<Claim<'_>> = claims(stack).filter(fits).collect();
    match started.is_empty() {
        true => switched_off(stack).filter(fits).collect(),
        false => started,
    }
}

/// The folder that `image: NAME/FOLDER` means, whatever its tag.
fn folder_named<'i>(
    images: &'i BTreeSet<String>,
    stack: &Stack,
    reference: &Reference,
) -> Option<&'i String> {
    let folder = reference.repository.strip_prefix("docker.io/")?.strip_prefix(&stack.name)?;
    images.get(folder.strip_prefix('/')?)
}

/// The folder of `docker/` whose image a service runs; `None` where it is from elsewhere.
pub(crate) fn image_of(
    images: &BTreeSet<String>,
    stack: &Stack,
    service: &Service,
) -> Option<String> {
    if let Some(build) = &service.build {
        return folder_of(&build.dockerfile);
    }
    let reference = Reference::parse(service.image.as_ref()?);
    if reference.digest.is_some() {
        return None;
    }
    if let Some(claim) = claims_on(stack, &reference, Likeness::Same).first() {
        return folder_of(&claim.build.dockerfile);
    }
    folder_named(images, stack, &reference).filter(|_| reference.is_latest()).cloned()
}

/// Builds of services behind a profile whose image a started service runs.
pub(super) fn builds_for_others(stack: &Stack) -> impl Iterator<Item = (&String, &Build)> {
    let foreign = stack.services.values().filter(|service| service.build.is_none());
    let named = foreign.filter_map(|service| service.image.as_ref());
    named.flat_map(|image| {
        let claims = claims_on(stack, &Reference::parse(image), Likeness::Same);
        claims.into_iter().map(|claim| (claim.service, claim.build))
    })
}

/// Services that name one image and would not run one.
pub(super) fn problems(images: &BTreeSet<String>, stack: &Stack) -> Vec<String> {
    let mut problems = two_builds(stack);
    for (name, service) in &stack.services {
        let (None, Some(text)) = (&service.build, &service.image) else { continue };
        problems.extend(problem(images, stack, text).map(|it| format!("service {name}: {it}")));
    }
    problems
}

/// Two builds of different folders under one name.
fn two_builds(stack: &Stack) -> Vec<String> {
    let all: Vec<Claim<'_>> = claims(stack).collect();
    let mut problems = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let same = |other: &&Claim<'_>| {
            other.reference.likeness(&one.reference) == Likeness::Same
                && other.build.dockerfile != one.build.dockerfile
        };
        problems.extend(all[at + 1..].iter().filter(same).map(|other| {
            format!(
                "services {} and {} build {} and {} under one name, `image: {}`; give them two",
                one.service, other.service, one.build.dockerfile, other.build.dockerfile, one.text
            )
        }));
    }
    problems
}

/// What is wrong with the `image:` of a service without a build.
fn problem(images: &BTreeSet<String>, stack: &Stack, text: &str) -> Option<String> {
    let reference = Reference::parse(text);
    let same = claims_on(stack, &reference, Likeness::Same);
    let unclear = claims_on(stack, &reference, Likeness::Unclear);
    if reference.digest.is_some() {
        let claim = same.first().or(unclear.first());
        let claimed = claim.map(|it| (it.service.clone(), it.text.clone()));
        let folder = folder_named(images, stack, &reference);
        let named = || Some((format!("docker/{}", folder?), format!("{}/{}", stack.name, folder?)));
        return claimed.or_else(named).map(|(builder, image)| {
            format!("`image: {text}` never is what {builder} builds; write `image: {image}`")
        });
    }
    match (&same[..], &unclear[..]) {
        ([one, other, ..], _) if one.build.dockerfile != other.build.dockerfile => Some(format!(
            "`image: {text}` is built by {} and by {}; give them two names",
            one.service, other.service
        )),
        ([_, ..], _) => None,
        ([], [one, ..]) => Some(says_unclear(text, one)),
        ([], []) => {
            let folder = folder_named(images, stack, &reference)?;
            (!reference.is_latest()).then(|| {
                format!(
                    "nothing builds `image: {text}`; the image of docker/{folder} is \
                     `image: {}/{folder}`",
                    stack.name
                )
            })
        }
    }
}

fn says_unclear(text: &str, claim: &Claim<'_>) -> String {
    format!(
        "the value of a variable decides whether `image: {text}` is what {} builds as \
         `image: {}`; write both in the same way, or set it under [variables] in environment.toml",
        claim.service, claim.text
    )
}

/// Services whose image, with every variable filled in, is what another service builds, though the
/// files do not say so. `filled` is what compose makes of the files; its values are not shown.
pub(crate) fn hidden_by_variables(
    images: &BTreeSet<String>,
    stack: &Stack,
    filled: &Value,
) -> Vec<String> {
    let image = |name: &String| filled["services"][name]["image"].as_str().map(Reference::parse);
    let mut problems = Vec::new();
    for (name, service) in &stack.services {
        let (None, Some(text)) = (&service.build, &service.image) else { continue };
        let Some(reference) = image(name).filter(|it| it.digest.is_none()) else { continue };
        if image_of(images, stack, service).is_some() {
            continue;
        }
        let is_built = |claim: &Claim<'_>| {
            image(claim.service).is_some_and(|it| it.likeness(&reference) == Likeness::Same)
        };
        let claim = claims(stack).find(is_built).map(|claim| says_unclear(text, &claim));
        let folder = folder_named(images, stack, &reference).map(|folder| {
            let name = &stack.name;
            format!("`image: {text}` is docker/{folder}'s name; write `image: {name}/{folder}`")
        });
        problems.extend(claim.or(folder).map(|problem| format!("service {name}: {problem}")));
    }
    problems
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::project::stack;

    const PUBLIC: [(&str, &str); 1] = [("PUBLIC_TAG", "dev")];

    /// Service -> its folder, then the problems. `services` holds one service a line; `@FOLDER` is
    /// a build.
    fn check(services: &str, expected: &Expect) {
        let mut list = serde_json::Map::new();
        for line in services.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.split(' ');
            let name = words.next().unwrap().to_owned();
            let mut service = serde_json::json!({});
            for word in words {
                match (word.strip_prefix('@'), word) {
                    (Some(folder), _) => {
                        service["build"]["context"] = format!("docker/{folder}").into();
                    }
                    (None, "off") => service["profiles"] = vec!["off"].into(),
                    (None, image) => service["image"] = image.into(),
                }
            }
            list.insert(name, service);
        }
        let merged = serde_json::json!({"name": "n", "services": list});
        let public: BTreeMap<_, _> =
            PUBLIC.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let stack = stack::parse(&merged.to_string(), &public).unwrap();
        let images = ["app".to_owned(), "web".to_owned()].into();
        let folders = stack.services.iter().map(|(name, service)| {
            let image = image_of(&images, &stack, service);
            format!("{name}: {}", image.unwrap_or_else(|| "elsewhere".into()))
        });
        let found: Vec<String> = folders.chain(problems(&images, &stack)).collect();
        expected.assert_eq(&format!("{found:#?}"));
    }

    #[test]
    fn a_service_runs_what_another_one_builds_however_the_name_is_spelt() {
        check(
            "web @web acme/app:dev
             a acme/app:dev
             b docker.io/acme/app:dev
             c acme/app:${PUBLIC_TAG}
             d n/app:latest
             e n/app
             f redis:8
             g acme/app:1.0",
            &expect![[r#"
                [
                    "a: web",
                    "b: web",
                    "c: web",
                    "d: app",
                    "e: app",
                    "f: elsewhere",
                    "g: elsewhere",
                    "web: web",
                ]"#]],
        );
        check(
            "web @web\nworker n-web\n",
            &expect![[r#"
                [
                    "web: web",
                    "worker: web",
                ]"#]],
        );
        check(
            "web @web acme/app:${TAG}\nworker acme/app:${TAG}",
            &expect![[r#"
                [
                    "web: web",
                    "worker: web",
                ]"#]],
        );
    }

    #[test]
    fn a_build_behind_a_profile_is_built_for_who_runs_it() {
        check(
            "build @web acme/app off\nworker acme/app",
            &expect![[r#"
            [
                "worker: web",
            ]"#]],
        );
    }

    #[test]
    fn what_would_be_two_images_under_one_name_is_refused() {
        check(
            "web @web acme/app:dev\nworker acme/app:dev@sha256:12",
            &expect![[r#"
                [
                    "web: web",
                    "worker: elsewhere",
                    "service worker: `image: acme/app:dev@sha256:12` never is what web builds; write `image: acme/app:dev`",
                ]"#]],
        );
        check(
            "web @web acme/app:dev\nworker acme/app@sha256:12",
            &expect![[r#"
                [
                    "web: web",
                    "worker: elsewhere",
                    "service worker: `image: acme/app@sha256:12` never is what web builds; write `image: acme/app:dev`",
                ]"#]],
        );
        check(
            "worker n/app:other\nx n/app@sha256:12",
            &expect![[r#"
                [
                    "worker: elsewhere",
                    "x: elsewhere",
                    "service worker: nothing builds `image: n/app:other`; the image of docker/app is `image: n/app`",
                    "service x: `image: n/app@sha256:12` never is what docker/app builds; write `image: n/app`",
                ]"#]],
        );
        check(
            "a @app acme/app\nb @web docker.io/acme/app:latest",
            &expect![[r#"
                [
                    "a: app",
                    "b: web",
                    "services a and b build docker/app/Dockerfile and docker/web/Dockerfile under one name, `image: acme/app`; give them two",
                ]"#]],
        );
        check(
            "web @web acme/app:dev\nworker acme/app:${TAG}",
            &expect![[r#"
                [
                    "web: web",
                    "worker: elsewhere",
                    "service worker: the value of a variable decides whether `image: acme/app:${TAG}` is what web builds as `image: acme/app:dev`; write both in the same way, or set it under [variables] in environment.toml",
                ]"#]],
        );
    }

    #[test]
    fn a_name_behind_a_variable_is_known_once_there_are_values() {
        let images = ["app".to_owned(), "web".to_owned()].into();
        let merged = serde_json::json!({"name": "n", "services": {
            "web": {"build": {"context": "docker/web"}, "image": "acme/app:dev"},
            "worker": {"image": "${IMAGE}"}, "other": {"image": "${OTHER}"},
        }});
        let stack = stack::parse(&merged.to_string(), &BTreeMap::new()).unwrap();
        assert_eq!(problems(&images, &stack), [""; 0]);
        let mut filled = merged;
        filled["services"]["worker"]["image"] = "acme/app:dev".into();
        filled["services"]["other"]["image"] = "n/app:dev".into();
        expect![[r#"
            [
                "service other: `image: ${OTHER}` is docker/app's name; write `image: n/app`",
                "service worker: the value of a variable decides whether `image: ${IMAGE}` is what web builds as `image: acme/app:dev`; write both in the same way, or set it under [variables] in environment.toml",
            ]"#]]
        .assert_eq(&format!("{:#?}", hidden_by_variables(&images, &stack, &filled)));
    }
}
