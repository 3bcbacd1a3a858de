//! Which layer wins, what follows from what, and what is refused.

use std::fs;
use std::path::Path;

use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with(variables: &[(&str, &str)]) -> Settings {
    load(&Flags::default(), &environment(variables)).unwrap()
}

fn file(text: &str) -> (tempfile::TempDir, Flags) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("settings.toml");
    fs::write(&path, text).unwrap();
    (dir, Flags { config: Some(path), ..Flags::default() })
}

fn refusal(text: &str) -> String {
    let (_dir, flags) = file(text);
    load(&flags, &Environment::default()).unwrap_err().to_string()
}

#[test]
fn the_documented_defaults_are_complete() {
    let settings = with(&[]);
    assert_eq!(settings.http.port, 8080);
    assert_eq!(settings.data_dir, Path::new(".everstep"));
    assert!(settings.database.url.is_none() && settings.mail.smtp_url.is_none());
    assert_eq!(settings.default_provider.as_deref(), Some("sandbox"));
    let offered: Vec<&String> = settings.providers.keys().collect();
    assert_eq!(offered, ["sandbox"], "openai has no key");
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let (_dir, mut flags) = file("data_dir = 'file'\n[http]\nport = 1\naddress = '0.0.0.0'");
    let variables = environment(&[("EVERSTEP_PORT", "2"), ("EVERSTEP_DATA_DIR", "environment")]);
    flags.port = Some(3);
    let settings = load(&flags, &variables).unwrap();
    assert_eq!(settings.http.port, 3);
    assert_eq!(settings.data_dir, Path::new("environment"));
    assert!(settings.http.address.is_unspecified());
}

#[test]
fn a_tenant_is_given_a_weight_and_never_none_at_all() {
    let tenant = "00000000-0000-0000-0000-000000000001";
    let (_dir, flags) = file(&format!("[limits.weights]\n{tenant} = 3"));
    let settings = load(&flags, &Environment::default()).unwrap();
    let weights: Vec<u16> = settings.limits.weights.values().map(|weight| weight.get()).collect();
    assert_eq!(weights, [3]);
    assert!(settings.limits.calls_per_provider.get() > 1, "the rest is as it was");
    assert!(refusal(&format!("[limits.weights]\n{tenant} = 0")).contains("weights"));
    assert!(refusal("[limits.weights]\nsomebody = 1").contains("weights"));
}

#[test]
fn an_empty_variable_is_one_that_is_not_set() {
    assert!(with(&[("DATABASE_URL", "")]).database.url.is_none());
}

#[test]
fn a_key_in_the_environment_selects_the_real_provider() {
    let variables = [("OPENAI_API_KEY", "sk-1"), ("EVERSTEP_MODEL_URL", "http://127.0.0.1:1/v1")];
    let settings = with(&variables);
    assert_eq!(settings.default_provider.as_deref(), Some("openai"));
    let openai = &settings.providers["openai"];
    assert_eq!(openai.base_url.as_ref().unwrap().as_str(), "https://api.openai.com/v1");
    assert!(openai.api_key(&environment(&variables)).is_some());
    assert!(settings.providers["local"].api_key(&environment(&variables)).is_none());
    assert!(!format!("{settings:?}").contains("sk-1"));
}

#[test]
fn a_local_model_is_chosen_when_there_is_no_key_and_opens_nothing_else() {
    let settings = with(&[
        ("EVERSTEP_MODEL_URL", "http://127.0.0.1:8000/v1"),
        ("EVERSTEP_MODEL_NAME", "smollm2"),
    ]);
    assert_eq!(settings.default_provider.as_deref(), Some("local"));
    assert_eq!(settings.providers["local"].default_model, "smollm2");
    assert!(settings.egress.allow.is_empty());
}

#[test]
fn lists_in_the_environment_have_commas() {
    let settings = with(&[
        ("EVERSTEP_EGRESS_MAP", "https://a.example=http://127.0.0.1:1, https://b=http://[::1]:2"),
        ("EVERSTEP_EGRESS_ALLOW", "127.0.0.1/32,::1/128"),
    ]);
    let expected = ["https://a.example=http://127.0.0.1:1", "https://b=http://[::1]:2"];
    assert_eq!(settings.egress.map, expected);
    assert_eq!(settings.egress.allow.len(), 2);
}

#[test]
fn what_nobody_knows_is_refused_by_name() {
    assert!(refusal("[http]\nprot = 1").contains("prot"));
    assert!(refusal("database_url = 'x'").contains("database_url"));
    assert!(refusal("[http]\nport = 'eighty'").contains("http.port"));
    assert!(refusal("[http\n").contains("settings.toml"));
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let flags = Flags { config: Some("/nowhere/everstep.toml".into()), ..Flags::default() };
    let error = load(&flags, &Environment::default()).unwrap_err().to_string();
    assert!(error.contains("/nowhere/everstep.toml"), "{error}");
}

#[test]
fn a_default_provider_without_its_key_is_refused_with_advice() {
    let error = refusal("default_provider = 'openai'");
    assert!(error.contains("offered: sandbox") && error.contains("key"), "{error}");
}

#[test]
fn a_provider_must_say_where_it_is() {
    let error = refusal("[providers.mine]\nkind = 'openai_chat'\ndefault_model = 'm'");
    assert!(error.contains("providers.mine needs a base_url"), "{error}");
}

#[test]
fn a_secret_that_is_no_url_is_not_repeated() {
    let error = refusal("[database]\nurl = 'hunter2'");
    assert!(error.contains("database.url") && !error.contains("hunter2"), "{error}");
}
