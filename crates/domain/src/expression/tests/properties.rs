//! What holds for every text and every expression.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Expression, Scope};
use super::VARIABLES;

/// Pieces that texts of expressions are made of, right and wrong ones.
const PIECES: &[&str] = &[
    ".", "..", ".a", ".[0]", ".[]", "[", "]", "{", "}", "(", ")", "|", ",", "//", "+", "-", "*",
    "/", "%", "==", "<", "=", "|=", "+=", "?", "\"", "\\(", "\\", "a", "$x", "$input", " as ",
    "@uri", "@", "if ", "then ", "else ", "elif ", "end", "try ", "catch ", "reduce ", "foreach ",
    "label ", "def ", "map(", "select(", "first(", "limit(1;", "range(", "now", "env", "1", "1e9",
    "0.5", ":", ";", "#", "\n", "é", "\u{0}", "not", "empty", "error", "import ", "::", "and ",
    "or ", "_", "\r", "\\u00", "$",
];

fn texts() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec(prop::sample::select(PIECES), 0..40);
    prop_oneof![any::<String>(), pieces.prop_map(|pieces| pieces.concat())]
}

/// Expressions that compile.
fn expressions() -> impl Strategy<Value = String> {
    let leaves = prop::sample::select(vec![
        ".",
        "..",
        ".a",
        ".b?",
        ".[0]?",
        ".[]?",
        ".[1:]?",
        "1",
        "2.5",
        "\"a,b\"",
        "null",
        "true",
        "[]",
        "{}",
        "empty",
        "$input",
        "$context.a?",
        "range(3)",
        "error(\"x\")",
        "length?",
        "keys?",
        "tojson",
        "nan",
        "tostring",
        "add?",
        "sort?",
        "type",
        "paths",
        "first?",
        "to_entries?",
        "@base64",
        "explode?",
    ])
    .prop_map(str::to_owned);
    leaves.prop_recursive(5, 40, 3, |inside| {
        let operators = prop::sample::select(vec![
            "|", ",", "+", "-", "*", "/", "%", "==", "<", "and", "or", "//", "=", "|=", "+=", "//=",
        ]);
        let functions = prop::sample::select(vec![
            "map",
            "select",
            "first",
            "last",
            "path",
            "del",
            "sort_by",
            "group_by",
            "any",
            "all",
            "add",
            "walk",
            "isempty",
            "with_entries",
            "min_by",
            "unique_by",
            "pick",
            "has",
            "contains",
            "getpath",
            "index",
            "range",
            "error",
            "split",
            "test",
            "flatten",
            "map_values",
            "paths",
            "startswith",
        ]);
        let twofold =
            prop::sample::select(vec!["limit", "skip", "setpath", "sub", "nth", "range", "match"]);
        prop_oneof![
            (inside.clone(), operators, inside.clone())
                .prop_map(|(l, op, r)| format!("({l} {op} {r})")),
            (functions, inside.clone()).prop_map(|(name, f)| format!("{name}({f})")),
            (twofold, inside.clone(), inside.clone())
                .prop_map(|(name, f, g)| format!("{name}({f}; {g})")),
            inside.clone().prop_map(|f| format!("[{f}]")),
            inside.clone().prop_map(|f| format!("(-{f})")),
            inside.clone().prop_map(|f| format!("({f})?")),
            inside.clone().prop_map(|f| format!("\"x\\({f})\"")),
            (inside.clone(), inside.clone())
                .prop_map(|(f, g)| format!("{{a: {f}, (({g}) | tostring): 1}}")),
            (inside.clone(), inside.clone()).prop_map(|(f, g)| format!("(try {f} catch {g})")),
            (inside.clone(), inside.clone())
                .prop_map(|(f, g)| format!("({f} as [$x, $y] | {g} | [., $x])")),
            (inside.clone(), inside.clone(), inside.clone())
                .prop_map(|(f, g, h)| format!("if {f} then {g} else {h} end")),
            (inside.clone(), inside.clone(), inside.clone())
                .prop_map(|(f, g, h)| format!("(reduce {f} as $x ({g}; {h}))")),
            (inside.clone(), inside.clone(), inside)
                .prop_map(|(f, g, h)| format!("(foreach {f} as $x ({g}; {h}; [$x, .]))")),
        ]
    })
}

fn inputs() -> impl Strategy<Value = Value> {
    let leaves = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-5_i64..5).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c,é]{0,4}".prop_map(Value::from),
    ];
    leaves.prop_recursive(4, 24, 4, |inside| {
        prop_oneof![
            prop::collection::vec(inside.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inside, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_compiler_panic(text in texts()) {
        if let Err(error) = Expression::compile(&text, VARIABLES) {
            prop_assert!(error.detail.chars().count() < 200, "{}", error.detail);
        }
    }

    #[test]
    fn an_expression_evaluates_or_fails_and_does_so_again(
        source in expressions(), input in inputs(), context in inputs(),
    ) {
        let expression = Expression::compile(&source, VARIABLES).unwrap();
        let scope = Scope::from([("context".to_owned(), context)]);
        let first = expression.evaluate(&input, &scope);
        prop_assert_eq!(&first, &expression.evaluate(&input, &scope));
        if let Err(error) = first {
            prop_assert!(error.0.chars().count() <= 201);
        }
    }

    #[test]
    fn identity_gives_back_what_it_got(input in inputs()) {
        let scope = Scope::new();
        for source in [".", "[.][0]", "tojson | fromjson", "{a: .} | .a", ". as $x | $x", "walk(.)", "[.[]?] as $x | ."] {
            let value = Expression::compile(source, &[]).unwrap().evaluate(&input, &scope);
            prop_assert_eq!(value.unwrap(), input.clone(), "{}", source);
        }
    }

    #[test]
    fn a_set_value_is_found_again(input in inputs(), new in inputs()) {
        let scope = Scope::from([("input".to_owned(), json!([input, new]))]);
        let source = "$input as [$value, $new] | $value | [paths] as $all \
            | all($all[]; . as $path | $value | setpath($path; $new) | getpath($path) == $new)";
        let value = Expression::compile(source, VARIABLES).unwrap().evaluate(&Value::Null, &scope);
        prop_assert_eq!(value, Ok(json!(true)));
    }
}
