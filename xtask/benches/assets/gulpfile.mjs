// What a gulp pipeline does with the same style sheets: Sass, prefixes, minified, names by content,
// source maps, references renamed. It compresses nothing.
import { readFileSync } from "node:fs";
import gulp from "gulp";
import autoprefixer from "gulp-autoprefixer";
import cleanCss from "gulp-clean-css";
import rev from "gulp-rev";
import rewrite from "gulp-rev-rewrite";
import sassOf from "gulp-sass";
import * as compiler from "sass";

const sass = sassOf(compiler);

const styles = () => gulp.src("src/*.scss", { sourcemaps: true })
  .pipe(sass({ loadPaths: ["node_modules"], quietDeps: true, silenceDeprecations: ["import"] }))
  .pipe(autoprefixer())
  .pipe(cleanCss())
  .pipe(rev())
  .pipe(gulp.dest("dist", { sourcemaps: "." }))
  .pipe(rev.manifest())
  .pipe(gulp.dest("dist"));

const references = () => gulp.src("dist/*.css")
  .pipe(rewrite({ manifest: readFileSync("dist/rev-manifest.json") }))
  .pipe(gulp.dest("dist"));

export default gulp.series(styles, references);
