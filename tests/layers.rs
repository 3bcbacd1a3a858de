//! Who may depend on whom. This table is the architecture; change it on purpose or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// A crate, the crates of the house that it may use, and the ways to the world it may have.
type Layer = (&'static str, &'static [&'static str], &'static [&'static str]);

const LAYERS: &[Layer] = &[
    ("domain", &[], &[]),
    ("eventstore", &["domain"], &["rand", "sqlx", "tokio"]),
    ("projections", &["domain", "eventstore"], &["sqlx", "tokio"]),
    (
        "connectors",
        &["domain"],
        &[
            "hickory-resolver",
            "hyper",
            "lapin",
            "lettre",
            "rand",
            "reqwest",
            "rustls",
            "sqlx",
            "tokio",
            "tokio-rustls",
        ],
    ),
    (
        "api",
        &["connectors", "domain", "eventstore", "projections"],
        &["axum", "hyper", "rand", "sqlx", "tokio", "tower", "tower-http"],
    ),
    ("workers", &["connectors", "domain", "eventstore", "projections"], &["rand", "sqlx", "tokio"]),
    (
        "cli",
        &["api", "connectors", "domain", "eventstore", "projections", "workers"],
        &["nix", "rand", "reqwest", "rustls", "sqlx", "tokio"],
    ),
    ("testkit", &[], &["axum", "lapin", "nix", "reqwest", "rustls", "tokio"]),
    ("bench", &["domain", "eventstore", "projections", "testkit"], &["rand", "sqlx", "tokio"]),
    ("torture", &["domain", "eventstore", "testkit"], &["nix", "rand", "reqwest", "sqlx", "tokio"]),
    ("tests", &[], &[]),
];

/// What reaches out of the process, draws random numbers or waits. Only who is granted may.
const WORLD: &[&str] = &[
    "async-std",
    "axum",
    "curl",
    "diesel",
    "getrandom",
    "hickory-resolver",
    "hyper",
    "isahc",
    "lapin",
    "lettre",
    "nix",
    "postgres",
    "rand",
    "redis",
    "reqwest",
    "rustls",
    "smol",
    "sqlx",
    "tokio",
    "tokio-postgres",
    "tokio-rustls",
    "tower",
    "tower-http",
    "ureq",
];

#[test]
fn crates_keep_to_their_layer() {
    let mut wrong = vec![];
    for (name, uses) in dependencies() {
        let Some((_, house, world)) = LAYERS.iter().find(|(layer, ..)| *layer == name) else {
            wrong.push(format!("{name} is not in the table"));
            continue;
        };
        for used in &uses {
            let used = used.as_str();
            if LAYERS.iter().any(|(layer, ..)| *layer == used) && !house.contains(&used) {
                wrong.push(format!("{name} must not use the crate {used}"));
            }
            if WORLD.contains(&used) && !world.contains(&used) {
                wrong.push(format!("{name} must not touch {used}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_table_names_only_what_there_is() {
    let crates: BTreeSet<String> = dependencies().into_keys().collect();
    let named: BTreeSet<String> = LAYERS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(named, crates);
    for (name, _, world) in LAYERS {
        for granted in *world {
            assert!(WORLD.contains(granted), "{name} is granted {granted}, which nobody is denied");
        }
    }
}

/// The normal (not dev, not build) dependencies of each crate of the workspace.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let args = ["metadata", "--format-version=1", "--no-deps", "--offline"];
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let output = cargo.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo speaks JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let normal = |package: &Value| {
        let uses = package["dependencies"].as_array().into_iter().flatten();
        uses.filter(|dep| dep["kind"].is_null()).map(|dep| text(&dep["name"])).collect()
    };
    let packages = metadata["packages"].as_array().expect("packages");
    packages.iter().map(|package| (text(&package["name"]), normal(package))).collect()
}
