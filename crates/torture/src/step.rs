//! Names for the steps of a process that something durable comes of: the statements that write, and
//! the commits. A process that keeps nothing elsewhere can be killed before and after each of them,
//! and that is every moment at which it makes a difference.

/// What begins a statement that writes.
const VERBS: [&str; 8] =
    ["INSERT", "UPDATE", "DELETE", "COPY", "CREATE", "ALTER", "DROP", "TRUNCATE"];
/// What may stand between it and the name of what it writes.
const BETWEEN: [&str; 10] =
    ["INTO", "FROM", "TABLE", "SCHEMA", "ONLY", "IF", "NOT", "EXISTS", "UNIQUE", "POLICY"];
/// Functions that write.
const FUNCTIONS: [&str; 4] = ["es.append", "es.append_one", "es.make_partitions", "pg_notify"];

/// The step that a statement is, if it writes: its verb and what it writes. What a rebuild does to
/// its tables one after another is one step.
pub(crate) fn of_statement(sql: &str) -> Option<String> {
    let is_name = |char: char| char.is_alphanumeric() || "_.".contains(char);
    let words: Vec<&str> =
        sql.split(|char| !is_name(char)).filter(|word| !word.is_empty()).collect();
    words.iter().enumerate().find_map(|(at, word)| {
        if *word == "GRANT" {
            return Some((*word).to_owned());
        }
        if VERBS.contains(word) && (at == 0 || words[at - 1] != "FOR") {
            let written = words[at + 1..].iter().find(|word| !BETWEEN.contains(word));
            return Some(format!("{word} {}", written.map(|name| whole(word, name))?));
        }
        FUNCTIONS.contains(word).then(|| (*word).to_owned())
    })
}

/// What is written, or all tables of its schema if they are made, moved and filled alike.
fn whole(verb: &str, name: &str) -> String {
    let is_shape = ["CREATE", "ALTER", "DROP", "TRUNCATE"].contains(&verb);
    match name.split_once('.') {
        Some((schema, _)) if schema.starts_with("rm_") || (schema == "rm" && is_shape) => {
            format!("{schema}.*")
        }
        _ => name.to_owned(),
    }
}

/// What a commit is called: by what was written last before it. Nothing was, nothing comes of it.
pub(crate) fn of_commit(sql: &str, written: Option<&str>) -> Option<String> {
    let is_commit = sql.trim_end_matches(';').trim().eq_ignore_ascii_case("commit");
    written.filter(|_| is_commit).map(|written| format!("COMMIT of {written}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_named_by_what_it_writes() {
        for (sql, name) in [
            ("INSERT INTO rm.work AS w (a) VALUES ($1)", "INSERT rm.work"),
            ("WITH x AS (SELECT 1) UPDATE ops.lease SET a = 1 FROM x", "UPDATE ops.lease"),
            ("COPY rm_replay.work (a) FROM STDIN", "COPY rm_replay.*"),
            ("CREATE TABLE IF NOT EXISTS es.x (LIKE y)", "CREATE es.x"),
            ("ALTER TABLE rm.work SET SCHEMA rm_old", "ALTER rm.*"),
            ("SELECT verdict FROM es.append($1, $2)", "es.append"),
            ("SELECT es.append_one($1, $2)", "es.append_one"),
        ] {
            assert_eq!(of_statement(sql).as_deref(), Some(name), "{sql}");
        }
    }

    #[test]
    fn a_statement_that_only_reads_or_locks_a_row_has_no_name() {
        for sql in ["SELECT a FROM es.log FOR UPDATE", "BEGIN", "LISTEN es_1", "COMMIT"] {
            assert_eq!(of_statement(sql), None, "{sql}");
        }
    }

    #[test]
    fn a_commit_is_named_by_the_last_write_before_it() {
        assert_eq!(of_commit("COMMIT", Some("INSERT a")).as_deref(), Some("COMMIT of INSERT a"));
        assert_eq!(of_commit("COMMIT", None), None);
        assert_eq!(of_commit("ROLLBACK", Some("INSERT a")), None);
    }
}
