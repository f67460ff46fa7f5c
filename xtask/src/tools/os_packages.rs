//! What a distribution writes down of itself and its packages: dpkg's status, apk's list, and
//! os-release.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// Package -> version of what dpkg's status file says is installed; what was removed and left its
/// settings is not. A package that several architectures can have at once is named with its own,
/// as dpkg itself does.
pub(crate) fn parse_dpkg(status: &str) -> Result<BTreeMap<String, String>> {
    let mut packages = BTreeMap::new();
    for paragraph in status.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        let field = |name: &str| {
            let mut lines = paragraph.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
        };
        let name = field("Package").context("dpkg's status has a paragraph without a package")?;
        if !field("Status").is_some_and(|status| status.ends_with(" installed")) {
            continue;
        }
        let version = field("Version").with_context(|| format!("{name} has no version"))?;
        let name = match (field("Multi-Arch"), field("Architecture")) {
            (Some("same"), Some(architecture)) => format!("{name}:{architecture}"),
            _ => name.to_owned(),
        };
        packages.insert(name, version.to_owned());
    }
    Ok(packages)
}

/// Package -> version of apk's list of what is installed: `P:` and `V:` of each paragraph.
pub(crate) fn parse_apk(installed: &str) -> Result<BTreeMap<String, String>> {
    let paragraphs = installed.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
    let parse = |paragraph: &str| {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name));
        Some((field("P:")?.to_owned(), field("V:")?.to_owned()))
    };
    let parsed = paragraphs.map(|it| parse(it).context("apk's list has a package without a name"));
    parsed.collect()
}

/// `ID-VERSION_ID` of os-release(5), or the ID alone; nothing where it has none.
pub(crate) fn parse_os_release(text: &str) -> Option<String> {
    let id = os_release_value(text, "ID")?;
    let version = os_release_value(text, "VERSION_ID");
    Some(version.map_or(id.to_owned(), |version| format!("{id}-{version}")))
}

/// A value of os-release(5), without its quotes.
pub(crate) fn os_release_value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = text.lines().filter_map(|line| line.split_once('='));
    let (_, value) = lines.find(|(key, _)| *key == name)?;
    Some(value.trim_matches(['"', '\'']))
}
