//! The same outputs as jaq, where jaq and jq agree.

use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, data};
use jaq_json::{Val, read};
use serde_json::Value;

use super::{evaluate, outputs};

/// All outputs of jaq for each input; none where it fails.
fn jaq(source: &str) -> Vec<Option<Value>> {
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let program = File { code: source, path: () };
    let Ok(modules) = Loader::new(definitions).load(&arena, program) else {
        panic!("jaq cannot parse {source}")
    };
    let Ok(filter) = Compiler::default().with_funs(functions).compile(modules) else {
        panic!("jaq cannot compile {source}")
    };
    let outputs = |input: &&str| {
        let input = read::parse_single(input.as_bytes()).ok()?;
        let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
        let values = filter.id.run((context, input));
        let values = values.map(|value| serde_json::from_str(&value.ok()?.to_string()).ok());
        values.collect::<Option<Vec<Value>>>().map(Value::Array)
    };
    INPUTS.iter().map(outputs).collect()
}

/// Inputs of all kinds.
const INPUTS: &[&str] = &[
    "null",
    "true",
    "3",
    "-1.5",
    r#""a,b,c""#,
    r#""héllo wörld 42""#,
    "[]",
    "[3,1,2,1]",
    r#"[{"a":2,"b":"x"},{"a":1,"b":"y"},{"a":2,"b":"z"}]"#,
    "[[1,[2]],[3]]",
    "{}",
    r#"{"a":1,"b":{"c":[1,2,{"d":null}]},"e":"text"}"#,
    r#"{"colors":["red","blue"],"n":2,"user":{"first":"Ada","last":"L"}}"#,
    r#"[{"key":"a","value":1},{"key":"b","value":2}]"#,
    r#"["1","2.5","x",4,null,true]"#,
    "1425599621",
    r#""2015-03-05T23:51:47Z""#,
];

/// Expressions whose outputs must be jaq's for each of the inputs, if jaq has any.
const SOURCES: &[&str] = &[
    ".",
    "..",
    ".a",
    ".a?",
    ".b.c[0]?",
    ".[0]",
    ".[-1]",
    ".[]?",
    ".[1:]",
    ".[:-1]",
    ".a, .b?",
    ".a // 1",
    ".[]? // 2",
    "(.a, .b)? // empty",
    "length",
    "keys",
    "type",
    "not",
    "tostring",
    "tojson",
    "add",
    "any",
    "all",
    "sort",
    "reverse",
    "unique",
    "min",
    "max",
    "arrays | flatten",
    "flatten(1)",
    "to_entries",
    "from_entries",
    "with_entries(.value |= tostring)",
    "map(.)",
    "map(.a?)",
    "map(type)",
    "map_values(type)",
    "[.[]? | select(type == \"number\")]",
    "sort_by(.a)",
    "group_by(.a)",
    "unique_by(.a)",
    "min_by(.a)",
    "max_by(.a)",
    "map(.a) | add",
    "[paths]",
    "[paths(type == \"number\")]",
    "[..|numbers]",
    "first",
    "last",
    "first(.[])",
    "last(.[])",
    "[limit(2; .[])]",
    "[skip(1; .[])]",
    "nth(1)",
    "has(\"a\")",
    "has(0)",
    "contains({a: 1})",
    "contains([1])",
    "contains(\"b\")",
    "inside([3,1,2,1,9])",
    "index(\",\")",
    "indices(1)",
    "indices(\"l\")",
    "startswith(\"a\")",
    "endswith(\"c\")",
    "split(\",\")",
    "split(\", *\"; null)",
    "[splits(\" \")]",
    "ascii_upcase",
    "ascii_downcase",
    "explode",
    "explode | implode",
    "test(\"[0-9]+\")",
    "[match(\"[a-z](?<x>.)\"; \"g\") | .offset, .length, .string]",
    "capture(\"(?<first>[a-z]+)\")",
    "[scan(\"[a-zé]+\")]",
    "[scan(\"(.)(l)\")]",
    "sub(\"[aeiou]\"; \"_\")",
    "gsub(\"[aeiou]\"; \"_\")",
    "gsub(\"(?<v>[aeiou])\"; \"<\\(.v)>\")",
    "[match(\"\"; \"g\").offset]",
    "test(\"HÉL\"; \"i\")",
    "trim",
    "utf8bytelength",
    "tonumber?",
    "map(tonumber?)",
    "fromjson?",
    "floor",
    "sqrt?",
    "-.",
    ". + 1",
    ". - 1",
    ". * 2",
    ". + .",
    ". * .",
    ". == .",
    ". < 1",
    ". >= \"a\"",
    "[.[]? | . < 2]",
    "\"x\\(.)y\"",
    "@base64",
    "@base64 | @base64d",
    "@uri",
    "@json",
    "@text",
    "@sh",
    "@uri \"a=\\(.)\"",
    "{a: .}",
    "{a: 1, b: .a?}",
    "{(type): 1}",
    "{x: (1, 2)}",
    "[.[]? as $x | $x]",
    ". as {a: $x} | $x",
    ". as [$x, $y] | [$y, $x]",
    "reduce .[]? as $x (0; . + 1)",
    "reduce .[] as $x (0; . + $x)",
    "[foreach .[]? as $x (0; . + 1; [., $x])]",
    "[foreach .[] as $x (0; . + $x)]",
    "if .a? then 1 elif length > 2 then 2 else 3 end",
    "if . then 1 end",
    "try error(\"x\") catch .",
    "try error({a: 1}) catch .a",
    ".a = 5",
    ".a |= 5",
    ".a += 1",
    ".[0] = 9",
    ".[1:] = [7]",
    ".a //= 7",
    ".z //= 7",
    ".[]? += 1",
    "map_values(empty)",
    ".[] |= empty",
    "del(.a)",
    "del(.[0])",
    "del(.[0, 1])",
    "del(.b.c[0])",
    "del(.[1:])",
    "delpaths([[\"a\"]])",
    "setpath([\"a\"]; 1)",
    "getpath([\"b\", \"c\"])",
    "[path(..)]",
    "[path(.a?, .b?)]",
    "pick(.a)",
    "walk(if type == \"number\" then . + 1 else . end)",
    "[range(3)]",
    "[range(1; 4)]",
    "[range(5; 0; -2)]",
    "isempty(.[]?)",
    "any(.[]; . == 1)",
    "all(.[]; . != 9)",
    "transpose",
    "join(\"-\")",
    "todate",
    "fromdate",
    "gmtime",
    "gmtime | mktime",
    "strftime(\"%Y-%m-%d\")",
    "strptime(\"%Y-%m-%dT%H:%M:%SZ\")",
    "[.[]?] | length",
    "(.a, .b)? = 1",
    "[1, 2, 3] | .[1:] |= map(. * 2)",
    "null + [1]",
    "[limit(3; range(10))]",
    "[.. | scalars]",
    "to_entries | map(.key) | join(\",\")",
    "\"\\(1 + 2) \\(\"n\\(3)\")\"",
    "[.[] | (1 / .)?]",
    "abs",
    "(1, 2) as $x | (3, 4) as $y | [$x, $y]",
    "[1, [2]] | . as [$a, [$b]] | $a + $b",
    "first(range(5))",
    "ceil",
    "round",
];

/// Expressions that fail here, as in jq, for some inputs that jaq takes.
const STRICTER: &[&str] = &[
    ".[0]",
    ".[-1]",
    "first",
    "last",
    "nth(1)",
    "from_entries",
    "has(\"a\")",
    "has(0)",
    "contains({a: 1})",
    "contains([1])",
    "contains(\"b\")",
    "inside([3,1,2,1,9])",
    ". as [$x, $y] | [$y, $x]",
    "del(.[0])",
    "del(.[0, 1])",
    "del(.[1:])",
    "transpose",
    "join(\"-\")",
    "abs",
];

/// Expressions that jq, and so this, understands differently than jaq for the input.
const DIFFERENT: &[(&str, &str)] = &[
    (".[1:]", "null"),
    (".[:-1]", "null"),
    ("flatten(1)", "[]"),
    ("flatten(1)", "{}"),
    ("test(\"HÉL\"; \"i\")", r#""héllo wörld 42""#),
    ("tonumber?", r#""2015-03-05T23:51:47Z""#),
    ("fromjson?", r#""2015-03-05T23:51:47Z""#),
    ("del(.[0, 1])", "[3,1,2,1]"),
    ("del(.[0, 1])", r#"[{"a":2,"b":"x"},{"a":1,"b":"y"},{"a":2,"b":"z"}]"#),
    ("del(.[0, 1])", r#"["1","2.5","x",4,null,true]"#),
    ("join(\"-\")", r#"["1","2.5","x",4,null,true]"#),
    ("todate", "-1.5"),
    ("gmtime | mktime", "-1.5"),
];

#[test]
fn outputs_are_those_of_jaq() {
    let mut compared = 0;
    let mut different = Vec::new();
    for source in SOURCES {
        for (input, expected) in INPUTS.iter().zip(jaq(source)) {
            let Some(expected) = expected else { continue };
            let actual = outputs(source, &serde_json::from_str(input).unwrap());
            compared += 1;
            let known = DIFFERENT.contains(&(source, input))
                || (actual.is_string() && STRICTER.contains(source));
            if !known && !same(&actual, &expected) {
                different.push(format!("{source} of {input}: {actual}, jaq {expected}"));
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert!(compared > 1_000, "only {compared}");
}

/// Numbers are the same if they are equal; that jaq writes quotients as decimals does not count.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(name, left)| right.get(name).is_some_and(|right| same(left, right)))
        }
        (left, right) => left == right,
    }
}

#[test]
fn where_jq_and_jaq_differ_jq_is_followed() {
    for (source, input, expected) in [
        (".a = 1", "null", r#"{"a":1}"#),
        ("6 / 2", "null", "3"),
        ("\"a\" | ltrimstr(1)", "null", r#""a""#),
        ("reduce 1 as $x (7; empty)", "null", "null"),
        ("[.[] | 5.5 % .]", "[2]", "[1]"),
    ] {
        let value = evaluate(source, &serde_json::from_str(input).unwrap()).unwrap();
        assert_eq!(value.to_string(), expected, "{source}");
    }
}
