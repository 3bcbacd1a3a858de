use proptest::prelude::*;
use serde_json::{Value, json};

use super::read;

fn json_of(text: &str) -> Value {
    read(text).unwrap_or_else(|faults| panic!("{text}: {faults:#?}")).to_json()
}

/// Pointer, line and code of each fault.
fn faults(text: &str) -> Vec<(String, u32, String)> {
    let faults = read(text).expect_err(text);
    faults
        .into_iter()
        .map(|fault| (fault.pointer, fault.line.unwrap_or_default(), fault.code))
        .collect()
}

#[track_caller]
fn only(text: &str, pointer: &str, line: u32, code: &str) {
    assert_eq!(faults(text), [(pointer.to_owned(), line, code.to_owned())], "{text}");
}

#[test]
fn plain_scalars_mean_what_the_core_schema_says() {
    for (text, value) in [
        ("null", json!(null)),
        ("~", json!(null)),
        ("True", json!(true)),
        ("yes", json!("yes")),
        ("-12", json!(-12)),
        ("+7", json!(7)),
        ("017", json!(17)),
        ("0o17", json!(15)),
        ("0xfF", json!(255)),
        ("0x-5", json!("0x-5")),
        ("+-5", json!("+-5")),
        ("18446744073709551615", json!(u64::MAX)),
        ("1.5", json!(1.5)),
        ("-.5e3", json!(-500.0)),
        ("1.", json!(1.0)),
        ("1e3", json!(1000.0)),
        (".", json!(".")),
        ("1.2.3", json!("1.2.3")),
        ("1e", json!("1e")),
        ("1_000", json!("1_000")),
        ("2026-01-01", json!("2026-01-01")),
        ("'1'", json!("1")),
        ("\"true\"", json!("true")),
        ("infinity", json!("infinity")),
    ] {
        assert_eq!(json_of(&format!("a: {text}")), json!({"a": value}), "{text}");
    }
}

#[test]
fn json_is_read_as_yaml() {
    let text = "{\n\t\"a\": [1, -2.5e3, true, null],\n\t\"b\\/\": \"\\ud83d\\ude00\\\\ud83d\"\n}";
    let value: Value = serde_json::from_str(text).unwrap();
    assert_eq!(json_of(text), value);
    assert_eq!(json_of("a: '\\ud83d\\ude00'"), json!({"a": "\\ud83d\\ude00"}));
}

#[test]
fn numbers_that_json_lacks_are_refused() {
    for number in [".inf", "-.INF", ".nan", "1e999", "0xfffffffffffffffff"] {
        only(&format!("a:\n  - {number}"), "/a/0", 2, "malformed_number");
    }
}

#[test]
fn a_duplicate_member_names_both_lines() {
    only("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "/b/c", 5, "duplicate_field");
    let faults = read("a: 1\n\na: 2").unwrap_err();
    assert!(faults[0].detail.contains("line 1"), "{faults:?}");
}

#[test]
fn aliases_tags_and_second_documents_are_refused() {
    only("a: &x [1]\nb: *x", "/b", 2, "alias");
    only("a: !!binary aGk=", "/a", 1, "tag");
    only("!!str a: 1", "", 1, "tag");
    only("a: 1\n---\nb: 2", "", 2, "several_documents");
    only("? [a]\n: 1", "", 1, "malformed_name");
}

#[test]
fn what_is_no_yaml_says_where() {
    only("a: 1\nb: [1, 2", "/b", 2, "malformed_yaml");
    only("a: 1\n b: 2", "", 2, "malformed_yaml");
    only("", "", 1, "empty_document");
    only("\n", "", 1, "empty_document");
    only("# nothing\n", "", 1, "empty_document");
}

#[test]
fn what_could_exhaust_the_stack_or_the_log_is_refused() {
    assert_eq!(faults(&"[".repeat(100_000))[0].2, "nested_too_deep");
    assert_eq!(faults(&"- ".repeat(100_000))[0].2, "nested_too_deep");
    assert_eq!(faults(&"a: {".repeat(100_000))[0].2, "nested_too_deep");
    assert_eq!(faults(&" ".repeat(1024 * 1024 + 1))[0].2, "document_too_large");
    only("a: 1\nb: \"\\0\"", "/b", 2, "malformed_text");
    only("\"\\0\": 1", "", 1, "malformed_text");
    only("a: 1\n\0", "", 2, "malformed_text");
    only(&format!("? {}\n: 1", "n".repeat(1025)), "", 1, "malformed_name");
}

#[test]
fn faults_of_form_are_found_together() {
    let text = "a: .nan\na: 2\nb: !x 3\nc: [1";
    let codes: Vec<String> = faults(text).into_iter().map(|(_, _, code)| code).collect();
    assert_eq!(codes, ["malformed_number", "duplicate_field", "tag", "malformed_yaml"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9_f64..1e9).prop_map(Value::from),
        "[^\\x00]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[^\\x00]{0,6}", inner, 0..6)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_as_it_is(value in any_json()) {
        prop_assert_eq!(json_of(&value.to_string()), value.clone());
        prop_assert_eq!(json_of(&serde_json::to_string_pretty(&value).unwrap()), value);
    }

    #[test]
    fn any_json_in_ascii_is_read_as_it_is(text in "[^\\x00]{0,20}") {
        let escaped: Vec<String> =
            text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        prop_assert_eq!(json_of(&format!("[\"{}\"]", escaped.concat())), json!([text]));
    }

    #[test]
    fn no_text_makes_it_panic(text in "([a-c:?!&*|>%@{}\\[\\]'\"#, \n\t-]|\\PC){0,60}") {
        let _ = read(&text);
    }
}
