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
    let code = without_comments(text).replace('_', "-");
    let is_name = |sign: char| sign.is_alphanumeric() || "-_.$".contains(sign);
    FUNCTIONS.iter().find_map(|(module, function)| {
        let call = |call: String| {
            let calls = code.match_indices(&call).map(|(at, _)| at);
            let mut calls = calls.filter(|at| {
                // `@function random(` is somebody's own.
                !code[..*at].ends_with(is_name) && !code[..*at].trim_end().ends_with("@function")
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

/// The same text with blanks for comments, so that offsets hold.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("/*").into_iter().chain(line_comment(rest)).min() {
        let is_line = rest[at..].starts_with("//");
        let end = rest[at + 2..].find(if is_line { "\n" } else { "*/" });
        let end = end.map_or(rest.len(), |end| at + 2 + end);
        code.push_str(&rest[..at]);
        code.push_str(&" ".repeat(end - at));
        rest = &rest[end..];
        if let Some(after) = rest.strip_prefix("*/") {
            code.push_str("  ");
            rest = after;
        }
    }
    code + rest
}

/// `//`, but not that of an address.
fn line_comment(text: &str) -> Option<usize> {
    text.match_indices("//").map(|(at, _)| at).find(|at| !text[..*at].ends_with(':'))
}
