//! Parts of a log: bundles of a selection, and exports that are lines alone.

use chrono::{DateTime, SecondsFormat, Utc};

use super::*;

/// What somebody does to the lines of a file.
type Change = fn(&mut Vec<String>);

impl Audit {
    fn export(&self, to: &[&str], more: &[&str]) {
        let tenant = TENANT.to_string();
        let args = ["audit", "export", "--database-url", &self.url, "--tenant", &tenant];
        run(&[&args[..], to, more].concat()).expect(0);
    }

    /// A bundle of a selection.
    fn selected(&self, name: &str, selection: &[&str]) -> PathBuf {
        let path = self.files.path().join(name);
        self.export(&["--bundle", text(&path)], selection);
        path
    }

    /// An export that is lines alone.
    fn lines(&self, selection: &[&str]) -> PathBuf {
        let path = self.files.path().join("lines.ndjson");
        self.export(&["--file", text(&path)], selection);
        path
    }
}

fn verify(path: &Path, more: &[&str]) -> Ended {
    run(&[&["audit", "verify", text(path)], more].concat())
}

/// Changes the lines of a file.
fn edit(path: &Path, change: impl Fn(&mut Vec<String>)) {
    fs::write(path, lines(change)(fs::read(path).unwrap())).unwrap();
}

fn manifest(bundle: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(bundle.join("manifest.json")).unwrap()).unwrap()
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_stretch_of_the_log_is_proved_to_be_whole(pool: PgPool) {
    let audit = sealed(&pool).await;
    for name in ["stretch", "stretch.tar.zst"] {
        let bundle = audit.selected(name, &["--from", "10", "--to", "400"]);
        let told = verify(&bundle, &["--key", &audit.key]).expect(0).out;
        assert!(told.starts_with("391 events of tenant"), "{told}");
        assert!(
            told.contains("leaves 9 to 399 of 600, are what was sealed; none between"),
            "{told}"
        );
    }
    let bundle = audit.files.path().join("stretch");
    let selection = &manifest(&bundle)["selection"];
    let expected = serde_json::json!(
        {"from": "10", "to": "400", "first_leaf": 9, "last_leaf": 399}
    );
    assert_eq!(selection, &expected);
    let shown = verify(&bundle, &["-o", "json"]).expect(0).json();
    assert_eq!((&shown["first_leaf"], &shown["missing_between"]), (&9.into(), &0.into()));

    let whole = fs::read(bundle.join("events.ndjson")).unwrap();
    let cases: [(Change, &str); 5] = [
        (|lines| drop(lines.remove(41)), "line 42: an event is missing before it"),
        (|lines| drop(lines.remove(0)), "line 1: an event is missing before it"),
        (|lines| lines.swap(3, 4), "line 4: an event is missing before it"),
        (|lines| drop(lines.pop()), "other leaves than manifest.json says: 9 to 399"),
        (
            |lines| lines[5] = lines[5].replace(r#""system""#, r#""api_key""#),
            "line 6: it is not what was sealed",
        ),
    ];
    for (change, expected) in cases {
        edit(&bundle.join("events.ndjson"), change);
        let ended = verify(&bundle, &[]).expect(8);
        assert!(ended.err.contains(expected), "{expected}: {ended:?}");
        fs::write(bundle.join("events.ndjson"), &whole).unwrap();
    }
    verify(&bundle, &[]).expect(0);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_selection_by_time_is_a_stretch_too(pool: PgPool) {
    let audit = sealed(&pool).await;
    let times =
        "SELECT min(recorded_at), max(recorded_at), max(recorded_at) + interval '1 microsecond'
         FROM es.event";
    let times: (DateTime<Utc>, DateTime<Utc>, DateTime<Utc>) =
        sqlx::query_as(times).fetch_one(&pool).await.unwrap();
    let [first, last, after] =
        [times.0, times.1, times.2].map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true));
    let all = audit.selected("all", &["--from", &first, "--to", &last]);
    let told = verify(&all, &[]).expect(0).out;
    assert!(told.contains("leaves 0 to 599 of 600"), "{told}");
    let from = manifest(&all)["selection"]["from"].as_str().map(str::parse::<DateTime<Utc>>);
    assert_eq!(from, Some(Ok(times.0)));
    let none = audit.selected("none", &["--from", &after]);
    let told = verify(&none, &[]).expect(0).out;
    assert!(told.starts_with("0 events of tenant"), "{told}");
    fs::copy(all.join("events.ndjson"), none.join("events.ndjson")).unwrap();
    verify(&none, &[]).expect(8);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn what_was_chosen_by_its_type_is_proved_and_not_that_it_is_all(pool: PgPool) {
    let audit = sealed(&pool).await;
    let bundle = audit.selected("chosen", &["--type", "api_key.created", "--to", "300"]);
    let told = verify(&bundle, &["--key", &audit.key]).expect(0).out;
    assert!(told.starts_with("300 events of tenant"), "{told}");
    assert!(
        told.contains("chosen as those of type api_key.created, are what was sealed"),
        "{told}"
    );
    assert!(told.contains("whether some were left out is not proved"), "{told}");
    let path = bundle.join("events.ndjson");
    edit(&path, |lines| lines[7] = lines[7].replace("read", "rEad"));
    let ended = verify(&bundle, &[]).expect(8);
    assert!(ended.err.contains("events.ndjson, line 8: its data"), "{ended:?}");
    let nobody = audit.selected("nobody", &["--actor", &Uuid::from_u128(9).to_string()]);
    let told = verify(&nobody, &[]).expect(0).out;
    assert!(told.starts_with("0 events of tenant"), "{told}");
    // What is no selection is all, as it was.
    assert_eq!(manifest(&audit.bundle)["selection"], serde_json::Value::Null);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn lines_are_checked_against_the_tree_of_a_bundle(pool: PgPool) {
    let audit = sealed(&pool).await;
    let path = audit.lines(&["--from", "10", "--to", "400"]);
    let archive = audit.archive("tree.tar.zst");
    for bundle in [&audit.bundle, &archive] {
        let told = verify(&path, &["--with", text(bundle), "--key", &audit.key]).expect(0).out;
        assert!(
            told.contains("leaves 9 to 399 of 600, are what was sealed; none between"),
            "{told}"
        );
    }
    let with = ["--with", text(&audit.bundle)];
    let other = Signer::new(&origin("everstep", TENANT), &[4; 32]).unwrap().verifier().to_string();
    verify(&path, &[&with[..], &["--key", &other]].concat()).expect(8);
    verify(&audit.bundle, &with).expect(2);
    verify(&path, &["--with", "/nowhere"]).expect(3);
    run(&[&["audit", "verify", "--live"], &with[..]].concat()).expect(2);

    let whole = fs::read(&path).unwrap();
    let cases: [(Change, &str); 4] = [
        (
            |lines| lines[5] = lines[5].replace(r#""system""#, r#""api_key""#),
            "lines.ndjson, line 6: it is not what was sealed",
        ),
        (|lines| lines.swap(3, 4), "line 5: an event is missing before it, or"),
        (
            |lines| lines[2] = lines[2].replace(r#""leafindex":"11","#, ""),
            "line 3: it was not sealed",
        ),
        (|lines| lines[8] = lines[8].replace("everstep/", "other/"), "line 9: it is of another"),
    ];
    for (change, expected) in cases {
        edit(&path, change);
        let ended = verify(&path, &with).expect(8);
        assert!(ended.err.contains(expected), "{expected}: {ended:?}");
        fs::write(&path, &whole).unwrap();
    }
    // A selection may leave some out, and it is said how many.
    edit(&path, |lines| drop(lines.drain(10..20)));
    let told = verify(&path, &with).expect(0).out;
    assert!(told.contains("; 10 between them are not here"), "{told}");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn lines_alone_are_checked_as_far_as_they_can_be(pool: PgPool) {
    let audit = sealed(&pool).await;
    let path = audit.lines(&[]);
    let told = verify(&path, &[]).expect(0).out;
    assert!(told.starts_with("600 events have the form"), "{told}");
    assert!(told.contains("This proves nothing of the log"), "{told}");
    let shown = verify(&path, &["-o", "json"]).expect(0).json();
    assert_eq!(shown["result"], "not proved");
    verify(&path, &["--key", &audit.key]).expect(2);

    let whole = fs::read(&path).unwrap();
    let cases: [(Change, &str); 4] = [
        (|lines| lines[5] = lines[5].replace("read", "rEad"), "line 6: its data is not what"),
        (|lines| lines.swap(3, 4), "line 5: it does not come after"),
        (|lines| lines[7] = "{}".to_owned(), "line 8: it is not a line of an audit export"),
        (
            |lines| lines[9] = lines[9].replace(r#""leafindex":"9""#, r#""leafindex":"8""#),
            "line 10: its leaf does not come after",
        ),
    ];
    for (change, expected) in cases {
        edit(&path, change);
        let ended = verify(&path, &[]).expect(8);
        assert!(ended.err.contains(expected), "{expected}: {ended:?}");
        fs::write(&path, &whole).unwrap();
    }
}
