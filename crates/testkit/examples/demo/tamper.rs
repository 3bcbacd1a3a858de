//! What whoever has all rights could do to the log: change one byte of what was exported, or of the
//! database. It is done to copies, and found. Erasing somebody changes nothing that was proved.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use comfy_table::{Table, presets};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use crate::expect;
use crate::stage::Stage;

/// The name of the copy of the database.
const COPY: &str = "tampered";
/// The exit code for what is not as it was sealed.
const DIFFERS: i32 = 8;

/// Exports a bundle and tampers with a copy of it; where the bundle is, and what was found.
pub(crate) async fn bundle(stage: &Stage) -> Result<(PathBuf, String)> {
    let (whole, copy) = (stage.file("bundle"), stage.file("tampered"));
    let tenant = stage.tenant().await?;
    passes(stage, &["audit", "export", "--tenant", &tenant, "--bundle", text(&whole)?]).await?;
    passes(stage, &["audit", "verify", text(&whole)?]).await?;
    copy_dir(&whole, &copy)?;
    let line = flip_in_the_middle(&copy.join("events.ndjson"))?;
    println!("   one byte of line {line} is changed in a copy of it");
    let found = finds(stage, None, &["audit", "verify", text(&copy)?]).await?;
    ensure!(found.contains(&format!("line {line}:")), "it does not name line {line}: {found}");
    Ok((whole, found))
}

/// Copies the database and tampers with the copy; what was found.
pub(crate) async fn database(stage: &Stage) -> Result<String> {
    let url = stage.database_url().await;
    let copy = url.replacen("/postgres?", &format!("/{COPY}?"), 1);
    ensure!(copy != url, "the database has another name than this knows: {url}");
    copy_database(&url).await?;
    stage.wait_until_ready().await?;
    println!("   the database is copied (CREATE DATABASE {COPY} TEMPLATE postgres)");
    let verify = ["audit", "verify", "--live"];
    let output = stage.run_on(Some(&copy), &verify).await?;
    ensure!(output.status.success(), "the copy is not as it was: {}", said(&output));
    let position = flip_in_database(&copy).await?;
    println!("   a superuser switches the trigger off and changes one byte at position {position}");
    let found = finds(stage, Some(&copy), &verify).await?;
    ensure!(found.contains(&position.to_string()), "it does not name {position}: {found}");
    Ok(found)
}

/// Erases a person of whom `count` executions are; everything that was proved still holds.
pub(crate) async fn erase(stage: &Stage, bundle: &Path, person: &str, count: usize) -> Result<()> {
    passes(stage, &["subject", "erase", person]).await?;
    let executions = stage.client().await.all("/executions").await?;
    let erased = executions.iter().filter(|one| one["erased"] == true).count();
    ensure!(erased == count, "{erased} executions are erased, {count} were about {person}");
    println!("     {count} executions were about {person}; what happened in them is still known");
    expect::audit_verifies(stage).await?;
    passes(stage, &["audit", "verify", text(bundle)?]).await?;
    println!("   $ everstep replay --verify");
    let output = stage.run(&["replay", "--verify"]).await?;
    ensure!(output.status.success(), "replay --verify: {}", said(&output));
    println!("     all read models are what the log says");
    Ok(())
}

/// What was found, for whoever reads only the end.
pub(crate) fn print(of_bundle: &str, of_database: &str, erased: Option<&str>) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.add_row(["A byte of the export changed", of_bundle]);
    table.add_row(["A byte of the database changed", of_database]);
    if let Some(person) = erased {
        let still = format!("log, export and read models verify as before ({person})");
        table.add_row(["A person erased", &still]);
    }
    println!("\n{table}");
}

/// Runs a command that must succeed, and shows it with the first line of what it says.
async fn passes(stage: &Stage, args: &[&str]) -> Result<()> {
    println!("   $ everstep {}", args.join(" "));
    let output = stage.run(args).await?;
    ensure!(output.status.success(), "it ended with {}", said(&output));
    println!("     {}", String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default());
    Ok(())
}

/// Runs a check that must find something, and shows it with what it found.
async fn finds(stage: &Stage, database: Option<&str>, args: &[&str]) -> Result<String> {
    println!("   $ everstep {}", args.join(" "));
    let output = stage.run_on(database, args).await?;
    ensure!(output.status.code() == Some(DIFFERS), "it was not found: {}", said(&output));
    let found = String::from_utf8_lossy(&output.stderr);
    let found = found.trim().trim_start_matches("error: ").to_owned();
    println!("     {found} (exit code {DIFFERS})");
    Ok(found)
}

fn said(output: &Output) -> String {
    let text = [&*output.stdout, &*output.stderr].map(String::from_utf8_lossy).concat();
    format!("{}: {}", output.status, text.trim())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_dir(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

/// Flips a bit of a letter in the data of the event in the middle of an export; its line, from 1.
fn flip_in_the_middle(events: &Path) -> Result<usize> {
    let mut lines: Vec<Vec<u8>> =
        fs::read(events)?.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let middle = lines.len() / 2;
    let line = lines.get_mut(middle).context("nothing was exported")?;
    let data = String::from_utf8_lossy(line).find(r#""data":"#).context("it has no data")?;
    let letters = line.iter_mut().skip(data + r#""data":"#.len());
    *letters.into_iter().find(|byte| byte.is_ascii_alphabetic()).context("no letter")? ^= 1;
    fs::write(events, lines.concat())?;
    Ok(middle + 1)
}

/// Copies the database. Postgres copies none that is in use, so connections are cut for a moment;
/// Everstep makes new ones.
async fn copy_database(url: &str) -> Result<()> {
    let mut db = PgConnectOptions::from_str(url)?.database("template1").connect().await?;
    let allow = |yes: bool| format!("ALTER DATABASE postgres ALLOW_CONNECTIONS {yes}");
    sqlx::raw_sql(AssertSqlSafe(allow(false))).execute(&mut db).await?;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'";
    let cut = sqlx::raw_sql(cut).execute(&mut db).await;
    let copy = format!("CREATE DATABASE {COPY} TEMPLATE postgres");
    let copied = sqlx::raw_sql(AssertSqlSafe(copy)).execute(&mut db).await;
    sqlx::raw_sql(AssertSqlSafe(allow(true))).execute(&mut db).await?;
    cut.and(copied).context("copying the database")?;
    Ok(db.close().await?)
}

/// Flips a bit in the middle of the body of the event in the middle of the log; its position.
async fn flip_in_database(url: &str) -> Result<i64> {
    let mut db = PgConnection::connect(url).await?;
    sqlx::raw_sql("SET session_replication_role = replica").execute(&mut db).await?;
    let flip = "UPDATE es.event
                SET body = set_byte(body, length(body) / 2, get_byte(body, length(body) / 2) # 1)
                WHERE log_id = 1 AND position = (SELECT position / 2 FROM es.log WHERE log_id = 1)
                RETURNING position";
    let position = sqlx::query_scalar(flip).fetch_one(&mut db).await?;
    db.close().await?;
    Ok(position)
}
