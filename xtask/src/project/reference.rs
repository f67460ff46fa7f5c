//! An image reference in its full form, so that two spellings of one name are equal.
//!
//! Docker's rules: without a registry it is `docker.io`, without a namespace there `library`,
//! without a tag `latest`. A variable without a value stands for any text.

use super::substitute::substitute;

/// Stands for the value of a variable that is not known here; no reference holds it.
const UNKNOWN: &str = "\u{1}";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Registry, namespace and name.
    pub(crate) repository: String,
    tag: String,
    pub(crate) digest: Option<String>,
}

/// What two references have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    Same,
    /// One repository; only the value of a variable tells whether the tag is the same.
    Unclear,
    Different,
}

impl Reference {
    /// Reads a reference as a compose file has it. Variables may be left in it.
    pub(crate) fn parse(text: &str) -> Reference {
        let text = substitute(text, &mut |_| Some(UNKNOWN.into())).unwrap_or(UNKNOWN.into());
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (text.as_str(), None),
        };
        // A colon before a slash belongs to the registry's port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            // A digest alone says nothing about the tag.
            _ if digest.is_some() => (name, UNKNOWN),
            _ => (name, "latest"),
        };
        Reference { repository: full_name(name), tag: tag.to_owned(), digest }
    }

    /// Compares the names. What a digest says about the content is not looked at.
    pub(crate) fn likeness(&self, other: &Reference) -> Likeness {
        if self.has_unknown_repository() || other.has_unknown_repository() {
            // The same text has the same value.
            return if self == other { Likeness::Same } else { Likeness::Different };
        }
        let unknown = self.tag.contains(UNKNOWN) || other.tag.contains(UNKNOWN);
        match (self.repository == other.repository, self.tag == other.tag) {
            (true, true) => Likeness::Same,
            (true, false) if unknown => Likeness::Unclear,
            _ => Likeness::Different,
        }
    }

    pub(crate) fn is_latest(&self) -> bool {
        self.tag == "latest"
    }

    fn has_unknown_repository(&self) -> bool {
        self.repository.contains(UNKNOWN)
    }
}

/// Whether an engine can read a reference at all.
pub(crate) fn is_valid(text: &str) -> bool {
    let (name, digest) = text.split_once('@').unwrap_or((text, "sha256:0"));
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (name, "latest"),
    };
    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let tag_fits = tag.starts_with(word)
        && tag.len() <= 128
        && tag.chars().all(|letter| word(letter) || ".-".contains(letter));
    let is_component = |part: &str| {
        let inner = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
        part.starts_with(inner)
            && part.ends_with(inner)
            && part.chars().all(|letter| inner(letter) || "._-".contains(letter))
    };
    let mut parts = name.split('/');
    // A registry may have capitals and a port.
    let first = parts.next().unwrap_or_default().to_ascii_lowercase();
    let has_more = name.contains('/');
    let first = if has_more { first.split(':').next().unwrap_or_default() } else { name };
    tag_fits && digest.contains(':') && is_component(first) && parts.all(is_component)
}

fn full_name(name: &str) -> String {
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    let is_registry = first == "localhost" || first.contains(['.', ':', '\u{1}']);
    match (is_registry, first, rest) {
        (true, "docker.io" | "index.docker.io", rest) if !rest.contains('/') => {
            format!("docker.io/library/{rest}")
        }
        (true, "index.docker.io", rest) => format!("docker.io/{rest}"),
        (true, ..) => name.to_owned(),
        (false, "", rest) => format!("docker.io/library/{rest}"),
        (false, ..) => format!("docker.io/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::Likeness::{Different, Same, Unclear};
    use super::*;

    #[test]
    fn a_reference_has_dockers_form() {
        for text in [
            "a",
            "a/b_c-d.e:1.0",
            "Localhost:5000/a/b",
            "a@sha256:12",
            "a:b@sha256:12",
            "a__b/c--d",
        ] {
            assert!(is_valid(text), "{text}");
        }
        for text in ["", "A", "a/B", "a//", "a:", "a:b c", "/a", "a/", "a:-b", "a@12", "-a", "a b"]
        {
            assert!(!is_valid(text), "{text}");
        }
    }

    #[test]
    fn two_spellings_of_one_name_are_the_same() {
        for (one, other, expected) in [
            ("acme/app:dev", "acme/app:dev", Same),
            ("acme/app", "acme/app:latest", Same),
            ("acme/app", "docker.io/acme/app", Same),
            ("app", "docker.io/library/app:latest", Same),
            ("app", "index.docker.io/library/app", Same),
            ("library/app", "app", Same),
            ("localhost:5000/app", "localhost:5000/app:latest", Same),
            ("localhost:5000/app", "app", Different),
            ("localhost/app", "app", Different),
            ("acme/app:dev", "acme/app", Different),
            ("acme/app:dev@sha256:12", "acme/app:dev", Same),
            ("acme/app@sha256:12", "acme/app:dev", Unclear),
            ("acme/app:${TAG}", "acme/app:${TAG}", Same),
            ("acme/app:${TAG}", "acme/app:dev", Unclear),
            ("acme/app:${TAG:-dev}", "docker.io/acme/app:dev", Unclear),
            ("acme/app:${TAG}", "acme/other:dev", Different),
            ("${REGISTRY}/app:dev", "acme/app:dev", Different),
            ("${REGISTRY}/app:dev", "${REGISTRY}/app:dev", Same),
        ] {
            let (a, b) = (Reference::parse(one), Reference::parse(other));
            assert_eq!((a.likeness(&b), b.likeness(&a)), (expected, expected), "{one} {other}");
        }
    }
}
