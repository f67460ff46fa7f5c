//! Scripts: what they refer to, and what minifying leaves as it was.

use expect_test::{Expect, expect};

use crate::dsl::{self, Project};

/// The files that the scripts here refer to.
fn project() -> Project {
    let project = Project::new();
    project
        .file("lib/one.js", "export const one = 1;\nexport default one;\n")
        .file("lib/two.mjs", "export const two = 2;\n")
        .file("deep/beside.js", "window.beside = 1;\n")
        .file("deep/er/here.js", "window.here = 1;\n")
        .file("data.json", "{}")
        .file("style.scss", ".a{top:0}")
        .file("img/a.svg", "<svg/>");
    project
}

#[track_caller]
fn check(path: &str, text: &str, expected: &Expect) {
    dsl::check(&project(), path, text, expected);
}

#[test]
fn imports_and_exports_of_all_kinds_are_rewritten() {
    check(
        "app.js",
        r#"
        import "./lib/one.js";
        import one, { one as uno } from "./lib/one.js";
        import * as two from './lib/two.mjs';
        import data from "./data.json" with { type: "json" };
        export { two } from "./lib/two.mjs";
        export * from "./lib/one.js";
        export * as everything from "./lib/one.js";
        console.log(one, uno, two, data);
        "#,
        &expect![[
            r#"import{a as o,b as r,c as e}from"./chunks/chunk-#.js";import{a as p,b as t}from"./chunks/chunk-#.js";import"./chunks/chunk-#.js";var m={};console.log(r,1,t,m);export{e as everything,o as one,p as two};"#
        ]],
    );
}

#[test]
fn addresses_that_are_asked_for_later_are_rewritten() {
    check(
        "app.js",
        r#"
        export const later = () => import("./lib/one.js");
        export const same = () => import(`./lib/one.js`);
        export const picture = new URL("./img/a.svg", import.meta.url).href;
        export const style = new URL("style.scss", import.meta.url);
        export const worker = new Worker(new URL("./lib/one.js", import.meta.url), { type: "module" });
        export const again = new URL(`./img/a.svg`, import.meta.url);
        export const unknown = (name) => [import(name), new URL(name, import.meta.url)];
        export const elsewhere = new URL("./img/a.svg", document.baseURI);
        "#,
        &expect![[
            r#"var t=()=>import("./lib/one-#.js"),o=()=>import("./lib/one-#.js"),r=new URL("./img/a-#.svg",import.meta.url).href,n=new URL("./style-#.css",import.meta.url),s=new Worker(new URL("./lib/one-#.js",import.meta.url),{type:"module"}),m=new URL("./img/a-#.svg",import.meta.url),p=e=>[import(e),new URL(e,import.meta.url)],i=new URL("./img/a.svg",document.baseURI);export{m as again,i as elsewhere,t as later,r as picture,o as same,n as style,p as unknown,s as worker};"#
        ]],
    );
}

#[test]
fn a_query_and_a_fragment_stay() {
    check(
        "app.js",
        "import \"./lib/one.js?raw#x\";\nwindow.a = new URL(\"./img/a.svg?v=1#top\", import.meta.url);",
        &expect![[r#"window.a=new URL("./img/a-#.svg?v=1#top",import.meta.url);"#]],
    );
}

#[test]
fn paths_go_up_and_down() {
    check(
        "deep/er/app.js",
        "import \"../../lib/one.js\";\nimport \"../beside.js\";\nimport \"./here.js\";",
        &expect![[r#"import"../../chunks/chunk-#.js";window.beside=1;window.here=1;"#]],
    );
}

#[test]
fn what_is_elsewhere_is_left_alone() {
    let project = project();
    let text = "import \"https://host/x.js\";\nimport \"/absolute.js\";\nimport \"data:text/javascript,1\";\n";
    project.file("app.js", text).build();
    expect![[r#"import"https://host/x.js";import"/absolute.js";"#]]
        .assert_eq(&project.text("app.js"));
}

#[test]
fn modules_that_import_one_another_name_one_another() {
    let project = project();
    project
        .file("a.js", "import { b } from \"./b.js\";\nexport const a = () => b;\n")
        .file("b.js", "import { c } from \"./deep/c.js\";\nexport const b = () => c;\n")
        .file("deep/c.js", "import { a } from \"../a.js\";\nimport \"../lib/one.js\";\nexport const c = () => a;\n")
        .file("self.js", "import * as me from \"./self.js\";\nexport const own = () => me;\n")
        .file("start.js", "import { a } from \"./a.js\";\na();\n")
        .build();
    project.references_hold();
    let names = || ["a.js", "b.js", "deep/c.js", "self.js", "start.js"].map(|it| project.name(it));
    let before = names();
    project
        .file("b.js", "import { c } from \"./deep/c.js\";\nexport const b = () => [c];\n")
        .build();
    project.references_hold();
    let now = names();
    let changed: Vec<bool> = before.iter().zip(&now).map(|(before, now)| before != now).collect();
    assert_eq!(changed, [true, true, true, false, true], "all of the cycle, and who imports it");
    project.file("lib/one.js", "export const one = 2;\n").build();
    project.references_hold();
    assert!(names().iter().zip(&now).take(3).all(|(name, before)| name != before));
}

#[test]
fn a_classic_script_keeps_its_globals() {
    check(
        "classic.js",
        r#"
        var unusedVariable = 1;
        let unusedLet = 2;
        const unusedConstant = 3;
        class UnusedClass {}
        function unusedFunction(longName) { const other = longName + 1; return other * other; }
        implicit = 4;
        "#,
        &expect![
            "var unusedVariable=1;let unusedLet=2;const unusedConstant=3;class UnusedClass{}function unusedFunction(n){const s=n+1;return s*s}implicit=4;"
        ],
    );
}

#[test]
fn a_module_loses_what_nobody_can_reach() {
    check(
        "app.js",
        "import { one } from './lib/one.js';\nconst neverUsed = 1;\nconst longName = one + 1;\nconsole.log(longName, longName);",
        &expect![[r#"import{a as o}from"./chunks/chunk-#.js";var e=2;console.log(e,e);"#]],
    );
}

#[test]
fn what_a_script_does_is_kept() {
    check(
        "classic.js",
        r#"
        "use strict";
        // A comment that goes.
        const text = "line\n</script> → Ж 😀 \u2028";
        const template = `a${text}b`;
        const pattern = /a+\/[/]/giu;
        label: for (const each of [1, 2n]) { if (each) continue label; console.log(each?.x ?? pattern); }
        class A { #p = 1; static { this.q = 2; } get p() { return this.#p ** 2; } async *g() { yield* []; } }
        try { throw new Error(template); } catch { console.warn(new A()); }
        "#,
        &expect![[r#"
            "use strict";const text=`line
            <\/script> → Ж 😀 \u2028`,template=`a${text}b`,pattern=/a+\/[/]/giu;t:for(const t of[1,2n]){if(t)continue t;console.log(t?.x??pattern)}class A{#t=1;static{this.q=2}get p(){return this.#t**2}async*g(){yield*[]}}try{throw new Error(template)}catch{console.warn(new A)}"#]],
    );
}

#[test]
fn a_module_may_await_without_any_import() {
    check(
        "app.js",
        "const answer = await fetch('/x');\nconsole.log(answer);",
        &expect![[r#"var o=await fetch("/x");console.log(o);"#]],
    );
}

#[test]
fn what_classic_scripts_of_a_page_share_is_not_taken_for_constant() {
    check(
        "classic.js",
        "let state = \"idle\";\nfunction run() { return state }\n",
        &expect![[r#"let state="idle";function run(){return state}"#]],
    );
}

#[test]
fn typescript_and_jsx_are_compiled_whatever_they_import() {
    let project = Project::new();
    project
        .file("tsconfig.json", "{\"compilerOptions\": {\"jsxFactory\": \"h\"}}")
        .file("_a.ts", "export enum Size { Small = 3 }\nexport const a: number = Size.Small;\n")
        .file("_view.jsx", "export const view = (h, x) => <b title={x}>{x}</b>;\n")
        .file("_plain.js", "import { a } from \"./_a.ts\";\nexport const b = a + 1;\n")
        .file(
            "app.tsx",
            "import { b } from \"./_plain\";\nimport { view } from \"./_view\";\n\
             const h = (...all: unknown[]) => all;\nconsole.log(view(h, b as number));\n",
        )
        .build();
    expect![[
        r#"var r=3;var m=r+1;var n=(o,t)=>o("b",{title:t},t);var e=(...o)=>o;console.log(n(e,m));"#
    ]]
    .assert_eq(&project.plain("app.tsx"));
    assert_eq!(project.manifest().len(), 1, "nothing else becomes an output");
}

#[test]
fn packages_are_imported_by_their_names_and_pages_may_resolve_others() {
    let project = Project::new();
    project
        .library("thing/package.json", "{\"exports\": {\".\": {\"import\": \"./esm/i.js\"}}}")
        .library("thing/esm/i.js", "export { one } from \"./one.js\";\n")
        .library("thing/esm/one.js", "export const one = document.title;\n")
        .file("assets.toml", "[scripts]\nexternal = [\"mapped\"]\n")
        .file(
            "app.js",
            "import { one } from \"thing\";\nimport { x } from \"mapped/y.js\";\nx(one);\n",
        )
        .build();
    expect![[r#"var o=document.title;import{x as t}from"mapped/y.js";t(o);"#]]
        .assert_eq(&project.plain("app.js"));
}

#[test]
fn a_directory_and_a_pattern_of_modules_are_followed() {
    let project = Project::new();
    project
        .file("l/_de.js", "export default \"de\";\n")
        .file("l/_en.js", "export default \"en\";\n")
        .file(
            "deep/app.js",
            "export const here = new URL(\"./\", import.meta.url);\n\
             export const up = new URL(\"../l/\", import.meta.url);\n\
             export const load = (x) => import(`../l/_${x}.js`);\n",
        )
        .build();
    let text = project.plain("deep/app.js");
    assert!(text.contains("new URL(\"./\",import.meta.url)"), "{text}");
    assert!(text.contains("new URL(\"../l/\",import.meta.url)"), "{text}");
    project.references_hold();
    let chunks = project.manifest().into_keys().filter(|key| key.starts_with("chunks/_")).count();
    assert_eq!(chunks, 2, "{:?}", project.manifest());
}

#[test]
fn a_file_is_imported_for_its_address() {
    let project = Project::new();
    project
        .file("img/a b.svg", "<svg/>")
        .library("icons/dot.svg", "<svg></svg>")
        .file("app.js", "import a from \"./img/a%20b.svg\";\nimport dot from \"icons/dot.svg\";\nconsole.log(a, dot);\n")
        .build();
    expect![[r#"var e=new URL("./img/a_b-#.svg",import.meta.url).href;var o=new URL("./packages/icons/dot-#.svg",import.meta.url).href;console.log(e,o);"#]]
        .assert_eq(&project.plain("app.js"));
    project.references_hold();
}
