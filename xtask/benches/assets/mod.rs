//! The asset pipeline beside a gulp pipeline, on complete Bootstrap; and how long an edit takes.
//!
//! Whole processes, as a shell would start them. Ours also writes gzip and brotli of everything,
//! gulp nothing of the kind; of both, all outputs are removed before each run "from nothing".

use std::fs;
use std::path::{Path, PathBuf};

use super::{Bench, median, row, run, write};

const BOOTSTRAP: &str = "bootstrap@5.3.9";
const GULP: [&str; 7] = [
    "gulp@5.0.1",
    "gulp-autoprefixer@10.0.0",
    "gulp-clean-css@4.3.0",
    "gulp-rev@12.0.0",
    "gulp-rev-rewrite@6.0.0",
    "gulp-sass@6.0.1",
    "sass@1.108.2",
];
/// The newest that works with the Node of Debian stable.
const VITE: [&str; 2] = ["vite@6.4.6", "sass-embedded@1.105.0"];
/// Bytes of a script, and of a film.
const HUGE_SCRIPT: usize = 16_000_000;
const FILM: usize = 100_000_000;
const ALL_OF_BOOTSTRAP: &str = "@import \"bootstrap/scss/bootstrap\";\n";

/// Sources in `src/` of a directory, and the program that makes `dist/` of them.
struct Pipeline<'b> {
    program: &'b Path,
    root: PathBuf,
    packages: &'b str,
    compilers: &'b [String],
}

impl Pipeline<'_> {
    fn build(&self) -> f64 {
        let program = self.program.to_str().unwrap();
        let places = ["--source", "src", "--output", "dist", "--state", "state"];
        let load = ["--load-path", self.packages];
        let compilers: Vec<&str> = self.compilers.iter().map(String::as_str).collect();
        run(&self.root, &[&[program, "build"][..], &places, &load, &compilers].concat())
    }

    fn build_from_nothing(&self) -> f64 {
        for name in ["dist", "state"] {
            let _ = fs::remove_dir_all(self.root.join(name));
        }
        self.build()
    }

    /// A build after one more line in a style sheet, another one each time.
    fn edit(&self, sheet: &str) -> f64 {
        let path = self.root.join("src").join(sheet);
        let before = fs::read_to_string(&path).unwrap();
        let number = before.lines().count();
        write(&path, &format!("{before}.edit-{number} {{ top: {number}px; }}\n"));
        self.build()
    }
}

pub(crate) fn measure(bench: &Bench) {
    let built = ["cargo", "build", "--quiet", "--package", "assets"];
    run(Path::new(env!("CARGO_MANIFEST_DIR")), &built);
    let program = bench.xtask.with_file_name("assets");
    let gulp = install(bench.xtask.parent().unwrap().parent().unwrap());
    let modules = gulp.join("node_modules");
    let library = bench.directory.path().join("packages");
    copy(&modules.join("bootstrap/scss"), &library.join("bootstrap/scss"));
    let packages = library.to_str().unwrap();
    let compilers = compilers(bench);
    let pipeline = |name: &str| Pipeline {
        program: &program,
        root: bench.directory.path().join(name),
        packages,
        compilers: &compilers,
    };

    let whole = pipeline("bootstrap");
    write(&whole.root.join("src/app.scss"), ALL_OF_BOOTSTRAP);
    write(&gulp.join("src/app.scss"), ALL_OF_BOOTSTRAP);
    // In turns, so that both see the same machine.
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        let _ = fs::remove_dir_all(gulp.join("dist"));
        theirs.push(run(&gulp, &["node_modules/.bin/gulp", "--silent"]));
        ours.push(whole.build_from_nothing());
    }
    let middle = |mut runs: Vec<f64>| median(runs.len(), || runs.pop().unwrap());
    let (ours, theirs) = (middle(ours), middle(theirs));
    println!(
        "| complete Bootstrap from nothing, gulp ({:.0} times as long) | {ours:.3} s | {theirs:.3} s \
         | {:.3} | ≤ 0.05 |",
        theirs / ours,
        ours / theirs
    );
    let src = Path::new(&compilers[1]).join("dart-sass/src");
    let (dart, snapshot) = (src.join("dart"), src.join("sass.snapshot"));
    let sass = [dart.to_str().unwrap(), snapshot.to_str().unwrap(), "--quiet", "--embed-sources"];
    let sheet = ["--load-path", packages, "src/app.scss", "alone.css"];
    let theirs = median(7, || run(&whole.root, &[&sass[..], &sheet].concat()));
    row("complete Bootstrap from nothing, dart-sass alone", ours, theirs, "");
    let vite = vite(&gulp);
    let theirs = median(5, || {
        let _ = fs::remove_dir_all(vite.join("dist"));
        run(&vite, &["node_modules/.bin/vite", "build", "--logLevel", "error"])
    });
    row("complete Bootstrap from nothing, vite build", ours, theirs, "");
    alone("one line of SCSS edited, complete Bootstrap", 11, "≤ 0.2 s", || {
        whole.edit("app.scss")
    });
    whole.build();
    alone("nothing to do, complete Bootstrap", 11, "≤ 0.05 s", || whole.build());

    let large = pipeline("large");
    write(&large.root.join("src/huge.js"), &huge_script());
    let esbuild = [&compilers[3], "src/huge.js", "--bundle", "--format=esm", "--minify"];
    let flags = ["--sourcemap=external", "--outdir=alone", "--log-level=error"];
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        theirs.push(run(&large.root, &[&esbuild[..], &flags].concat()));
        ours.push(large.build_from_nothing());
    }
    row("a script of 16 MB, esbuild alone", middle(ours), middle(theirs), "≤ 4 s");
    let peak = |pipeline: &Pipeline<'_>| {
        for name in ["dist", "state"] {
            let _ = fs::remove_dir_all(pipeline.root.join(name));
        }
        let script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, \
                      stdout=2); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
        let program = pipeline.program.to_str().unwrap();
        let output = std::process::Command::new("python3")
            .args(["-c", script, program, "build", "--source", "src", "--output", "dist"])
            .args(["--state", "state", "--load-path", pipeline.packages])
            .args(pipeline.compilers)
            .current_dir(&pipeline.root)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u64>().unwrap() / 1024
    };
    let film = pipeline("film");
    fs::create_dir_all(film.root.join("src")).unwrap();
    fs::write(film.root.join("src/film.mp4"), vec![7; FILM]).unwrap();
    println!("| memory for a film of 100 MB | {} MB | | | ≤ 50 MB |", peak(&film));

    let sample = pipeline("sample");
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../app/assets");
    copy(&assets, &sample.root.join("src"));
    alone("the sample app's assets from nothing", 11, "", || sample.build_from_nothing());
    alone("one line of SCSS edited, the sample app", 11, "≤ 0.2 s", || sample.edit("_page.scss"));
    sample.build();
    alone("nothing to do, the sample app", 11, "≤ 0.05 s", || sample.build());
}

/// The options that name the compilers, as `cargo xtask` gives them; it gets them first.
fn compilers(bench: &Bench) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let xtask = bench.xtask.to_str().unwrap();
    run(&root, &[xtask, "assets", "build"]);
    let _ = fs::remove_dir_all(root.join("app/dist"));
    let dry = std::process::Command::new(xtask)
        .args(["assets", "build", "--dry-run"])
        .current_dir(&root)
        .output()
        .unwrap();
    let dry = String::from_utf8(dry.stdout).unwrap();
    let words: Vec<&str> = dry.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "--sass").unwrap();
    words[at..at + 4].iter().map(|word| (*word).to_owned()).collect()
}

fn alone(what: &str, runs: usize, goal: &str, once: impl FnMut() -> f64) {
    println!("| {what} | {:.3} s | | | {goal} |", median(runs, once));
}

/// gulp and what its pipeline uses, in the target directory; once.
fn install(target: &Path) -> PathBuf {
    let place = target.join("bench-gulp");
    let gulpfile = include_str!("gulpfile.mjs");
    write(&place.join("gulpfile.mjs"), gulpfile);
    let wanted = [&GULP[..], &[BOOTSTRAP]].concat().join("\n");
    let done = place.join("installed");
    if fs::read_to_string(&done).is_ok_and(|found| found == wanted) {
        return place;
    }
    write(&place.join("package.json"), "{\"private\": true}\n");
    let npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", BOOTSTRAP];
    run(&place, &[&npm[..], &GULP].concat());
    write(&done, &wanted);
    place
}

/// The same style sheet as an entry of vite.
fn vite(gulp: &Path) -> PathBuf {
    let place = gulp.with_file_name("bench-vite");
    let done = place.join("installed");
    let wanted = [&VITE[..], &[BOOTSTRAP]].concat().join("\n");
    if !fs::read_to_string(&done).is_ok_and(|found| found == wanted) {
        write(&place.join("package.json"), "{\"private\": true, \"type\": \"module\"}\n");
        let npm = ["npm", "install", "--no-audit", "--no-fund", BOOTSTRAP];
        run(&place, &[&npm[..], &VITE].concat());
        write(&done, &wanted);
    }
    let page = "<!doctype html><link rel=\"stylesheet\" href=\"/app.scss\">\n";
    write(&place.join("index.html"), page);
    write(&place.join("app.scss"), "@import \"bootstrap/scss/bootstrap\";\n");
    write(&place.join("vite.config.js"), include_str!("vite.config.mjs"));
    place
}

/// Many small functions, as generated code has them.
fn huge_script() -> String {
    let mut text = String::with_capacity(HUGE_SCRIPT + 500);
    for number in 0.. {
        if text.len() > HUGE_SCRIPT {
            break;
        }
        text += &format!(
            "export function handler{number}(alpha, beta) {{\n  const value = alpha * {number} + \
             beta.length;\n  if (value > {}) {{\n    console.log(\"message {number}\", value, \
             beta.filter((item) => item !== {number}));\n  }}\n  return {{ key{number}: value, \
             list: [alpha, beta, {number}] }};\n}}\n",
            number * 7 % 1000
        );
    }
    text
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}
