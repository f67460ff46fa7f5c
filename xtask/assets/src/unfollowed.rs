//! Addresses that nothing here follows although they name a source, which is served under another
//! name: strings that a script gives to a worker, pictures in SVG, links in HTML. `check` names
//! them.

use crate::make::Maker;
use crate::problem::Problem;
use crate::script::quoted_after;
use crate::sources::{self, Treatment};

/// Calls whose first argument is the address of a script.
const CALLS: [&str; 4] =
    ["importScripts(", "new Worker(", "new SharedWorker(", "serviceWorker.register("];
/// Attributes that hold an address.
const ATTRIBUTES: [&str; 3] = ["href=", "src=", "poster="];

/// What is to be said of all sources.
pub(crate) fn warnings(maker: &Maker<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (path, treatment) in maker.sources {
        let forms = match (treatment, path.rsplit_once('.').map(|(_, extension)| extension)) {
            (Treatment::Script, _) => &CALLS[..],
            (Treatment::File, Some("svg" | "html" | "htm")) => &ATTRIBUTES[..],
            _ => continue,
        };
        let Ok(bytes) = maker.read(path) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        for (offset, address) in written(&text, forms) {
            let is_root = maker.look.config.root_files.iter().any(|it| it == address);
            if !is_root && matches!(maker.finder.find(path, address), Ok(Some(_))) {
                warnings.push(warning(maker, path, &text, offset, address));
            }
        }
    }
    warnings
}

fn warning(maker: &Maker<'_>, path: &str, text: &str, offset: usize, address: &str) -> String {
    let instead = match maker.sources.get(path) {
        Some(Treatment::Script) => {
            format!("write `new URL(\"{address}\", import.meta.url)` in a module")
        }
        _ => "put it into a template, or its content into this file".to_owned(),
    };
    let message = format!(
        "`{address}` is served under a name with a hash, which is not put in here; {instead}"
    );
    Problem::at_offset(&maker.shown(path), text, offset, &message).to_string()
}

/// Relative addresses between quotes behind one of these words, each with its offset in bytes.
fn written<'t>(text: &'t str, forms: &[&str]) -> Vec<(usize, &'t str)> {
    let ranges = forms.iter().flat_map(|form| quoted_after(text, form));
    let addresses = ranges.map(|range| (range.start, &text[range]));
    addresses.filter(|(_, it)| sources::is_relative(it) && !it.contains("${")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn strings_behind_the_words_are_found_and_expressions_are_not() {
        let found = |text| super::written(text, &super::CALLS);
        assert_eq!(found("importScripts('./a.js')"), [(15, "./a.js")]);
        assert!(found("new Worker(new URL('./a.js', import.meta.url))").is_empty());
        assert!(found("new Worker('https://x/a.js');importScripts(x").is_empty());
    }
}
