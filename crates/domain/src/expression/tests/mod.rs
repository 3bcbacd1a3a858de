//! What expressions do, what they may not do, and what stops them.

mod hostile;
mod jaq;
mod language;
mod properties;
mod refusals;

use serde_json::{Value, json};

use super::{EvaluationError, Expression, Scope};

/// Variables that the tests offer.
const VARIABLES: &[&str] = &["context", "input", "task"];

/// Compiles an expression that is expected to compile.
fn compile(source: &str) -> Expression {
    Expression::compile(source, VARIABLES).unwrap_or_else(|error| panic!("{source}: {error:?}"))
}

/// Evaluates an expression for `input`, without variables.
fn evaluate(source: &str, input: &Value) -> Result<Value, EvaluationError> {
    compile(source).evaluate(input, &Scope::new())
}

/// All outputs of an expression for `input`; an error ends them.
fn outputs(source: &str, input: &Value) -> Value {
    evaluate(&format!("[{source}]"), input).unwrap_or_else(|error| json!(error.0))
}

/// Checks a table of expressions, inputs and outputs, each written as JSON.
fn check(table: &[(&str, &str, &str)]) {
    for (source, input, expected) in table {
        let input = serde_json::from_str(input).unwrap();
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(outputs(source, &input), expected, "{source} of {input}");
    }
}

/// Checks a table of expressions, inputs and the errors they end in.
fn check_errors(table: &[(&str, &str, &str)]) {
    for (source, input, expected) in table {
        let input = serde_json::from_str(input).unwrap();
        let error = evaluate(source, &input).expect_err(source);
        assert_eq!(error.0, *expected, "{source} of {input}");
    }
}
