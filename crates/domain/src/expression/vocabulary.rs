//! The functions that expressions may call, and why they may not call others.

use super::item::Held;
use super::program::{Plain, Special};
use super::{collection, matching, number, text, time};

/// What a function is made of.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    /// A function of values.
    Plain(Plain),
    /// A function of expressions.
    Special(Special),
    /// Written out by the compiler.
    Written(Written),
}

/// The functions that the compiler writes out as other expressions.
#[derive(Debug, Clone, Copy)]
pub(super) enum Written {
    True,
    False,
    Null,
    Map,
    MapValues,
    Select,
    Recurse,
    First,
    Last,
    Nth,
    NthOf,
    WithEntries,
    Delete,
    Paths,
    PathsTo,
    LeafPaths,
    /// With `.[]` before its arguments.
    OfEach(Special),
    /// With `.[]` before and `.` after.
    OfEachItself(Special),
    /// With `.` for its argument.
    ByItself(Special),
    /// `IN`
    Among,
    /// The second argument last: the replacement is what is evaluated.
    Substitute {
        all: bool,
    },
}

/// Keeps the values of some types, as `strings` does.
macro_rules! keep {
    ($($kind:literal)|+) => {
        S(Special::Keep(|held: &Held<'_>| matches!(held.kind(), $($kind)|+)))
    };
}

use Meaning::{Plain as P, Special as S, Written as W};

/// All functions, with the number of their arguments.
const FUNCTIONS: &[(&str, usize, Meaning)] = &[
    ("true", 0, W(Written::True)),
    ("false", 0, W(Written::False)),
    ("null", 0, W(Written::Null)),
    ("empty", 0, S(Special::Empty)),
    ("error", 0, S(Special::Error)),
    ("error", 1, S(Special::Error)),
    ("not", 0, P(collection::not)),
    ("length", 0, S(Special::Length)),
    ("utf8bytelength", 0, P(text::byte_length)),
    ("type", 0, S(Special::Type)),
    ("keys", 0, P(collection::keys)),
    ("keys_unsorted", 0, P(collection::keys)),
    ("has", 1, S(Special::Has)),
    ("in", 1, P(collection::is_in)),
    ("contains", 1, P(collection::contains)),
    ("inside", 1, P(collection::inside)),
    ("map", 1, W(Written::Map)),
    ("map_values", 1, W(Written::MapValues)),
    ("select", 1, W(Written::Select)),
    ("recurse", 0, W(Written::Recurse)),
    ("path", 1, S(Special::Path)),
    ("paths", 0, W(Written::Paths)),
    ("paths", 1, W(Written::PathsTo)),
    ("leaf_paths", 0, W(Written::LeafPaths)),
    ("getpath", 1, S(Special::GetPath)),
    ("setpath", 2, S(Special::SetPath)),
    ("delpaths", 1, S(Special::DeletePaths)),
    ("del", 1, W(Written::Delete)),
    ("pick", 1, S(Special::Pick)),
    ("walk", 1, S(Special::Walk)),
    ("to_entries", 0, P(collection::to_entries)),
    ("from_entries", 0, P(collection::from_entries)),
    ("with_entries", 1, W(Written::WithEntries)),
    ("add", 0, W(Written::OfEach(Special::Add))),
    ("add", 1, S(Special::Add)),
    ("any", 0, W(Written::OfEachItself(Special::Any))),
    ("any", 1, W(Written::OfEach(Special::Any))),
    ("any", 2, S(Special::Any)),
    ("all", 0, W(Written::OfEachItself(Special::All))),
    ("all", 1, W(Written::OfEach(Special::All))),
    ("all", 2, S(Special::All)),
    ("isempty", 1, S(Special::IsEmpty)),
    ("IN", 1, W(Written::Among)),
    ("range", 1, S(Special::Range)),
    ("range", 2, S(Special::Range)),
    ("range", 3, S(Special::Range)),
    ("first", 0, W(Written::First)),
    ("first", 1, S(Special::First)),
    ("last", 0, W(Written::Last)),
    ("last", 1, S(Special::Last)),
    ("nth", 1, W(Written::Nth)),
    ("nth", 2, W(Written::NthOf)),
    ("limit", 2, S(Special::Limit)),
    ("skip", 2, S(Special::Skip)),
    ("sort", 0, W(Written::ByItself(Special::SortBy))),
    ("sort_by", 1, S(Special::SortBy)),
    ("group_by", 1, S(Special::GroupBy)),
    ("unique", 0, W(Written::ByItself(Special::UniqueBy))),
    ("unique_by", 1, S(Special::UniqueBy)),
    ("min", 0, W(Written::ByItself(Special::MinBy))),
    ("min_by", 1, S(Special::MinBy)),
    ("max", 0, W(Written::ByItself(Special::MaxBy))),
    ("max_by", 1, S(Special::MaxBy)),
    ("reverse", 0, P(collection::reverse)),
    ("flatten", 0, P(collection::flatten)),
    ("flatten", 1, P(collection::flatten)),
    ("transpose", 0, P(collection::transpose)),
    ("toarray", 0, P(collection::to_array)),
    ("indices", 1, P(text::indices)),
    ("index", 1, P(text::first_index)),
    ("rindex", 1, P(text::last_index)),
    ("tostring", 0, P(text::to_string)),
    ("tonumber", 0, P(text::to_number)),
    ("tojson", 0, P(text::to_json)),
    ("fromjson", 0, P(text::from_json)),
    ("split", 1, P(text::split_by)),
    ("split", 2, P(matching::split)),
    ("splits", 1, S(Special::Splits)),
    ("splits", 2, S(Special::Splits)),
    ("join", 1, P(text::join)),
    ("ascii_downcase", 0, P(text::downcase)),
    ("ascii_upcase", 0, P(text::upcase)),
    ("startswith", 1, P(text::starts_with)),
    ("endswith", 1, P(text::ends_with)),
    ("ltrimstr", 1, P(text::strip_start)),
    ("rtrimstr", 1, P(text::strip_end)),
    ("trim", 0, P(text::trim)),
    ("ltrim", 0, P(text::trim_start)),
    ("rtrim", 0, P(text::trim_end)),
    ("explode", 0, P(text::explode)),
    ("implode", 0, P(text::implode)),
    ("test", 1, P(matching::test)),
    ("test", 2, P(matching::test)),
    ("match", 1, S(Special::Match)),
    ("match", 2, S(Special::Match)),
    ("capture", 1, S(Special::Capture)),
    ("capture", 2, S(Special::Capture)),
    ("scan", 1, S(Special::Scan)),
    ("scan", 2, S(Special::Scan)),
    ("sub", 2, W(Written::Substitute { all: false })),
    ("sub", 3, W(Written::Substitute { all: false })),
    ("gsub", 2, W(Written::Substitute { all: true })),
    ("gsub", 3, W(Written::Substitute { all: true })),
    ("floor", 0, P(number::floor)),
    ("ceil", 0, P(number::ceil)),
    ("round", 0, P(number::round)),
    ("trunc", 0, P(number::trunc)),
    ("sqrt", 0, P(number::sqrt)),
    ("exp", 0, P(number::exp)),
    ("exp2", 0, P(number::exp2)),
    ("exp10", 0, P(number::exp10)),
    ("log", 0, P(number::log)),
    ("log2", 0, P(number::log2)),
    ("log10", 0, P(number::log10)),
    ("abs", 0, P(number::abs)),
    ("infinite", 0, P(number::infinite)),
    ("nan", 0, P(number::nan)),
    ("fabs", 0, P(number::abs)),
    ("pow", 2, P(number::pow)),
    ("isnan", 0, P(number::is_nan)),
    ("isinfinite", 0, P(number::is_infinite)),
    ("isnormal", 0, P(number::is_normal)),
    ("todate", 0, P(time::to_date)),
    ("todateiso8601", 0, P(time::to_date)),
    ("date", 0, P(time::to_date)),
    ("fromdate", 0, P(time::from_date)),
    ("fromdateiso8601", 0, P(time::from_date)),
    ("gmtime", 0, P(time::parts)),
    ("mktime", 0, P(time::make)),
    ("strftime", 1, P(time::format)),
    ("strptime", 1, P(time::parse)),
    ("nulls", 0, keep!("null")),
    ("booleans", 0, keep!("boolean")),
    ("numbers", 0, keep!("number")),
    ("strings", 0, keep!("string")),
    ("arrays", 0, keep!("array")),
    ("objects", 0, keep!("object")),
    ("iterables", 0, keep!("array" | "object")),
    ("scalars", 0, keep!("null" | "boolean" | "number" | "string")),
    ("values", 0, keep!("boolean" | "number" | "string" | "array" | "object")),
    ("@text", 0, P(text::to_string)),
    ("@json", 0, P(text::to_json)),
    ("@html", 0, P(text::html)),
    ("@uri", 0, P(text::uri)),
    ("@urid", 0, P(text::from_uri)),
    ("@csv", 0, P(text::csv)),
    ("@tsv", 0, P(text::tsv)),
    ("@sh", 0, P(text::sh)),
    ("@base64", 0, P(text::base64)),
    ("@base64d", 0, P(text::from_base64)),
];

/// What jq has and expressions here may not have, and what to do instead.
const REFUSED: &[(&[&str], &str)] = &[
    (&["now", "localtime", "strflocaltime"], CLOCK),
    (&["env", "$ENV", "$__loc__", "$__prog_args"], "pass what it needs as input"),
    (&["input", "inputs", "input_filename", "input_line_number"], "use `.` or a variable"),
    (&["debug", "debug_empty", "stderr", "stderr_empty"], "leave it out"),
    (&["halt", "halt_error"], "use `error`, or the `raise` task"),
    (&["repeat", "while", "until", "recurse", "recurse_down"], BOUNDED),
    (&["import", "include", "module", "modulemeta", "get_search_list"], "write it out"),
    (&["def"], "write the filter out where it is used"),
    (&["label", "break"], "use `first(f)` or `limit(n; f)`"),
    (&["builtins", "$__prog_name"], "leave it out"),
];

const CLOCK: &str =
    "an expression sees no clock; use a time of the execution, as `$task.startedAt`";
const BOUNDED: &str = "use `range`, `limit`, `reduce`, `recurse` without arguments or `walk`";

/// The function of this name and number of arguments.
pub(super) fn find(name: &str, arguments: usize) -> Option<Meaning> {
    FUNCTIONS
        .iter()
        .find(|(known, arity, _)| *known == name && *arity == arguments)
        .map(|(_, _, meaning)| *meaning)
}

/// What to do instead of something that jq has and expressions here may not have.
pub(super) fn instead(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(names, _)| names.contains(&name)).map(|(_, hint)| *hint)
}

/// What the author may have meant by a name that does not exist.
pub(super) fn suggestion(name: &str, arguments: usize) -> Option<String> {
    let arities: Vec<String> = FUNCTIONS
        .iter()
        .filter(|(known, ..)| *known == name)
        .map(|(_, arity, _)| arity.to_string())
        .collect();
    if !arities.is_empty() {
        return Some(format!("{name} takes {} arguments, not {arguments}", arities.join(" or ")));
    }
    let squeezed = |name: &str| name.replace('_', "").to_ascii_lowercase();
    FUNCTIONS
        .iter()
        .map(|(known, ..)| (distance(&squeezed(known), &squeezed(name)), *known))
        .min()
        .filter(|(distance, known)| *distance <= 1 + known.len() / 5)
        .map(|(_, known)| format!("did you mean {known}?"))
}

/// How many letters differ between two words.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (at, l) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (place, r) in right.chars().enumerate() {
            let replaced = diagonal + usize::from(l != r);
            diagonal = row[place + 1];
            row[place + 1] = replaced.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
