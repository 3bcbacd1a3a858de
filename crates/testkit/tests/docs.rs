//! What the documentation says is there is there: links, make targets, scripts, tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files below `dir` with this extension, but for what is built or fetched.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let skipped = ["target", "node_modules", ".cache", ".git", ".everstep"];
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && !skipped.iter().any(|skip| name == *skip) {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found
}

/// What stands between `open` and the next `close`, each time.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| Some(rest.split_once(close)?.0))
}

#[test]
fn links_lead_to_files() {
    let mut broken = Vec::new();
    for page in files(&root(), "md") {
        let text = fs::read_to_string(&page).expect("a page");
        for link in between(&text, "](", ")") {
            let path = link.split('#').next().unwrap_or_default();
            let elsewhere = link.contains("://") || path.is_empty() || path.starts_with('/');
            let target = page.parent().expect("its directory").join(path);
            if !elsewhere && !target.exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn commands_in_the_documentation_exist() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> =
        makefile.lines().filter_map(|line| Some(line.split_once(": ## ")?.0)).collect();
    let mut unknown = Vec::new();
    for page in files(&root(), "md") {
        let text = fs::read_to_string(&page).expect("a page");
        let commands = between(&text, "$ make ", "\n").chain(between(&text, "`make ", "`"));
        for command in commands {
            let target = command.split_whitespace().next().unwrap_or_default();
            if !targets.contains(target) {
                unknown.push(format!("{}: make {target}", page.display()));
            }
        }
        for script in between(&text, "scripts/", " ") {
            let name = script.split(['`', ')', '\n', ',', '.']).next().unwrap_or_default();
            let stem = root().join("scripts").join(name);
            let there =
                ["sh", "py"].iter().any(|extension| stem.with_extension(extension).exists());
            if !name.is_empty() && !there {
                unknown.push(format!("{}: scripts/{name}", page.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn ci_runs_what_the_readme_says() {
    let (readme, ci) = (read("README.md"), read(".ci/run"));
    for command in ["make check", "make test"] {
        assert!(readme.contains(&format!("$ {command}")), "README.md lacks {command}");
        assert!(ci.lines().any(|line| line == command), ".ci/run lacks {command}");
    }
}

#[test]
fn every_invariant_is_guarded_by_tests_that_exist() {
    let page = read("ARCHITECTURE.md");
    let (_, section) = page.split_once("## Invariants").expect("the section");
    let code: String = files(&root(), "rs")
        .into_iter()
        .map(|path| fs::read_to_string(path).expect("a source file"))
        .collect();
    let mut missing = Vec::new();
    let mut numbered = 0;
    for invariant in section.split("\n\n").filter(|part| part.starts_with(char::is_numeric)) {
        numbered += 1;
        let (rule, guards) = invariant.split_once("Guarded by").unwrap_or((invariant, ""));
        let tests: Vec<&str> = guards.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "nothing guards this: {rule}");
        missing.extend(tests.into_iter().filter(|test| !code.contains(&format!("fn {test}("))));
    }
    assert!(numbered > 0, "there are no invariants");
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}
