//! What is no expression here.

use super::super::{CompileError, Expression};
use super::VARIABLES;

fn refused(source: &str) -> CompileError {
    Expression::compile(source, VARIABLES).expect_err(source)
}

#[test]
fn what_jq_has_and_expressions_may_not_have_is_named() {
    for (source, name) in [
        ("halt", "halt"),
        ("1 | halt_error", "halt_error"),
        ("env", "env"),
        ("env.HOME", "env"),
        ("$ENV", "$ENV"),
        ("$ENV.HOME", "$ENV"),
        ("$__loc__", "$__loc__"),
        ("{$__loc__}", "$__loc__"),
        ("now", "now"),
        ("input", "input"),
        ("[inputs]", "inputs"),
        ("debug", "debug"),
        ("debug(\"x\")", "debug"),
        ("stderr", "stderr"),
        ("input_line_number", "input_line_number"),
        ("input_filename", "input_filename"),
        ("repeat(1)", "repeat"),
        ("recurse(.a)", "recurse"),
        ("recurse(.a; true)", "recurse"),
        ("while(true; 1)", "while"),
        ("until(true; 1)", "until"),
        ("def f: 1 + f; f", "def"),
        ("map(def f: f; f)", "def"),
        ("label $x | break $x", "label"),
        ("localtime", "localtime"),
        ("strflocaltime(\"%H\")", "strflocaltime"),
        ("\"\\(now)\"", "now"),
        ("{(env | keys[0]): 1}", "env"),
        (".a |= now", "now"),
        ("try halt catch 1", "halt"),
        ("if now then 1 else 2 end", "now"),
        ("reduce repeat(1) as $x (0; 1)", "repeat"),
        (". as {(now): $x} | 1", "now"),
        (".[now:]", "now"),
        ("modulemeta", "modulemeta"),
    ] {
        let error = refused(source);
        assert_eq!(error.detail, format!("{name} may not be used in an expression"), "{source}");
        assert!(error.hint.is_some(), "{source}");
    }
}

#[test]
fn modules_are_refused() {
    for source in ["import \"a\" as a; 1", "include \"a\"; 1", "a::b", "module {}; 1"] {
        refused(source);
    }
}

#[test]
fn an_unknown_name_is_named_with_what_may_be_meant() {
    let error = refused(".a | to_upper");
    assert_eq!(error.detail, "unknown function to_upper/0");
    let error = refused("to_number");
    assert_eq!(error.hint.as_deref(), Some("did you mean tonumber?"));
    let error = refused("map(.a; 1)");
    assert_eq!(error.detail, "unknown function map/2");
    assert_eq!(error.hint.as_deref(), Some("map takes 1 arguments, not 2"));
    let error = refused("@yaml");
    assert_eq!(error.detail, "unknown function @yaml/0");
    let error = refused("$secret.a");
    assert_eq!(error.detail, "unknown variable $secret");
    assert_eq!(error.hint.as_deref(), Some("known here: $context, $input, $task"));
    assert_eq!(refused("(1 as $x | 2) | $x").detail, "unknown variable $x");
}

#[test]
fn a_mistake_is_shown_where_it_is() {
    for (source, detail) in [
        ("", "term is expected at the end of the expression"),
        (".a +", "term is expected at the end of the expression"),
        ("é | ]", "']' at character 5 closes nothing"),
        ("(1", "')' is missing at the end"),
        ("\"abc", "a text is not closed"),
        (".a &", "the expression cannot be read at character 4, not \"&\""),
        ("if . then 1", "else or end is expected at the end of the expression"),
        ("1 2", "nothing is expected at character 3, not \"2\""),
        ("reduce . as $x (1)", "reduce takes (start; step), and foreach perhaps a third"),
        ("test(\"(\")", "invalid regular expression: unclosed group"),
        ("test(\"a\"; \"q\")", "'q' is no flag of a regular expression"),
        ("1e400", "1e400 is too large for a number"),
        (". as [1] | 2", "pattern is expected at character 7, not \"1\""),
    ] {
        assert_eq!(refused(source).detail, detail, "{source}");
    }
}

#[test]
fn what_is_too_long_or_too_deep_is_refused_before_it_is_parsed() {
    let nested =
        |open: &str, close: &str| format!("{}1{}", open.repeat(2_000), close.repeat(2_000));
    for source in [
        "(".repeat(100_000),
        "(".repeat(16_000),
        nested("(", ")"),
        nested("[", "]"),
        nested("{a:", "}"),
        nested("\"\\(", ")\""),
        nested("map(", ")"),
        "-".repeat(16_000) + "1",
        "- ".repeat(8_000) + "1",
        "try ".repeat(4_000) + "1",
        "if . then ".repeat(1_600),
        "reduce ".repeat(2_000),
        "label $x | ".repeat(1_400) + "1",
        "def f: ".repeat(2_000) + "1",
        "1 as $x | ".repeat(1_600) + "1",
        "1+".repeat(8_000) + "1",
        ".|".repeat(8_000) + ".",
        ".//".repeat(5_000) + ".",
        format!(". as {}$x{} | 1", "[".repeat(5_000), "]".repeat(5_000)),
        "\"\\(".repeat(5_000),
        "a".repeat(17_000),
    ] {
        let error = refused(&source);
        assert!(error.detail.len() < 120, "{}", error.detail);
    }
}

#[test]
fn a_bracket_in_a_text_or_comment_does_not_count() {
    let texts = format!("\"{}\"", "(".repeat(1_000));
    let comment = format!("1 # {}\n", "([{\"".repeat(500));
    let continued = format!("1 # \\\n{}\n", "(((".repeat(500));
    for source in [texts, comment, continued] {
        Expression::compile(&source, VARIABLES).unwrap();
    }
}
