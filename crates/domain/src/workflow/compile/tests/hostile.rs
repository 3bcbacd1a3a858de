//! Documents that nobody means well with: the compiler answers, and neither panics nor hangs.

use proptest::prelude::*;
use serde_json::Value;

use super::compiled;
use super::plans::EVERYTHING;
use crate::workflow::Plan;

/// What a mutation puts somewhere.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(Value::Bool(true)),
        Just(Value::from(-1)),
        Just(Value::from(1e300)),
        Just(Value::from("")),
        Just(Value::from("${ .a")),
        Just(Value::from("${ $x }")),
        Just(Value::from("end")),
        Just(serde_json::json!([])),
        Just(serde_json::json!({})),
        Just(serde_json::json!([{"a": {"do": [{"a": {"then": "a"}}]}}])),
        "\\PC{0,8}".prop_map(Value::from),
    ]
}

/// Pointers to every value of a document.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{place}"), into);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(member, &format!("{at}/{name}"), into);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Lists at most a hundred faults, each with a place that exists, a code and a sentence.
fn are_well_formed(text: &str) -> Result<(), TestCaseError> {
    let Err(faults) = Plan::compile(text) else { return Ok(()) };
    prop_assert!(!faults.is_empty() && faults.len() <= 100);
    let lines = u32::try_from(text.lines().count().max(1)).unwrap();
    for fault in &faults {
        prop_assert!(fault.pointer.is_empty() || fault.pointer.starts_with('/'));
        prop_assert!(fault.line.is_none_or(|line| (1..=lines).contains(&line)), "{fault:?}");
        prop_assert!(fault.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        prop_assert!(!fault.detail.is_empty() && fault.detail.len() < 1_000);
    }
    prop_assert!(faults.is_sorted_by_key(|fault| fault.line));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_makes_the_compiler_panic(text in "(document|do|set|[a-z:{}\\[\\]'\"$|, \n-]|\\PC){0,120}") {
        are_well_formed(&text)?;
    }

    #[test]
    fn no_changed_value_makes_the_compiler_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_value()), 1..4),
    ) {
        let mut document = (*compiled(EVERYTHING).definition).clone();
        for (at, value) in changes {
            let mut all = vec![];
            pointers(&document, "", &mut all);
            let chosen: &String = at.get(&all);
            *document.pointer_mut(chosen).expect("a pointer into it") = value;
        }
        are_well_formed(&serde_json::to_string_pretty(&document).unwrap())?;
    }

    #[test]
    fn no_cut_or_doubled_line_makes_the_compiler_panic(
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        doubled in any::<bool>(),
    ) {
        let lines: Vec<&str> = EVERYTHING.lines().collect();
        let (from, to) = (from.index(lines.len()), to.index(lines.len()));
        let (from, to) = (from.min(to), from.max(to));
        let mut changed = lines[..from].to_vec();
        if doubled {
            changed.extend(&lines[from..to]);
            changed.extend(&lines[from..]);
        } else {
            changed.extend(&lines[to..]);
        }
        are_well_formed(&changed.join("\n"))?;
    }

    #[test]
    fn no_changed_character_makes_the_compiler_panic(
        at in any::<prop::sample::Index>(),
        character in prop::char::any(),
    ) {
        let mut text: Vec<char> = EVERYTHING.chars().collect();
        let at = at.index(text.len());
        text[at] = character;
        are_well_formed(&text.into_iter().collect::<String>())?;
    }
}
