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

/// Expressions without parts.
const LEAVES: &[&str] = &[
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
    "flatten?",
    "transpose?",
    "todate?",
    "tonumber?",
    "from_entries?",
    "unique?",
];

/// Expressions of the parts F, G and H.
const SHAPES: &[&str] = &[
    "(F | G)",
    "(F, G)",
    "(F + G)",
    "(F - G)",
    "(F * G)",
    "(F / G)",
    "(F % G)",
    "(F == G)",
    "(F < G)",
    "(F and G)",
    "(F or G)",
    "(F // G)",
    "(F = G)",
    "(F |= G)",
    "(F += G)",
    "(F //= G)",
    "[F]",
    "(-F)",
    "(F)?",
    "\"x\\(F)\"",
    "@uri \"\\(F)&\"",
    "{a: F, ((G) | tostring): H}",
    "({a: F} * {a: G})",
    "(try F catch G)",
    "(F as [$x, $y] | G | [., $x])",
    "(F as {a: $x} | G | H)",
    "(F)[G]?",
    "(F)[G:H]?",
    "(if F then G else H end)",
    "(reduce F as $x (G; H | [., $x]))",
    "(foreach F as $x (G; H; [$x, .]))",
    "map(F)",
    "select(F)",
    "first(F)",
    "last(F)",
    "path(F)",
    "del(F)",
    "sort_by(F)",
    "group_by(F)",
    "any(F)",
    "all(F; G)",
    "add(F)",
    "walk(F)",
    "isempty(F)",
    "with_entries(F)",
    "min_by(F)",
    "unique_by(F)",
    "pick(F)",
    "has(F)",
    "contains(F)",
    "getpath(F)",
    "index(F)",
    "range(F)",
    "error(F)",
    "split(F)",
    "test(F)",
    "flatten(F)",
    "map_values(F)",
    "paths(F)",
    "startswith(F)",
    "limit(F; G)",
    "skip(F; G)",
    "setpath(F; G)",
    "sub(F; G)",
    "gsub(F; G)",
    "nth(F; G)",
    "range(F; G)",
    "range(F; G; H)",
    "match(F; G)",
    "delpaths(F)",
    "join(F)",
    "strftime(F)",
    "indices(F)",
    "IN(F)",
    "inside(F)",
    "in(F)",
    "ltrimstr(F)",
    "scan(F)",
];

/// Expressions that compile.
fn expressions() -> impl Strategy<Value = String> {
    let leaves = prop::sample::select(LEAVES).prop_map(str::to_owned);
    leaves.prop_recursive(5, 40, 3, |inside| {
        let parts = (prop::sample::select(SHAPES), inside.clone(), inside.clone(), inside);
        parts.prop_map(|(shape, f, g, h)| {
            let part = |letter| match letter {
                'F' => f.clone(),
                'G' => g.clone(),
                'H' => h.clone(),
                letter => String::from(letter),
            };
            shape.chars().map(part).collect()
        })
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
