//! Expressions that would hang, exhaust memory or kill the process if nothing stopped them.

use std::thread::{self, Builder};

use serde_json::{Value, json};

use super::super::budget::{BYTES, STEPS};
use super::super::{Expression, Scope};
use super::VARIABLES;

/// The stack of the threads that evaluate here: less than any thread of the program has, and
/// enough only because nothing recurses with the data. An overflow ends the whole test process.
const STACK: usize = 1_500 << 10;

const STEPS_ERROR: &str = "the expression costs too much: more than 750000 steps";
const BYTES_ERROR: &str = "the expression needs too much memory: more than 32 MiB";
const DEPTH_ERROR: &str = "the expression goes too deep";
const NESTING_ERROR: &str = "a value is nested deeper than 128 levels";

/// What becomes of an expression in a thread with a small stack.
fn outcome(source: &str, input: &Value) -> Result<Value, String> {
    thread::scope(|scope| {
        let evaluation = || {
            let expression =
                Expression::compile(source, VARIABLES).map_err(|error| error.detail)?;
            expression.evaluate(input, &Scope::new()).map_err(|error| error.0)
        };
        let thread = Builder::new().stack_size(STACK).spawn_scoped(scope, evaluation).unwrap();
        thread.join().expect("no expression panics")
    })
}

fn ends_in(errors: &[&str], sources: &[&str]) {
    for source in sources {
        let error = outcome(source, &Value::Null).expect_err(source);
        assert!(errors.contains(&error.as_str()), "{source}: {error}");
    }
}

#[test]
fn the_limits_are_what_the_messages_say() {
    assert_eq!((STEPS, BYTES), (750_000, 32 << 20));
}

#[test]
fn loops_end_when_the_steps_are_used_up() {
    ends_in(
        &[STEPS_ERROR],
        &[
            "last(range(1e12))",
            "reduce range(1e11) as $x (0; . + $x)",
            "first(range(1e12) | select(. < 0))",
            "[range(1e12) | empty]",
            "[range(3e8)]",
            "[range(1e9)] | length",
            "[limit(1e12; range(1e12))]",
            "[skip(1e12; range(1e12))]",
            "[foreach range(1e12) as $x (0; . + 1; empty)]",
            "[range(0; 1; 1e-12)]",
            "[range(0; -1; -1e-300)]",
            "any(range(1e12); . < 0)",
            "all(range(1e12); . >= 0)",
            "isempty(range(1e12) | select(. < 0))",
            "add(range(1e12))",
            "nth(1e12; range(1e12))",
            "[range(1000) as $a | range(1000) as $b | range(1000) as $c | 1] | length",
            "[range(3000)] | [.[] as $a | .[] as $b | 1] | length",
            "[range(1000)] | [.[] + .[]] | length",
            "[range(1000)] | [{a: .[], b: .[]}] | length",
            "[range(1000)] | [\"\\(.[])\\(.[])\"] | length",
            "[range(200000)] | sort",
            "[range(100000)] | map(. * 2) | group_by(. % 7)",
            "[range(30000)] - [range(30000)]",
            "[range(3000)] | contains([range(3000)])",
            "[range(20000)] | del(.[range(0; 20000; 2)])",
            "[range(100000)] | [paths] | length",
            "[range(2000)] as $a | [$a[] | $a] | tojson",
            "[range(2000)] as $a | [$a[] | $a] == [$a[] | $a]",
        ],
    );
}

#[test]
fn a_product_of_commas_ends() {
    let product = vec!["(., .)"; 40].join(" | ");
    ends_in(
        &[STEPS_ERROR],
        &[&format!("[{product}] | length"), &format!("first({product} | select(. == 1))")],
    );
}

#[test]
fn growth_ends_when_the_memory_is_used_up() {
    ends_in(
        &[BYTES_ERROR, STEPS_ERROR],
        &[
            "\"x\" * 1e9",
            "\"x\" * 1e300",
            "reduce range(100) as $i (\"aaaaaaaa\"; . + .)",
            "reduce range(100) as $i ([1]; . + .)",
            "reduce range(1e6) as $i (null; .[$i] = $i)",
            "reduce range(1e6) as $i ({}; .[\"k\\($i)\"] = $i)",
            "(\"a\" * 10000000) | @base64 | @base64 | @base64 | @base64 | @base64",
            "(\"<\" * 5000000) | @html | @html | @html",
            "(\"<\" * 5000000) | @uri | @uri | @uri",
            "(\"a\" * 1000000) | [splits(\"a\")] | length",
            "(\"a,\" * 2000000) | split(\",\") | length",
            "(\"ab\" * 2000000) | explode",
            "[range(2000)] as $a | [$a[] | $a]",
            ".[1000000000] = 1",
            ".[1e15] = 1",
            "setpath([1000000000]; 1)",
            "(\"1,\" * 1000000) | \"[\" + . + \"1]\" | fromjson",
            "[range(100000) | strftime(\"%Y-%m-%dT%H:%M:%SZ\")]",
            "(\"%A\" * 1000000) as $f | 0 | strftime($f)",
        ],
    );
}

#[test]
fn a_small_value_that_is_large_when_written_out_ends() {
    ends_in(
        &[BYTES_ERROR, STEPS_ERROR],
        &[
            "reduce range(100) as $i ([]; [., .])",
            "reduce range(100) as $i ([]; [., .]) | tojson",
            "reduce range(100) as $i ({}; {a: ., b: .}) | tostring",
            "reduce range(100) as $i ([]; [., .]) | . == .",
            "reduce range(100) as $i ([]; [., .]) | contains(.)",
            "reduce range(100) as $i (0; [., .]) | flatten",
            "reduce range(100) as $i (0; [., .]) | [..]",
            "reduce range(100) as $i (0; [., .]) | walk(.)",
            "reduce range(100) as $i (0; [., .]) | unique",
            "reduce range(100) as $i (0; [., .]) | [paths]",
            "reduce range(100) as $i (0; [., .]) | .. |= 1 | length",
            "reduce range(100) as $i (0; {a: ., b: .}) | . * .",
        ],
    );
}

#[test]
fn values_nest_to_a_depth_only() {
    ends_in(
        &[NESTING_ERROR],
        &[
            "reduce range(1000) as $i ([]; [.])",
            "reduce range(200) as $i (null; {a: .})",
            "setpath([range(100000) | \"a\"]; 1)",
            "getpath([range(100000) | \"a\"])",
            "path(getpath([range(100000) | 0]))",
            "delpaths([[range(100000)]])",
            "reduce range(1e5) as $x (.; .a) |= 1",
            "path(reduce range(1e5) as $x (.; .a))",
            "(reduce range(100) as $i (0; [.])) as $x | reduce range(100) as $i ($x; [.])",
            "reduce range(100) as $i (0; [.]) | .. |= [.]",
        ],
    );
    let mut deep = json!(1);
    for _ in 0..126 {
        deep = json!([deep]);
    }
    assert_eq!(outcome("[..] | length", &deep), Ok(json!(127)));
    assert_eq!(outcome("walk(.) == .", &deep), Ok(json!(true)));
    assert_eq!(outcome("tojson | fromjson == .", &json!([1])), Ok(json!(false)));
    for _ in 0..500 {
        deep = json!([deep]);
    }
    assert_eq!(outcome(". + 1", &deep), Err(NESTING_ERROR.to_owned()));
    assert_eq!(outcome("first(.. | numbers)", &deep), Err(DEPTH_ERROR.to_owned()));
    // Dropping what nests so deeply is serde_json's recursion, not ours.
    std::mem::forget(deep);
}

#[test]
fn a_limit_cannot_be_caught() {
    ends_in(
        &[STEPS_ERROR],
        &[
            "try last(range(1e12)) catch \"caught\"",
            "last(range(1e12))? // 2",
            "(last(range(1e12)) // 1)",
            "[range(1e12) as $x | try error catch empty]",
            "first((last(range(1e12)))?, 1)",
        ],
    );
    ends_in(&[BYTES_ERROR], &["try (\"x\" * 1e9) catch 1", "(\"x\" * 1e9)? // 1"]);
    ends_in(&[NESTING_ERROR], &["try reduce range(200) as $i (0; [.]) catch 1"]);
}

#[test]
fn regular_expressions_take_counted_time() {
    ends_in(
        &[STEPS_ERROR],
        &[
            "(\"a\" * 20000) | gsub(\"a[^z]*z|a\"; \"b\")",
            "(\"a\" * 300000) | test(\"(a+)+$\")",
            "(\"a\" * 100000) | test(\"(a?){300}a{300}z\")",
            "(\"é\" * 100000) | test(\"(?i)\\\\w{100}z\")",
            "[range(100000)] | map(tostring as $t | \"a\" | test(\"\\\\w\\\\W\" + $t))",
            "(\"a\" * 30000) as $s | (\"a\" * 10000) as $t | $s | indices($t)",
        ],
    );
    assert_eq!(
        outcome("(\"a\" * 5000) + \"!\" | test(\"^(a+)+$\")", &Value::Null),
        Ok(json!(false))
    );
    for pattern in
        ["(((a{100}){100}){100}){100}", "((a?){50}){50}b", "a{100000}", "(\\\\w{99}){99}"]
    {
        let error = outcome(&format!("test(\"{pattern}\")"), &json!("a")).unwrap_err();
        assert_eq!(error, "a regular expression is too large", "{pattern}");
        let error = outcome(&format!("\"{pattern}\" as $p | test($p)"), &json!("a")).unwrap_err();
        assert_eq!(error, "a regular expression is too large", "{pattern}");
    }
}

#[test]
fn long_texts_cost_their_length_each_time() {
    let work = [
        "length",
        "startswith($s)",
        "rtrimstr($s)",
        "trim",
        "tonumber?",
        "test(\"b\")",
        "== $s",
        "contains(\"b\")",
        ".[5:6]",
        "ascii_upcase",
        "fromdate?",
        "explode",
        "@uri",
        "tojson",
        "fromjson?",
        "split(\",\")",
        "in({})",
        "{($s): 1}",
        "has($o; $s)",
        "$o[$s]",
        "@sh",
    ];
    for work in work {
        let work = match work {
            "has($o; $s)" => "($s as $k | $o | has($k))".to_owned(),
            work if work.starts_with("==") => format!(". {work}"),
            work => work.to_owned(),
        };
        let source = format!(
            "(\"1\" * 1000000) as $s | {{($s): 1}} as $o | [range(100000) | $s | {work}] | length"
        );
        ends_in(&[STEPS_ERROR, BYTES_ERROR], &[&source]);
    }
}

#[test]
fn the_stack_is_as_deep_as_the_expression_is_at_most() {
    let wrap = |open: &str, inside: &str, close: &str, times: usize| {
        format!("{}{inside}{}", open.repeat(times), close.repeat(times))
    };
    let mut deep = json!(1);
    for _ in 0..120 {
        deep = json!([deep]);
    }
    let sources = [
        wrap("(", "1", ")", 48),
        wrap("[", "..", "]", 47),
        wrap("{a:", "(1, 2)", "}", 47),
        wrap("\"\\(", "(1, 2)", ")\"", 23),
        wrap("map(", ".", ")", 47),
        wrap("first(", ".., .", ")", 47),
        wrap("limit(2; ", ".., .", ")", 47),
        wrap("path(", "..", ")", 47),
        wrap("walk(", ".", ")", 47),
        wrap("sort_by(", ".[]?", ")", 47),
        wrap("gsub(\"a\"; ", "\"a\"", ")", 47),
        wrap("(.[0] |= ", ".", ")", 47),
        wrap("reduce (1, 2) as $x (", "0", "; . + 1)", 40),
        wrap("foreach (1, 2) as $x (", "0", "; . + 1; .)", 40),
        wrap("if (true, true) then ", "1", " end", 45),
        wrap("try ", "(.., .)", "", 75),
        wrap("- ", "1", "", 75),
        wrap("1 as $x | ", "$x", "", 75),
        wrap("(1, empty) as $x | ", "$x", "", 75),
        wrap(". as [$a, [$b]] | ", "..", "", 75),
        vec![".."; 300].join(" | "),
        vec![".[]?"; 300].join(" | "),
        vec!["(., empty)"; 200].join(" | "),
        vec!["(1, empty)"; 75].join(" + "),
        vec!["(1, empty)"; 75].join(" < "),
        vec!["(true, empty)"; 75].join(" and "),
        vec!["empty"; 75].join(" // "),
        ".[]?".repeat(4_000),
        format!(".{}", "[0]".repeat(5_000)),
        format!(". as {}$x{} | $x", "[".repeat(46), "]".repeat(46)),
    ];
    for source in &sources {
        for input in [&Value::Null, &deep] {
            // A value or an error: what counts is that the process lives.
            drop(outcome(source, input));
        }
    }
}
