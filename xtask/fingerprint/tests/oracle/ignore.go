// The oracle of `.dockerignore`: what moby's own patternmatcher and ignorefile say.
//
// The unit tests of ignore.rs run it and compare. By hand:
//
//	apt-get install --no-install-recommends golang-go golang-github-moby-patternmatcher-dev
//	GO111MODULE=off GOPATH=/usr/share/gocode go run xtask/tests/oracle/ignore.go < cases
//
// patternmatcher must be 0.6.0 (Debian 13), the one that brings ignorefile and that the engine
// and buildx are built with.
//
// A case is a line of fields with a tab between them, each escaped like a Go string: the ignore
// file, then the paths. The answer is the same line with a field put in after the ignore file:
// a digit for each path (1: ignored), or `error` and at which step.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		paths := make([]string, 0, len(fields))
		for _, field := range fields[1:] {
			paths = append(paths, unescape(field))
		}
		rest := strings.Join(append([]string{""}, fields[1:]...), "\t")
		fmt.Fprintf(out, "%s\t%s%s\n", fields[0], verdicts(unescape(fields[0]), paths), rest)
	}
}

func unescape(field string) string {
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(field, `"`, `\"`) + `"`)
	if err != nil {
		panic(field + ": " + err.Error())
	}
	return text
}

func verdicts(file string, paths []string) string {
	patterns, err := ignorefile.ReadAll(strings.NewReader(file))
	if err != nil {
		return "error read"
	}
	patterns, err = carry(patterns)
	if err != nil {
		return "error carry"
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return "error pattern"
	}
	if !allCompile(matcher) {
		return "error regexp"
	}
	digits := ""
	for _, path := range paths {
		if ignored(matcher, path) {
			digits += "1"
		} else {
			digits += "0"
		}
	}
	return digits
}

// carry does to the list what its way from the engine to the client does: BuildKit keeps it as
// JSON, and a gRPC header must be printable unless BuildKit encodes it, as it does when anything
// in it is not ASCII.
func carry(patterns []string) ([]string, error) {
	data, err := json.Marshal(patterns)
	if err != nil {
		return nil, err
	}
	var carried []string
	if err := json.Unmarshal(data, &carried); err != nil {
		return nil, err
	}
	all := strings.Join(carried, "")
	ascii := strings.IndexFunc(all, func(r rune) bool { return r > 127 }) < 0
	if ascii && strings.IndexFunc(all, func(r rune) bool { return r < ' ' || r == 127 }) >= 0 {
		return nil, fmt.Errorf("not printable")
	}
	return carried, nil
}

// allCompile tells whether no pattern can fail later: patternmatcher compiles one when it first
// needs it. An exception behind a match of everything is always needed.
func allCompile(matcher *patternmatcher.PatternMatcher) bool {
	for _, pattern := range matcher.Patterns() {
		if pattern.String() == "/" {
			continue
		}
		one, err := patternmatcher.New([]string{"**", "!" + pattern.String()})
		if err != nil {
			panic(pattern.String())
		}
		if _, _, err := one.MatchesUsingParentResults("x", patternmatcher.MatchInfo{}); err != nil {
			return false
		}
	}
	return true
}

// ignored walks to a path as fsutil does, each directory handing on what matched it.
func ignored(matcher *patternmatcher.PatternMatcher, path string) bool {
	info := patternmatcher.MatchInfo{}
	verdict := false
	for i := 0; i <= len(path); i++ {
		if i < len(path) && path[i] != filepath.Separator {
			continue
		}
		var err error
		verdict, info, err = matcher.MatchesUsingParentResults(path[:i], info)
		if err != nil {
			panic(err)
		}
	}
	return verdict
}
