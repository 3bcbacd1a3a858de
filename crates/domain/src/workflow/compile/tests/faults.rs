//! Faults: all at once, each with its place, its line and a hint.

use super::{
    HEAD, compiled, document, faults_of, finds, hint_of, repeated, task_compiles, task_finds,
};

#[test]
fn everything_that_is_wrong_is_said_at_once_and_in_order() {
    let text = "\
document:
  dsl: 2.0.0
  namespace: Test
  name: sample
  vesion: 1.0.0
timeout: {after: P1Y}
do:
  - first:
      set: {a: '${ .a + }'}
      then: third
  - first:
      call: htp
      with: {}
  - second:
      wait: {seconds: -1}
output:
  as: $nowhere
";
    finds(
        text,
        &[
            ("/document", 1, "missing_field"),
            ("/document/dsl", 2, "unknown_dsl"),
            ("/document/namespace", 3, "malformed_name"),
            ("/document/vesion", 5, "unknown_field"),
            ("/timeout/after", 6, "malformed_duration"),
            ("/do/0/first/set/a", 9, "malformed_expression"),
            ("/do/0/first/then", 10, "unknown_target"),
            ("/do/1/first", 11, "duplicate_task"),
            ("/do/1/first/call", 12, "unknown_function"),
            ("/do/2/second/wait/seconds", 15, "malformed_duration"),
            ("/output/as", 17, "malformed_expression"),
        ],
    );
}

#[test]
fn at_most_a_hundred_faults_are_listed() {
    let tasks = repeated(300, |at| format!("  - t{at}: {{wait: x}}\n"));
    let faults = faults_of(&document(&tasks));
    assert_eq!(faults.len(), 100);
    assert_eq!(faults[99].pointer, "/do/99/t99/wait");
}

#[test]
fn a_document_that_is_no_object_is_refused() {
    for text in ["", "- a", "just text", "12", "null"] {
        assert_eq!(faults_of(text).len(), 1, "{text}");
    }
    finds("{}", &[("", 1, "missing_field"), ("", 1, "missing_field")]);
    finds("[]", &[("", 1, "wrong_type")]);
}

#[test]
fn the_head_says_what_the_workflow_is_called() {
    let with = |head: &str| format!("document:\n{head}do: [{{a: {{set: {{b: 1}}}}}}]\n");
    let good = "  dsl: 1.0.0\n  namespace: a\n  name: b\n";
    compiled(&with(&format!("{good}  version: 1.2.3-rc.1+x\n  tags: {{a: 1}}\n  summary: s\n")));
    let long = "x".repeat(64);
    for (rest, pointer, code) in [
        ("  version: 1.0\n", "/document/version", "wrong_type"),
        ("  version: '1.0'\n", "/document/version", "malformed_version"),
        ("  version: v1.0.0\n", "/document/version", "malformed_version"),
        ("  version: 1.0.0\n  title: [a]\n", "/document/title", "wrong_type"),
        ("  version: 1.0.0\n  summary: 1\n", "/document/summary", "wrong_type"),
        ("  version: 1.0.0\n  tags: [a]\n", "/document/tags", "wrong_type"),
        ("  version: 1.0.0\n  metadata: a\n", "/document/metadata", "wrong_type"),
    ] {
        let line = if rest.lines().count() == 1 { 5 } else { 6 };
        finds(&with(&format!("{good}{rest}")), &[(pointer, line, code)]);
    }
    for name in [long.as_str(), "a_b", "-a", "A", "''"] {
        let head = format!("  dsl: 1.0.0\n  namespace: a\n  name: {name}\n  version: 1.0.0\n");
        finds(&with(&head), &[("/document/name", 4, "malformed_name")]);
    }
    let title = format!("{good}  version: 1.0.0\n  title: {}\n", "x".repeat(201));
    finds(&with(&title), &[("/document/title", 6, "too_long")]);
}

#[test]
fn only_the_first_minor_version_of_the_language_is_known() {
    let with = |dsl: &str| {
        format!(
            "document: {{namespace: a, name: b, version: 1.0.0, dsl: {dsl}}}\n\
             do: [{{a: {{set: {{b: 1}}}}}}]"
        )
    };
    for known in ["1.0.0", "1.0.3", "'1.0.99'"] {
        compiled(&with(known));
    }
    for unknown in ["0.10.0", "1.1.0", "2.0.0"] {
        finds(&with(unknown), &[("/document/dsl", 1, "unknown_dsl")]);
    }
    finds(&with("1.0"), &[("/document/dsl", 1, "wrong_type")]);
}

#[test]
fn a_misspelt_field_is_named_with_what_was_meant() {
    task_finds("set: {a: 1}\nthn: end", "/thn", 5, "unknown_field");
    assert_eq!(hint_of("set: {a: 1}\nthn: end"), "did you mean `then`?");
    assert_eq!(hint_of("swich: []"), "did you mean `switch`?");
    assert!(hint_of("set: {a: 1}\nsomething: 1").starts_with("known are: if, input"));
    finds(
        &format!("{HEAD}do: [{{a: {{set: {{b: 1}}}}}}]\ninputs: {{}}"),
        &[("/inputs", 3, "unknown_field")],
    );
}

#[test]
fn fields_of_the_wrong_type_are_named() {
    for (task, pointer, line, code) in [
        ("set: 5", "/set", 4, "wrong_type"),
        ("set: text", "/set", 4, "wrong_type"),
        ("set: {}", "/set", 4, "empty_object"),
        ("set: {a: 1}\nif: true", "/if", 5, "wrong_type"),
        ("set: {a: 1}\ninput: .a", "/input", 5, "wrong_type"),
        ("set: {a: 1}\ninput: {from: [1]}", "/input/from", 5, "wrong_type"),
        ("set: {a: 1}\nthen: [end]", "/then", 5, "wrong_type"),
        ("set: {a: 1}\nmetadata: 1", "/metadata", 5, "wrong_type"),
        ("do: {a: {set: {b: 1}}}", "/do", 4, "wrong_type"),
        ("do: [1]", "/do/0", 4, "wrong_type"),
        ("do: [{a: 1}]", "/do/0/a", 4, "wrong_type"),
        ("do: [{a: {set: {b: 1}}, c: {set: {d: 1}}}]", "/do/0", 4, "wrong_type"),
        ("do: []", "/do", 4, "empty_list"),
        ("fork: {branches: []}", "/fork/branches", 4, "empty_list"),
        ("fork: {}", "/fork", 4, "missing_field"),
        ("fork: {branches: [{a: {wait: PT1S}}], compete: 1}", "/fork/compete", 4, "wrong_type"),
        ("switch: {}", "/switch", 4, "wrong_type"),
        ("switch: []", "/switch", 4, "empty_list"),
        ("switch: [{a: {when: .b}}]", "/switch/0/a", 4, "missing_field"),
        ("for: {each: x}\ndo: [{a: {wait: PT1S}}]", "/for", 4, "missing_field"),
        ("for: {in: .x}", "", 3, "missing_field"),
        ("for: {in: [1]}\ndo: [{a: {wait: PT1S}}]", "/for/in/0", 4, "wrong_type"),
        ("try: [{a: {wait: PT1S}}]", "", 3, "missing_field"),
        ("raise: {}", "/raise", 4, "missing_field"),
        ("raise: {error: {type: 'a:b', status: '400'}}", "/raise/error/status", 4, "wrong_type"),
        ("raise: {error: {type: 'a:b', status: 99}}", "/raise/error/status", 4, "wrong_type"),
        ("raise: {error: {type: 'a b', status: 400}}", "/raise/error/type", 4, "malformed_uri"),
        ("emit: {event: {}}", "/emit/event", 4, "missing_field"),
        ("emit: {event: {with: {source: a}}}", "/emit/event/with", 4, "missing_field"),
        ("emit: {event: {with: {type: ''}}}", "/emit/event/with/type", 4, "wrong_type"),
        ("emit: {event: {with: {type: a, B: c}}}", "/emit/event/with/B", 4, "malformed_name"),
        (
            "emit: {event: {with: {type: a, time: now}}}",
            "/emit/event/with/time",
            4,
            "malformed_time",
        ),
        ("emit: {event: {with: {type: a, x: {}}}}", "/emit/event/with/x", 4, "wrong_type"),
    ] {
        task_finds(task, pointer, line, code);
    }
}

#[test]
fn a_task_does_exactly_one_thing() {
    task_finds("if: .a", "", 3, "unknown_task");
    task_finds("set: {a: 1}\nwait: PT1S", "", 3, "ambiguous_task");
}

#[test]
fn names_of_tasks_and_variables_stay_usable() {
    let long = "x".repeat(65);
    for name in ["end", "' '", long.as_str(), "\"a\\nb\""] {
        let faults = faults_of(&document(&format!("  - {name}: {{set: {{a: 1}}}}")));
        assert_eq!(faults.len(), 1);
        assert_eq!((faults[0].code.as_str(), faults[0].line), ("malformed_name", Some(3)));
    }
    for name in ["1a", "a-b", "$a", "input", "output", "secrets", "ENV", "''"] {
        let task = format!("for: {{each: {name}, in: .x}}\ndo: [{{a: {{wait: PT1S}}}}]");
        task_finds(&task, "/for/each", 4, "malformed_name");
    }
    task_finds(
        "for: {each: a, at: a, in: .x}\ndo: [{a: {wait: PT1S}}]",
        "/for",
        4,
        "malformed_name",
    );
}

#[test]
fn durations_have_a_fixed_length_of_at_most_a_leap_year() {
    for good in ["{days: 366}", "PT1H30M", "P1DT0.5S", "{milliseconds: 1}", "'${ .pause }'"] {
        task_compiles(&format!("wait: {good}"));
    }
    for (bad, pointer, code) in [
        ("{}", "/wait", "malformed_duration"),
        ("P1Y", "/wait", "malformed_duration"),
        ("P2M", "/wait", "malformed_duration"),
        ("-PT1S", "/wait", "malformed_duration"),
        ("5s", "/wait", "malformed_duration"),
        ("5", "/wait", "malformed_duration"),
        ("[1]", "/wait", "malformed_duration"),
        ("{days: 367}", "/wait", "malformed_duration"),
        ("{seconds: -1}", "/wait/seconds", "malformed_duration"),
        ("{seconds: 1.5}", "/wait/seconds", "malformed_duration"),
        ("{seconds: '${ .x }'}", "/wait/seconds", "malformed_duration"),
        ("{weeks: 1}", "/wait/weeks", "unknown_field"),
    ] {
        task_finds(&format!("wait: {bad}"), pointer, 4, code);
    }
}

#[test]
fn expressions_are_compiled_and_know_what_is_in_scope() {
    task_finds("set: {a: '${ .b | }'}", "/set/a", 4, "malformed_expression");
    task_finds("set: {a: '${ }'}", "/set/a", 4, "malformed_expression");
    task_finds("set: {a: '${ $secrets.key }'}", "/set/a", 4, "malformed_expression");
    task_finds("set: {a: '${ $output }'}", "/set/a", 4, "malformed_expression");
    task_finds("set: {a: '${ env }'}", "/set/a", 4, "malformed_expression");
    task_finds("set: {a: 1}\nif: $item", "/if", 5, "malformed_expression");
    task_finds("set: {a: 'Hello ${ .name }'}", "/set/a", 4, "partial_expression");
    task_finds("set: {a: '${ .a } and ${ .b }'}", "/set/a", 4, "partial_expression");
    assert!(hint_of("set: {a: 'Hello ${ .name }'}").contains("\\(.name)"));
    task_finds("wait: |\n  ${ .a |\n  .b }", "/wait", 4, "malformed_expression");
    task_finds("wait: \"${\\n.a }\"", "/wait", 4, "malformed_expression");
    task_compiles("wait: |\n  ${ .a | .b }\n");
    task_compiles("set: |\n  ${ .a |\n  .b }\n");
    task_compiles("set: {a: 1}\noutput: {as: $output}\nexport: {as: $output + $context}");
    task_compiles("for: {each: x, in: .y}\nwhile: $x and $index\ndo: [{a: {set: {b: '${ $x }'}}}]");
    task_finds(
        "for: {each: x, in: $x}\ndo: [{a: {wait: PT1S}}]",
        "/for/in",
        4,
        "malformed_expression",
    );
    task_compiles(
        "try: [{a: {wait: PT1S}}]\n\
         catch: {as: e, when: $e.status == 1, do: [{b: {set: {c: '${ $e }'}}}]}",
    );
    task_finds(
        "try: [{a: {set: {b: '${ $error }'}}}]\ncatch: {}",
        "/try/0/a/set/b",
        4,
        "malformed_expression",
    );
}

#[test]
fn schemas_are_compiled_and_reach_nothing_outside() {
    let with = |schema: &str| format!("set: {{a: 1}}\ninput: {{schema: {schema}}}");
    task_compiles(&with("{document: {type: object}}"));
    task_compiles(&with(
        "{format: 'json:2020-12', document: {$ref: '#/$defs/a', $defs: {a: true}}}",
    ));
    for (schema, pointer, code) in [
        ("{}", "", "missing_field"),
        ("{format: json}", "", "missing_field"),
        ("{document: {type: strin}}", "/document", "malformed_schema"),
        ("{document: {$ref: 'https://example.com/a'}}", "/document", "malformed_schema"),
        ("{document: {pattern: '('}}", "/document", "malformed_schema"),
        ("{format: avro, document: {}}", "/format", "not_supported_yet"),
        ("{resource: {endpoint: 'https://a.example'}}", "/resource", "not_supported_yet"),
    ] {
        task_finds(&with(schema), &format!("/input/schema{pointer}"), 5, code);
    }
}

#[test]
fn what_the_language_has_and_we_have_not_is_refused_with_its_place() {
    for (task, pointer) in [
        ("listen: {to: {any: []}}\nforeach: {item: a}", "/listen"),
        ("call: openapi\nwith: {document: {endpoint: a}}", "/call"),
        ("call: grpc\nwith: {}", "/call"),
        ("call: asyncapi\nwith: {}", "/call"),
        ("call: a2a\nwith: {}", "/call"),
        ("call: mcp\nwith: {}", "/call"),
        ("run: {container: {image: a}}", "/run/container"),
        ("run: {script: {language: js, code: a}}", "/run/script"),
        ("run: {shell: {command: a}, await: false}", "/run/shell"),
    ] {
        task_finds(task, pointer, 4, "not_supported_yet");
    }
    task_finds("set: {a: 1}\nmetadata: {flow: {}}", "/metadata/flow", 5, "not_supported_yet");
    let end = "do: [{a: {set: {b: 1}}}]\n";
    for (more, pointer) in [
        ("schedule: {cron: '0 0 * * *'}", "/schedule"),
        ("use: {authentications: {}}", "/use/authentications"),
        ("use: {secrets: [a]}", "/use/secrets"),
        ("use: {functions: {}}", "/use/functions"),
        ("use: {extensions: []}", "/use/extensions"),
        ("use: {catalogs: {}}", "/use/catalogs"),
        ("evaluate: {mode: loose}", "/evaluate/mode"),
        ("evaluate: {language: cel}", "/evaluate/language"),
    ] {
        finds(&format!("{HEAD}{end}{more}"), &[(pointer, 3, "not_supported_yet")]);
    }
    compiled(&format!("{HEAD}{end}evaluate: {{language: jq, mode: strict}}"));
}

#[test]
fn too_much_of_anything_is_refused() {
    let tasks = repeated(1_001, |at| format!("  - t{at}: {{set: {{a: 1}}}}\n"));
    finds(&document(&tasks), &[("/do", 2, "too_many_tasks")]);
    let many = repeated(5_001, |at| format!("          a{at}: ${{ .a }}\n"));
    let text = document(&format!("  - it:\n      set:\n{many}"));
    finds(&text, &[("/do/0/it/set/a5000", 5_005, "too_many_expressions")]);
    let patterns = "{pattern: a}, ".repeat(101);
    task_finds(
        &format!("set: {{a: 1}}\ninput: {{schema: {{document: {{allOf: [{patterns}]}}}}}}"),
        "/input/schema/document",
        5,
        "too_many_patterns",
    );
    let deep = format!("{}{}", "{it: {do: [".repeat(30), "]}}".repeat(30));
    let faults = faults_of(&format!("{HEAD}do: [{deep}]"));
    assert_eq!(faults[0].code, "nested_too_deep");
}
