//! What expressions mean.

use serde_json::{Value, json};

use super::{Scope, check, check_errors, compile, evaluate};

#[test]
fn paths_lead_into_data_and_to_null_where_there_is_none() {
    check(&[
        (".", r#"{"a":1}"#, r#"[{"a":1}]"#),
        (".a.b", r#"{"a":{"b":2}}"#, "[2]"),
        (".a.b", "{}", "[null]"),
        (".[\"a b\"], .\"a b\"", r#"{"a b":3}"#, "[3, 3]"),
        (".[0], .[-1], .[9]", "[1,2,3]", "[1, 3, null]"),
        (".[1:], .[:1], .[-2:], .[1:2]", "[1,2,3]", "[[2,3],[1],[2,3],[2]]"),
        (".[1:3]", "\"héllo\"", "[\"él\"]"),
        (".[]", r#"{"b":1,"a":2}"#, "[2, 1]"),
        (".a?, .[0]?, (.[] | .x?)", "[1]", "[1]"),
        (".a[]?", r#"{"a":1}"#, "[]"),
        ("..", "[[1]]", "[[[1]], [1], 1]"),
        (".[.[0]]", "[1, 5]", "[5]"),
        ("[.[] | .a.b?]", r#"[{"a":1},{"a":{"b":2}}]"#, "[[2]]"),
    ]);
}

#[test]
fn arithmetic_keeps_integers_whole_and_decimals_decimal() {
    check(&[
        (".a.b + 1", r#"{"a":{"b":1}}"#, "[2]"),
        (". + 1, . * 2, -.", "3.0", "[4.0, 6.0, -3.0]"),
        (".", "3.0", "[3.0]"),
        ("6 / 2, 7 / 2, 7 % 4, -7 % 4, 5.5 % 2", "null", "[3, 3.5, 3, -3, 1]"),
        (". + 1", "9223372036854775807", "[9223372036854775808]"),
        (". - 1", "18446744073709551615", "[18446744073709551614]"),
        ("null + [1], [1] + null, null + null", "null", "[[1], [1], null]"),
        (".colors + [\"red\"]", "{}", r#"[["red"]]"#),
        ("\"a\" + \"b\", \"ab\" * 2, \"ab\" * 0", "null", r#"["ab", "abab", null]"#),
        ("[1,2,1,3] - [1], \"a,b\" / \",\"", "null", r#"[[2,3], ["a","b"]]"#),
        ("{a: {x: 1}} * {a: {y: 2}}", "null", r#"[{"a":{"x":1,"y":2}}]"#),
        ("{a: 1} + {b: 2} + {a: 3}", "null", r#"[{"a":3,"b":2}]"#),
        ("floor, ceil, round", "1.5", "[1, 2, 2]"),
        ("sqrt", "9", "[3.0]"),
        ("(1, 2) + (10, 20)", "null", "[11, 12, 21, 22]"),
    ]);
}

#[test]
fn conditions_take_anything_but_false_and_null_for_true() {
    check(&[
        ("1 < 2, \"a\" == \"a\", [1] != [1], null < false", "null", "[true, true, false, true]"),
        ("1 == 1.0, {} < []", "null", "[true, false]"),
        (".a and .b, .a or .b, (.b | not)", r#"{"a":1}"#, "[false, true, true]"),
        ("if .a then 1 elif .b then 2 else 3 end", r#"{"b":0}"#, "[2]"),
        ("if false then 1 end", "7", "[7]"),
        ("[if (true, false) then 1 else 2 end]", "null", "[[1, 2]]"),
        (".a // \"none\", (.b // 1), (empty // 2)", r#"{"a":null,"b":false}"#, r#"["none", 1, 2]"#),
        ("(1, null, 2) // 3, (error(\"x\") // 4)", "null", "[1, 2, 4]"),
    ]);
}

#[test]
fn values_are_built_from_parts() {
    check(&[
        (
            "{a: 1, \"b\": 2, (\"c\" + \"d\"): 3, \"e\\(1)\": 4}",
            "null",
            r#"[{"a":1,"b":2,"cd":3,"e1":4}]"#,
        ),
        (
            "1 as $x | {name, $x, @base64 \"a\": 2}",
            r#"{"name":"n"}"#,
            r#"[{"name":"n","x":1,"a":2}]"#,
        ),
        ("{a: (1, 2)}", "null", r#"[{"a":1},{"a":2}]"#),
        ("[.[] | . * 2], []", "[1,2]", "[[2,4], []]"),
        (
            "\"Hello \\(.user.first) \\(.n)!\"",
            r#"{"user":{"first":"Ada"},"n":[1]}"#,
            r#"["Hello Ada [1]!"]"#,
        ),
        ("\"\\(1, 2)-\\(3, 4)\"", "null", r#"["1-3","1-4","2-3","2-4"]"#),
    ]);
}

#[test]
fn formats_escape_what_they_are_given() {
    check(&[
        ("@base64, (@base64 | @base64d)", "\"a<é\"", r#"["YTzDqQ==", "a<é"]"#),
        ("@uri", "\"a b/ü\"", r#"["a%20b%2F%C3%BC"]"#),
        ("@uri \"q=\\(.q)&x\"", r#"{"q":"a&b"}"#, r#"["q=a%26b&x"]"#),
        ("@json, @text", r#"[1,"a"]"#, r#"["[1,\"a\"]", "[1,\"a\"]"]"#),
        ("@csv, @tsv", r#"[1,"a\"b",null,true]"#, r#"["1,\"a\"\"b\",,true", "1\ta\"b\t\ttrue"]"#),
        ("@html", "\"<a href='x'>&\"", r#"["&lt;a href=&#39;x&#39;&gt;&amp;"]"#),
        ("@sh", r#"["a b","it's",1]"#, r#"["'a b' 'it'\\''s' 1"]"#),
        ("@urid", "\"a%20%C3%BC%zz\"", r#"["a ü%zz"]"#),
    ]);
}

#[test]
fn arrays_are_sorted_grouped_and_searched() {
    check(&[
        ("map(. + 1), map(select(. > 1))", "[1,2]", "[[2,3],[2]]"),
        ("sort, reverse, min, max, add, length", "[3,1,2]", "[[1,2,3],[2,1,3],1,3,6,3]"),
        ("sort", r#"[{},[],"a",1,true,false,null]"#, r#"[[null,false,true,1,"a",[],{}]]"#),
        (
            "sort_by(.a), group_by(.a), unique_by(.a)",
            r#"[{"a":2},{"a":1,"b":1},{"a":1}]"#,
            r#"[[{"a":1,"b":1},{"a":1},{"a":2}],[[{"a":1,"b":1},{"a":1}],[{"a":2}]],[{"a":1,"b":1},{"a":2}]]"#,
        ),
        ("min_by(.a).a, max_by(.a).a, ([] | min)", r#"[{"a":2},{"a":1}]"#, "[1, 2, null]"),
        (
            "unique, (any, all), any(. > 2), all(. > 0)",
            "[1,2,1]",
            "[[1,2], true, true, false, true]",
        ),
        ("flatten, flatten(1)", "[1,[2,[3]]]", "[[1,2,3],[1,2,[3]]]"),
        ("first, last, nth(1), first(.[]), last(.[]), nth(1; .[])", "[1,2,3]", "[1,3,2,1,3,2]"),
        ("[limit(2; .[])], [skip(2; .[])], [limit(0; error)]", "[1,2,3]", "[[1,2],[3],[]]"),
        ("index(2), rindex(2), indices(2), indices([2,3])", "[1,2,3,2]", "[1, 3, [1,3], [1]]"),
        ("contains([\"ba\"]), inside([\"foobar\",\"x\"])", r#"["bar"]"#, "[true, true]"),
        (
            "[range(3)], [range(1;3)], [range(3;0;-2)], [range(0;1;0.5)]",
            "null",
            "[[0,1,2],[1,2],[3,1],[0,0.5]]",
        ),
        ("transpose, (.[0] | add(.[] * 2))", "[[1],[2,3]]", "[[[1,2],[null,3]], 2]"),
        ("[.[] | IN(2, 3)], isempty(empty), isempty(1)", "[1,2]", "[[false,true], true, false]"),
    ]);
}

#[test]
fn objects_are_taken_apart_and_put_together() {
    check(&[
        (
            "keys, length, has(\"a\"), has(\"z\")",
            r#"{"b":1,"a":2}"#,
            r#"[["a","b"], 2, true, false]"#,
        ),
        ("to_entries", r#"{"a":1}"#, r#"[[{"key":"a","value":1}]]"#),
        (
            "from_entries",
            r#"[{"name":"a","v":1},{"k":2},{"key":"c","value":false}]"#,
            r#"[{"a":1,"2":null,"c":false}]"#,
        ),
        ("with_entries(.value += 1), map_values(. * 2)", r#"{"a":1}"#, r#"[{"a":2},{"a":2}]"#),
        ("map_values(empty), (.a | in({\"x\": 1}))", r#"{"a":"x"}"#, "[{}, true]"),
        ("pick(.a.b), del(.a.b)", r#"{"a":{"b":1,"c":2}}"#, r#"[{"a":{"b":1}},{"a":{"c":2}}]"#),
        (
            "walk(if type == \"number\" then . + 1 else . end)",
            r#"{"a":[1,{"b":2}]}"#,
            r#"[{"a":[2,{"b":3}]}]"#,
        ),
        (
            "[paths], [leaf_paths], [paths(type == \"number\")]",
            r#"{"a":[1]}"#,
            r#"[[["a"],["a",0]],[["a",0]],[["a",0]]]"#,
        ),
        (
            "[.[] | type], [.[] | scalars]",
            r#"[null,true,1,"a",[],{}]"#,
            r#"[["null","boolean","number","string","array","object"],[null,true,1,"a"]]"#,
        ),
    ]);
}

#[test]
fn texts_are_split_joined_and_searched() {
    check(&[
        (
            "split(\",\"), (split(\",\") | join(\"-\")), ascii_upcase, ascii_downcase",
            "\"a,B\"",
            r#"[["a","B"],"a-B","A,B","a,b"]"#,
        ),
        (
            "startswith(\"a\"), endswith(\"a\"), ltrimstr(\"a\"), rtrimstr(\"x\"), trim",
            "\"ab \"",
            r#"[true,false,"b ","ab ","ab"]"#,
        ),
        (
            "length, utf8bytelength, explode, (explode | implode)",
            "\"aé\"",
            r#"[2, 3, [97,233], "aé"]"#,
        ),
        ("tostring, tojson", r#"[1,"a"]"#, r#"["[1,\"a\"]", "[1,\"a\"]"]"#),
        ("tojson | fromjson", r#"{"a":[1.0,"x\n",null]}"#, r#"[{"a":[1.0,"x\n",null]}]"#),
        ("[.[] | tonumber]", r#"["1","-2.5",3,"1e3"]"#, "[[1,-2.5,3,1000.0]]"),
        ("index(\"b\"), indices(\"an\")", "\"banana\"", "[0, [1,3]]"),
        ("[.[] | tostring] | join(\", \")", "[1,null,\"a\",true]", r#"["1, null, a, true"]"#),
    ]);
}

#[test]
fn regular_expressions_are_matched() {
    check(&[
        ("test(\"a.c\"), test(\"A\"; \"i\"), test(\"^b\")", "\"abc\"", "[true, true, false]"),
        (
            "[match(\"a(b)?\"; \"g\") | [.offset, .length, .string, .captures[0].string]]",
            "\"xabéa\"",
            r#"[[[1,2,"ab","b"],[4,1,"a",null]]]"#,
        ),
        ("capture(\"(?<y>\\\\d+)-(?<m>\\\\d+)\")", "\"on 2026-01\"", r#"[{"y":"2026","m":"01"}]"#),
        (
            "[scan(\"\\\\d\")], [scan(\"(a)(\\\\d)\")]",
            "\"a1b2a3\"",
            r#"[["1","2","3"],[["a","1"],["a","3"]]]"#,
        ),
        (
            "sub(\"a\"; \"x\"), gsub(\"a(?<n>\\\\d)\"; \"<\\(.n)>\"), gsub(\"\"; \"-\")",
            "\"a1a2\"",
            r#"["x1a2","<1><2>","-a-1-a-2-"]"#,
        ),
        (
            "split(\", *\"; null), [splits(\"\\\\s+\")]",
            "\"a, b,c\"",
            r#"[["a","b","c"],["a,","b,c"]]"#,
        ),
        (
            "[match(\"a*?\"; \"g\").string], [match(\"(a|ab)(c|bcd)\").string]",
            "\"abcd\"",
            r#"[["","","","",""],["abcd"]]"#,
        ),
        (
            "test(\"\\\\bfoo\\\\b\"), test(\"^l2$\"; \"m\"), test(\"o.l\"; \"s\")",
            "\"a foo\\nl2\"",
            "[true, true, true]",
        ),
        (
            "[.[] | test(\"^[a-z0-9._%+-]+@[a-z0-9.-]+\\\\.[a-z]{2,}$\")]",
            r#"["ada@example.org","ada@x"]"#,
            "[[true,false]]",
        ),
        (". as $r | \"aXb\" | test($r), test($r; \"i\")", "\"axb\"", "[false, true]"),
    ]);
}

#[test]
fn variables_are_bound_and_taken_apart() {
    check(&[
        (". as $x | $x + 1, (1 as $x | $x), $x", "5", "[6, 1, 5]"),
        (". as [$a, [$b]] | $b, $a", "[1,[2]]", "[2, 1]"),
        (
            ". as {$a, b: [$c], (\"d\" + \"e\"): $f} | [$a, $c, $f]",
            r#"{"a":1,"b":[2],"de":3}"#,
            "[[1,2,3]]",
        ),
        (".[] as $x | .[] as $y | select($x < $y) | [$x, $y]", "[1,2,3]", "[[1,2],[1,3],[2,3]]"),
        ("reduce .[] as $x (0; . + $x)", "[1,2,3]", "[6]"),
        ("reduce .[] as [$k, $v] ({}; .[$k] = $v)", r#"[["a",1],["b",2]]"#, r#"[{"a":1,"b":2}]"#),
        ("reduce empty as $x (7; 1), reduce 1 as $x (7; empty)", "null", "[7, null]"),
        (
            "foreach .[] as $x (0; . + $x), foreach .[] as $x (0; . + $x; [$x, .])",
            "[1,2]",
            "[1,3,[1,1],[2,3]]",
        ),
    ]);
}

#[test]
fn assignments_change_copies() {
    check(&[
        (
            ".a = 1, .a.b = 2, .[\"x\"] = .a",
            r#"{"a":null}"#,
            r#"[{"a":1},{"a":{"b":2}},{"a":null,"x":null}]"#,
        ),
        (".a = 1", "null", r#"[{"a":1}]"#),
        (
            ".a |= . + 1, .a += 2, .a -= 1, .a *= 3, .a /= 2, .a %= 3",
            r#"{"a":4}"#,
            r#"[{"a":5},{"a":6},{"a":3},{"a":12},{"a":2},{"a":1}]"#,
        ),
        (".a //= 1, .b //= 2", r#"{"a":5}"#, r#"[{"a":5},{"a":5,"b":2}]"#),
        (
            ".[] |= . * 2, (.[] | select(. > 1)) |= 0, .[1] |= empty, (.[] | select(. < 3)) |= empty",
            "[1,2,3]",
            "[[2,4,6],[1,0,0],[1,3],[3]]",
        ),
        (".[1:] = [9], .[2] = 1, .[4] = 1", "[1,2,3]", "[[1,9],[1,2,1],[1,2,3,null,1]]"),
        (".a = (1, 2)", "null", r#"[{"a":1},{"a":2}]"#),
        (
            "del(.a, .b), del(.[\"a\"]), delpaths([[\"a\"],[\"b\"]])",
            r#"{"a":1,"b":2}"#,
            r#"[{},{"b":2},{}]"#,
        ),
        (
            "del(.[0, 2]), del(.[1:]), del(.[-1]), del(.[9]), del(.[] | select(. > 1))",
            "[1,2,3]",
            "[[2],[1],[1,2],[1,2,3],[1]]",
        ),
        (
            "setpath([\"a\",0]; 1), getpath([\"a\",\"b\"]), [path(.a[0].b, .c)]",
            "null",
            r#"[{"a":[1]}, null, [["a",0,"b"],["c"]]]"#,
        ),
        (
            "(.a, .b) = 1, (.a // .b) = 2, (if true then .a else .b end) = 3, first(.a, .b) = 4, getpath([\"a\"]) = 5",
            "{}",
            r#"[{"a":1,"b":1},{"b":2},{"a":3},{"a":4},{"a":5}]"#,
        ),
        (". as $x | .a = 1 | [., $x]", "{}", r#"[[{"a":1},{}]]"#),
    ]);
}

#[test]
fn errors_are_raised_and_caught() {
    check(&[
        ("try error(\"x\") catch ., [.[]?], (try error catch .)", "1", r#"["x", [], 1]"#),
        ("try error({code: 1}) catch .code", "null", "[1]"),
        ("[.[] | try tonumber catch \"bad\"]", r#"["1","a"]"#, r#"[[1,"bad"]]"#),
        ("[.[] | (1 / .)?]", "[1, 0]", "[[1]]"),
        ("try ((try 1 catch 2) | error(\"later\")) catch .", "null", r#"["later"]"#),
        ("[(1, error(\"x\"), 2)?]", "null", "[[1]]"),
    ]);
    check_errors(&[
        ("error(\"out of stock\")", "null", "out of stock"),
        ("error({code: 1})", "null", r#"{"code":1}"#),
        (".a", "1", "cannot index number with \"a\""),
        (".[0]", "{}", "cannot index object with number"),
        (".[]", "1", "cannot iterate over number"),
        ("{} + 1", "null", "cannot calculate object + number"),
        ("1 / 0", "null", "cannot divide by zero"),
        ("{(1): 2}", "null", "the name of a member wants a string, not number"),
        ("\"a\" | tonumber", "null", "cannot parse the text as a number"),
        ("(1 | .) = 2", "null", "this gives a new value, but a path is wanted"),
        ("(try error(\"x\") catch 1) | error(\"y\")", "null", "y"),
    ]);
}

#[test]
fn times_are_read_and_written_in_utc() {
    check(&[
        ("todate, (todate | fromdate)", "1425599621", r#"["2015-03-05T23:53:41Z", 1425599621]"#),
        (
            "strftime(\"%Y-%m-%d %H:%M\"), gmtime, (gmtime | mktime)",
            "1425599621",
            r#"["2015-03-05 23:53", [2015,2,5,23,53,41,4,63], 1425599621]"#,
        ),
        (
            "strptime(\"%Y-%m-%dT%H:%M:%SZ\") | mktime, strftime(\"%A\")",
            "\"2015-03-05T23:51:47Z\"",
            r#"[1425599507, "Thursday"]"#,
        ),
        ("fromdate", "\"2015-03-05T23:51:47.5Z\"", "[1425599507.5]"),
        (
            "\"2026-01-31\" | strptime(\"%Y-%m-%d\") | todate? // (mktime | todate)",
            "null",
            r#"["2026-01-31T00:00:00Z"]"#,
        ),
    ]);
    check_errors(&[
        (
            "\"soon\" | fromdate",
            "null",
            "the text is no date and time such as 2026-01-31T09:30:00Z",
        ),
        ("0 | strftime(\"%!\")", "null", "strftime does not know that format"),
        ("1e300 | todate", "null", "the time is out of range"),
    ]);
}

#[test]
fn an_expression_has_exactly_one_value() {
    check_errors(&[
        ("1, 2", "null", "the expression gives several values, and one is wanted"),
        (".[]", "[1,2]", "the expression gives several values, and one is wanted"),
        ("empty", "null", "the expression gives no value, and one is wanted"),
        (".[]", "[]", "the expression gives no value, and one is wanted"),
    ]);
}

#[test]
fn what_json_cannot_hold_is_an_error_at_the_end_only() {
    for source in ["nan", "infinite", "[1, -infinite]", "{a: nan}", "1e308 * 10"] {
        let error = evaluate(source, &Value::Null).expect_err(source);
        assert_eq!(error.0, "a result is not a finite number, which JSON cannot hold", "{source}");
    }
    check(&[(
        "nan | isnan, (nan < nan), ([nan] | tojson), (infinite > 1)",
        "null",
        r#"[true, true, "[null]", true]"#,
    )]);
}

#[test]
fn variables_come_from_the_scope_and_are_null_without_it() {
    let expression = compile("[$context.a, $task, .b]");
    let scope = Scope::from([("context".to_owned(), json!({"a": [1, 2.0]}))]);
    let value = expression.evaluate(&json!({"b": "x"}), &scope).unwrap();
    assert_eq!(value, json!([[1, 2.0], null, "x"]));
    assert_eq!(value.to_string(), r#"[[1,2.0],null,"x"]"#);
}

#[test]
fn an_expression_is_shared_between_threads_and_knows_its_text() {
    fn shared<T: Send + Sync + Clone + 'static>(value: &T) -> T {
        value.clone()
    }
    let expression = shared(&compile(" .a + 1 "));
    assert_eq!(expression.source(), " .a + 1 ");
    let in_thread =
        std::thread::spawn(move || expression.evaluate(&json!({"a": 1}), &Scope::new()));
    assert_eq!(in_thread.join().unwrap().unwrap(), json!(2));
}

#[test]
fn an_error_does_not_repeat_the_data() {
    let secret = json!({"password": "hunter2", "n": "x"});
    for source in [". + 1", ".n | tonumber", "keys | .a", ".password | fromjson", ".password[0]"] {
        let error = evaluate(source, &secret).expect_err(source);
        assert!(!error.0.contains("hunter2"), "{source}: {error}");
    }
    let long = evaluate("error(\"x\" * 1000)", &Value::Null).unwrap_err();
    assert_eq!(long.0.chars().count(), 201);
}
