//! Commands that need neither a server nor a database.

use std::fs;

use serde_json::Value;

use super::{Ended, everstep, run, text};

#[test]
fn help_and_completions_go_to_standard_output() {
    let help = run(&["--help"]).expect(0);
    assert!(help.out.contains("workflow") && help.err.is_empty());
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]).expect(0);
        assert!(script.out.contains("everstep"), "{shell}");
    }
}

#[test]
fn what_makes_no_sense_exits_with_2_and_says_nothing_on_standard_output() {
    for args in [&["nonsense"][..], &["workflow", "apply"], &["--output", "xml", "openapi"]] {
        let ended = run(args).expect(2);
        assert!(ended.out.is_empty() && !ended.err.is_empty(), "{ended:?}");
    }
}

#[test]
fn without_an_instance_the_way_to_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let ended = run(&["workflow", "list", "--data-dir", text(dir.path())]).expect(2);
    assert!(ended.err.contains("everstep dev") && ended.err.contains("--api-url"), "{ended:?}");
}

#[test]
fn programs_get_errors_as_json_on_standard_error() {
    let dir = tempfile::tempdir().unwrap();
    let ended = run(&["workflow", "list", "-o", "json", "--data-dir", text(dir.path())]).expect(2);
    let error: Value = serde_json::from_str(&ended.err).unwrap();
    assert_eq!((&error["code"], &error["exit"]), (&"usage".into(), &2.into()));
    assert!(ended.out.is_empty());
}

#[test]
fn an_api_that_is_not_there_exits_with_1() {
    let ended = run(&["workflow", "list", "--api-url", "http://127.0.0.1:9"]).expect(1);
    assert!(ended.err.contains("http://127.0.0.1:9"), "{ended:?}");
}

#[test]
fn all_faults_of_all_files_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("integration.yaml"), "name: i\nwebhook: {secret: '${NO_SUCH}'}")
        .unwrap();
    fs::write(dir.path().join("prompt.yaml"), "user: [").unwrap();
    let args = ["workflow", "apply", "-f", text(dir.path()), "--api-url", "http://127.0.0.1:9"];
    let ended = run(&args).expect(2);
    assert!(ended.err.contains("2 faults found"), "{ended:?}");
    assert!(ended.err.contains("integration.yaml /webhook/secret: "), "{ended:?}");
    assert!(ended.err.contains("hint: export NO_SUCH"), "{ended:?}");
    assert!(ended.err.contains("prompt.yaml:"), "{ended:?}");
}

#[test]
fn check_shows_what_is_in_force_and_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let mut check = everstep(&["check", "-o", "json", "--data-dir", text(dir.path())]);
    check.env("SMTP_URL", "smtp://me:hunter2@mail.example").env("OPENAI_API_KEY", "sk-hunter2");
    check.env("EVERSTEP_PORT", "99");
    let ended = Ended::of(&mut check).expect(0);
    let shown = ended.json();
    assert_eq!(shown["settings"]["http"]["port"], 99);
    assert_eq!(shown["settings"]["default_provider"], "openai");
    assert_eq!(shown["settings"]["mail"]["smtp_url"], "smtp://me:***@mail.example");
    assert!(!ended.out.contains("hunter2") && !ended.err.contains("hunter2"));
}

#[test]
fn a_setting_that_nobody_knows_is_refused_before_anything_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.toml");
    fs::write(&file, "[http]\nprot = 1\n").unwrap();
    let data = dir.path().join("data");
    let args = ["dev", "--config", text(&file), "--data-dir", text(&data)];
    let ended = run(&args).expect(2);
    assert!(ended.err.contains("prot") && !data.exists(), "{ended:?}");
}

#[test]
fn documents_are_compiled_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.yaml");
    let head = "document: {dsl: 1.0.0, namespace: n, name: w, version: 0.1.0}\n";
    fs::write(&file, format!("{head}do:\n  - a: {{set: {{x: 1}}}}\n")).unwrap();
    let valid = run(&["workflow", "validate", text(&file), "-o", "json"]).expect(0).json();
    assert_eq!(valid["items"][0]["name"], "w");
    fs::write(&file, format!("{head}do:\n  - a: {{sett: 1}}\n  - b: {{then: nowhere}}\n")).unwrap();
    let ended = run(&["workflow", "validate", text(&file)]).expect(2);
    assert!(ended.out.is_empty());
    for line in [3, 4] {
        assert!(ended.err.contains(&format!("w.yaml:{line} /do/")), "{ended:?}");
    }
}
