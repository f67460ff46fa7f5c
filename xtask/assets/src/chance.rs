//! What would give every build another result: `random()` and `unique-id()` of Sass, as global
//! functions and as those of the built-in modules. The compiler can forbid neither, so they are
//! looked for in the texts.

/// Module, function.
pub(crate) const FUNCTIONS: [(&str, &str); 2] = [("math", "random"), ("string", "unique-id")];

pub(crate) fn message(function: &str) -> String {
    format!("{function}() gives every build another result")
}

/// The first call of such a function through its module: offset in bytes, and its name.
pub(crate) fn find(text: &str) -> Option<(usize, &'static str)> {
    if !["random", "unique"].iter().any(|word| text.contains(word)) {
        return None;
    }
    // To Sass both signs are the same.
    let code = code_of(text).replace('_', "-");
    let is_name = |sign: char| sign.is_alphanumeric() || "-_.$".contains(sign);
    FUNCTIONS.iter().find_map(|(module, function)| {
        let call = |call: String| {
            let calls = code.match_indices(&call).map(|(at, _)| at);
            let mut calls = calls.filter(|at| {
                let before = &code[..*at];
                let is_declared = ["@function", "@mixin", "@include"]
                    .iter()
                    .any(|it| before.trim_end().ends_with(it));
                !before.ends_with(is_name) && !is_declared
            });
            calls.next().map(|at| (at, *function))
        };
        let is_own = code.contains(&format!("@function {function}("));
        let global = if is_own { None } else { call(format!("{function}(")) };
        global.or_else(|| match namespace(&code, module)? {
            "*" => None,
            namespace => call(format!("{namespace}.{function}(")),
        })
    })
}

/// Under which name a text uses a built-in module.
fn namespace<'t>(code: &'t str, module: &'t str) -> Option<&'t str> {
    let url = format!("sass:{module}");
    let mut rules = code.split("@use").skip(1).filter_map(|rule| rule.split([';', '\n']).next());
    let rule = rules.find(|rule| rule.trim_matches([' ', '"', '\'']).starts_with(&url))?;
    let mut words = rule.split_whitespace().skip_while(|word| *word != "as").skip(1);
    Some(words.next().unwrap_or(module))
}

/// The same text with blanks for comments and quoted texts, so that offsets hold. What a rule loads
/// stays.
fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let blank = |code: &mut Vec<u8>, from: usize, to: usize| {
        code[from..to].iter_mut().filter(|it| **it != b'\n').for_each(|it| *it = b' ');
    };
    let mut at = 0;
    while at < bytes.len() {
        let end = match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => text[at + 2..].find("*/").map(|end| at + end + 4),
            // Not that of an address.
            (b'/', Some(b'/')) if at == 0 || bytes[at - 1] != b':' => {
                text[at..].find('\n').map(|end| at + end)
            }
            (quote @ (b'"' | b'\''), _) => {
                let mut end = at + 1;
                while end < bytes.len() && bytes[end] != quote && bytes[end] != b'\n' {
                    end += if bytes[end] == b'\\' { 2 } else { 1 };
                }
                let end = (end + 1).min(bytes.len());
                let is_loaded = text[..at].trim_end().ends_with("@use");
                if !is_loaded {
                    blank(&mut code, at, end);
                }
                at = end;
                continue;
            }
            _ => {
                at += 1;
                continue;
            }
        };
        let end = end.unwrap_or(bytes.len());
        blank(&mut code, at, end);
        at = end;
    }
    String::from_utf8(code).unwrap_or_default()
}
