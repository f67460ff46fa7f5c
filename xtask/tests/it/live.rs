//! Live reload in a real browser: what becomes of an open page when a file of the sample app is
//! saved. The stack belongs to the test of the recipe, which calls [`follows_saves`] while `dev`
//! runs.

use crate::browser::{Page, chromium};
use crate::dsl::Project;

/// Set in a page, and gone when it is loaded again.
const MARK: &str = "window.marked = true";
const IS_MARKED: &str = "window.marked === true";
const IS_FRESH: &str = "window.marked === undefined && document.readyState === 'complete'";
const OVERLAY: &str = "document.getElementById('stevedore-problem')";

/// Saves files and looks at the page; at the end all is as it was.
pub(crate) fn follows_saves(project: &Project, port: u16) {
    let Some(chromium) = chromium() else { return };
    let mut page = Page::open(&chromium, "about:blank");
    page.visit(&format!("http://127.0.0.1:{port}/"));
    // On a first day the page comes before its style, which follows by itself.
    page.until(
        "document.styleSheets.length === 1 && document.readyState === 'complete' \
         && document.querySelector('.btn-primary') !== null",
    );
    let edit = |path: &str, from: &str, to: &str| {
        let text = project.read(path);
        assert!(text.contains(from), "{from:?} is not in {path}");
        project.file(path, text.replacen(from, to, 1));
        (path.to_owned(), text)
    };
    let restore = |(path, text): (String, String)| {
        project.file(&path, text);
    };

    // A style sheet is another one, and the page is the same.
    page.eval(MARK);
    let before = page.style(".btn-primary", "borderTopLeftRadius");
    let color = "getComputedStyle(document.documentElement).getPropertyValue('--line').trim()";
    let line = page.eval(color);
    let style = edit("app/assets/_page.scss", "--line: #{$border-color};", "--line: #123456;");
    page.until(&format!("{color} === '#123456' && document.styleSheets.length === 1"));
    assert_eq!(page.style(".btn-primary", "borderTopLeftRadius"), before);
    page.until(IS_MARKED);
    restore(style);
    page.until(&format!("{color} === {line}"));
    page.until(IS_MARKED);

    // A style sheet that is none: the page says so, and goes on.
    let style = edit("app/assets/_page.scss", "--line: #{$border-color};", "--line: #{$nothing};");
    page.until(&format!("{OVERLAY}?.textContent.includes('_page.scss')"));
    restore(style);
    page.until(&format!("{OVERLAY} === null"));
    page.until(IS_MARKED);

    // A script: the page is loaded again.
    let script = edit("app/assets/app.js", "offerThemes();", "offerThemes(); window.saved = 1;");
    page.until("window.saved === 1");
    page.eval(MARK);
    restore(script);
    page.until(IS_FRESH);

    // What does not compile stands on the page, which is the last good one.
    page.eval(MARK);
    let source = edit("app/src/page.rs", "const DAYS: i64 = 7;", "const DAYS: i64 = \"7\";");
    page.until(&format!("{OVERLAY}?.textContent.includes('mismatched types')"));
    page.until(IS_MARKED);
    restore(source);
    page.until(&format!("{IS_FRESH} && {OVERLAY} === null"));

    // A template: compiled, started again, loaded again.
    page.eval(MARK);
    let template = edit("app/templates/page.html", "<p>What you did,", "<p>All you did,");
    page.until("document.body.textContent.includes('All you did,')");
    page.until(IS_FRESH);
    page.eval(MARK);
    restore(template);
    page.until(IS_FRESH);
}
