//! Expressions that would hang, crash, empty or rob a process that ran jq as it is: each is
//! refused when it is saved or ends in an expression error, and the process lives.

use std::fs;

use serde_json::{Value, json};

use crate::documents::ECHO;
use crate::support::{Api, World};

/// What nobody may have: ways out of the process, and things that differ from run to run.
const FORBIDDEN: &[&str] = &[
    "halt",
    "halt_error",
    "\"bye\" | halt_error(0)",
    "env",
    "env.PATH",
    "$ENV",
    "$ENV.PATH",
    "now",
    "input",
    "[inputs]",
    "debug",
    "stderr",
    "input_filename",
    "input_line_number",
    "$__prog_args",
    "get_search_list",
    "modulemeta",
    "import \"x\" as x; .",
    "include \"x\"; .",
];

/// What would never end, or end the process.
const ENDLESS: &[&str] = &[
    "def f: 1 + f; f",
    "def f: f; f",
    "def f(x): x | f(x); f(.)",
    "last(range(1e12))",
    "reduce range(1e11) as $i (0; . + 1)",
    "[foreach range(1e11) as $i (0; . + 1)] | length",
    "first(repeat(1) | select(. == 2))",
    "[range(3e8)]",
    "[limit(1e9; repeat(1))] | length",
    "last(recurse(. + 1; true))",
    "0 | until(false; . + 1)",
    "[0 | while(true; . + 1)]",
    "label $out | foreach repeat(1) as $i (0; . + 1; if . > 1e9 then ., break $out else empty end)",
    "isempty(range(1e12) | select(. < 0))",
    "any(range(1e12); . < 0)",
];

/// What would need more memory than there is.
const GREEDY: &[&str] = &[
    "reduce range(60) as $i (\"x\"; . + .)",
    "reduce range(60) as $i ([1]; . + .)",
    "reduce range(60) as $i ({}; {a: ., b: .}) | tojson",
    "\"x\" * 1e9",
    "(\"x\" * 100000) * 100000",
    "[range(1e6)] | combinations(5)",
    "[range(40)] | [combinations(4)] | length",
    ".[1e9] = 1",
    "[.[1e9]?] | (.[2e9] |= 1)",
    "[range(1e5)] | map(tostring) | map([range(1e5)])",
    "\"a\" | gsub(\"\"; \"x\" * 1e7)",
    "[range(100000)] | implode | explode | map([range(1000)]) | length",
];

/// What gives no value, or several, or none that JSON has.
const VALUELESS: &[&str] = &[
    "empty",
    "1, 2",
    ".[]",
    "error",
    "error(\"no\")",
    "error(null)",
    ".a.b.c[0] | keys",
    "{} + 1",
];

/// A workflow that does nothing but evaluate one expression.
fn document(number: usize, expression: &str) -> String {
    json!({
        "document": {
            "dsl": "1.0.3", "namespace": "hostile", "name": format!("h{number}"),
            "version": "1.0.0",
        },
        "do": [{"evil": {"set": {"value": format!("${{ {expression} }}")}}}],
    })
    .to_string()
}

/// What became of an expression.
async fn tried(api: &Api, number: usize, expression: &str) -> &'static str {
    let answer = api.post_document("/workflows", &document(number, expression)).await;
    if answer.status == 422 {
        let fault = &answer.body["errors"][0];
        assert_eq!(fault["code"], "malformed_expression", "{expression}: {}", answer.text);
        assert_eq!(fault["pointer"], "/do/0/evil/set/value", "{expression}");
        return "refused";
    }
    assert_eq!(answer.status, 201, "{expression}: {}", answer.text);
    let id = answer.body["id"].as_str().expect("an id");
    let done = api.run(id, &json!([1, 2])).await;
    assert_eq!(done["status"], "faulted", "{expression}: {done}");
    let kind = done["error"]["type"].as_str().unwrap_or_default();
    assert!(kind.ends_with("/errors/expression"), "{expression}: {done}");
    assert_eq!(done["error"]["instance"], "/do/0/evil", "{expression}");
    "failed"
}

#[tokio::test]
async fn hostile_expressions_hurt_nobody_but_their_own_execution() {
    let mut world = World::start().await;
    let api = world.api();
    let echo = api.publish(ECHO).await;
    let mut number = 0;
    for list in [FORBIDDEN, ENDLESS, GREEDY, VALUELESS] {
        for expression in list {
            let outcome = tried(&api, number, expression).await;
            eprintln!("{outcome}: {expression}");
            number += 1;
        }
    }
    for expression in FORBIDDEN {
        number += 1;
        assert_eq!(tried(&api, number, expression).await, "refused", "{expression}");
    }
    assert_eq!(world.server.ended().expect("known"), None, "the process is gone");
    let done = api.run(&echo, &json!("still here")).await;
    assert_eq!(done["output"], json!({"echoed": "still here"}));
    let peak = peak_mib(world.server.pid());
    assert!(peak < 512, "the process needed {peak} MiB");
}

#[tokio::test]
async fn long_and_deep_expressions_are_refused() {
    let mut world = World::start().await;
    let api = world.api();
    let deep = [
        format!("{}1{}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000)),
        format!("1{}", " + 1".repeat(20_000)),
        format!(".{}", " | .".repeat(20_000)),
        format!("{}1", "-".repeat(50_000)),
        format!("if {} then 1 else 2 end", "if ".repeat(5_000)),
        format!("\"{}\"", "\\(1)".repeat(20_000)),
        "try ".repeat(20_000) + "1",
        format!(".{}", ".a?".repeat(20_000)),
    ];
    for (number, expression) in deep.iter().enumerate() {
        let answer = api.post_document("/workflows", &document(number, expression)).await;
        let begin = &expression[..20];
        assert_eq!((begin, answer.status), (begin, 422), "{}", answer.text);
        assert_eq!(answer.body["errors"][0]["code"], "malformed_expression", "{begin}");
    }
    assert_eq!(api.items("/workflows").await, Vec::<Value>::new());
    assert_eq!(world.server.ended().expect("known"), None, "the process is gone");
}

/// The most memory that a process ever had.
fn peak_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") / 1024
}
