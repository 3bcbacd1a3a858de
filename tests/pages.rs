//! The house rules that no compiler checks: first lines, lengths, pages for problems, links, and
//! that the commands of the README are those that CI runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::root;

/// The longest that a file of code may be.
const LINES: usize = 500;

/// Parts of an aggregate, which `mod.rs` beside them introduces.
const PARTS: [&str; 7] =
    ["command.rs", "decide.rs", "event.rs", "refusal.rs", "spec.rs", "state.rs", "tests.rs"];

#[test]
fn every_file_says_in_its_first_line_what_it_is() {
    let part = |path: &&PathBuf| PARTS.iter().any(|part| path.ends_with(part));
    let introduced = |path: &&PathBuf| read(path).starts_with("//! ");
    let files = code();
    let silent: Vec<&PathBuf> =
        files.iter().filter(|path| !part(path) && !introduced(path)).collect();
    assert_eq!(silent, Vec::<&PathBuf>::new());
}

#[test]
fn no_file_is_longer_than_one_can_take_in() {
    let length = |path: &PathBuf| read(path).lines().count();
    let long: Vec<PathBuf> = code().into_iter().filter(|path| length(path) > LINES).collect();
    assert_eq!(long, Vec::<PathBuf>::new());
}

#[test]
fn every_problem_has_its_page_and_every_page_its_problem() {
    let table = read(&root().join("crates/api/src/problems.rs"));
    // Each entry is `("code", include_str!("…/code.md"))`, on one line or several.
    let flat: String = table.split_whitespace().collect();
    let listed: BTreeSet<String> = between(&flat, "(\"", "\",include_str!").collect();
    assert!(!listed.is_empty(), "the table of problems has another form than this test knows");
    let files = fs::read_dir(root().join("docs/problems")).expect("docs/problems");
    let files = files.filter_map(|entry| {
        let path = entry.expect("an entry").path();
        let code = path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
        (code != "README" && path.extension().is_some_and(|kind| kind == "md")).then_some(code)
    });
    assert_eq!(files.collect::<BTreeSet<_>>(), listed);
}

#[test]
fn every_code_that_an_answer_can_have_is_in_the_table() {
    let table = read(&root().join("crates/api/src/problems.rs"));
    let mut unknown = BTreeSet::new();
    for path in code() {
        let text = read(&path);
        let mut codes: BTreeSet<String> = BTreeSet::new();
        if path.ends_with("refusal.rs") {
            codes.extend(between(&text, " => \"", "\","));
        }
        if path.starts_with(root().join("crates/api/src")) {
            let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for before in ["new(StatusCode::", "invalid(", "not_found(", "unavailable("] {
                codes.extend(after(&flat, before));
            }
        }
        let known = |code: &String| table.contains(&format!("\"{code}\""));
        unknown.extend(codes.into_iter().filter(|code| !known(code)));
    }
    assert_eq!(unknown, BTreeSet::new());
}

/// Codes that follow `before` as the next argument or the first one: `…, "code"` or `("code"`.
fn after(text: &str, before: &str) -> impl Iterator<Item = String> {
    text.split(before).skip(1).filter_map(|rest| {
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_uppercase() || c == '_');
        let rest = rest.trim_start_matches([',', ' ']).strip_prefix('"')?;
        let (code, _) = rest.split_once('"')?;
        is_code(code).then(|| code.to_owned())
    })
}

fn between(text: &str, before: &str, behind: &str) -> impl Iterator<Item = String> {
    text.split(before).skip(1).filter_map(move |rest| {
        let (code, _) = rest.split_once(behind)?;
        is_code(code).then(|| code.to_owned())
    })
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[test]
fn the_commands_of_the_readme_are_there_and_ci_runs_the_same() {
    let (readme, makefile) = (read(&root().join("README.md")), read(&root().join("Makefile")));
    let said: BTreeSet<&str> = readme
        .lines()
        .flat_map(|line| line.split("make ").skip(1))
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next())
        .filter(|target| !target.is_empty())
        .collect();
    let targets: BTreeSet<&str> =
        makefile.lines().filter_map(|line| Some(line.split_once(": ## ")?.0)).collect();
    for target in ["demo", "test", "check", "dev"] {
        assert!(said.contains(target), "the README does not say `make {target}`");
    }
    for target in ["demo", "dev", "test", "check", "bench", "help"] {
        assert!(targets.contains(target), "the Makefile has no `{target}`");
    }
    let code_spans: BTreeSet<&str> = readme
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|span| span.strip_prefix("make "))
        .collect();
    for target in code_spans {
        let target = target.split_whitespace().next().unwrap_or_default();
        assert!(targets.contains(target), "the README says `make {target}`");
    }
    let ci = read(&root().join(".ci/run"));
    for command in ["make check", "make test"] {
        assert!(ci.lines().any(|line| line.trim() == command), ".ci/run does not call {command}");
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut broken = vec![];
    for page in pages() {
        let text = without_code(&read(&page));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !page.parent().expect("a directory").join(file).exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

/// A page without its blocks of code, where brackets mean something else.
fn without_code(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"]
        .map(|name| root().join(name))
        .into_iter()
        .filter(|path| path.exists())
        .collect();
    for folder in ["docs", "examples"] {
        walk(&root().join(folder), "md", &mut pages);
    }
    pages
}

/// All files of code of the house.
fn code() -> Vec<PathBuf> {
    let mut files = vec![];
    walk(&root().join("crates"), "rs", &mut files);
    walk(&root().join("tests"), "rs", &mut files);
    files.sort();
    files
}

fn walk(folder: &Path, kind: &str, found: &mut Vec<PathBuf>) {
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, kind, found);
        } else if path.extension().is_some_and(|extension| extension == kind) {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
