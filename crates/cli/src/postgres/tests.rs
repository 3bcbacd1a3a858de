//! The private Postgres against the real thing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};
use sqlx::{Connection, PgConnection, Row};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::cluster::Cluster;
use super::{Error, Server};

/// A data directory that the server's account can enter.
fn data_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

async fn start(data: &Path) -> Server {
    Server::start(data, Uuid::from_u128(1), &CancellationToken::new()).await.unwrap()
}

async fn ask(server: &Server, question: &str) -> String {
    let mut connection = PgConnection::connect(server.url()).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(question.to_owned()))
        .fetch_one(&mut connection)
        .await
        .unwrap()
        .get::<String, _>(0)
}

async fn tell(server: &Server, statement: &str) {
    let mut connection = PgConnection::connect(server.url()).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
}

/// The server's process; none for the moment in which one takes over from another.
fn server_pid(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data.join("postgres/postmaster.pid")).ok()?;
    text.lines().next()?.parse().ok().map(Pid::from_raw)
}

/// Waits until another server than `first` takes connections.
async fn replaced(server: &Server, data: &Path, first: Pid) {
    let another = || server_pid(data).is_some_and(|pid| pid != first);
    while !another() || PgConnection::connect(server.url()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn it_is_made_once_durable_and_private_and_its_data_stays() {
    let data = data_dir();
    let server = start(data.path()).await;
    for setting in ["fsync", "full_page_writes", "synchronous_commit", "data_checksums"] {
        assert_eq!(ask(&server, &format!("SHOW {setting}")).await, "on", "{setting}");
    }
    assert_eq!(ask(&server, "SHOW listen_addresses").await, "");
    assert_eq!(ask(&server, "SHOW server_encoding").await, "UTF8");
    assert_eq!(ask(&server, "SHOW lc_collate").await, "C");
    assert_eq!(ask(&server, "SHOW timezone").await, "UTC");
    let socket = fs::metadata(data.path().join("socket")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o700);
    assert_eq!(server.note(), None);

    tell(&server, "CREATE TABLE kept AS SELECT 'still here' AS what").await;
    let pid = server_pid(data.path()).unwrap();
    server.stop().await;
    assert!(kill(pid, None).is_err(), "the server outlived its stop");

    let server = start(data.path()).await;
    assert_eq!(ask(&server, "SELECT what FROM kept").await, "still here");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_is_killed_comes_back_with_all_that_was_committed() {
    let data = data_dir();
    let server = start(data.path()).await;
    tell(&server, "CREATE TABLE kept AS SELECT 'still here' AS what").await;
    let first = server_pid(data.path()).unwrap();
    kill(first, Signal::SIGKILL).unwrap();
    replaced(&server, data.path(), first).await;
    assert_eq!(ask(&server, "SELECT what FROM kept").await, "still here");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_outlived_its_supervisor_is_replaced() {
    let data = data_dir();
    let cluster = Cluster::prepare(data.path(), Uuid::from_u128(1)).await.unwrap();
    let mut orphan = cluster.server().unwrap().spawn().unwrap();
    while PgConnection::connect(&cluster.url(super::cluster::OWNER)).await.is_err() {
        tokio::task::yield_now().await;
    }
    let first = server_pid(data.path()).unwrap();
    let (server, ended) = tokio::join!(start(data.path()), orphan.wait());
    assert!(ended.unwrap().success(), "it was not asked politely");
    assert_ne!(server_pid(data.path()).unwrap(), first);
    server.stop().await;
}

#[tokio::test]
async fn backends_that_outlived_their_server_do_not_keep_the_next_one_from_starting() {
    let data = data_dir();
    let server = start(data.path()).await;
    let mut connection = PgConnection::connect(server.url()).await.unwrap();
    let backend: i32 =
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
    let first = server_pid(data.path()).unwrap();
    kill(Pid::from_raw(backend), Signal::SIGSTOP).unwrap();
    kill(first, Signal::SIGKILL).unwrap();
    replaced(&server, data.path(), first).await;
    assert_eq!(ask(&server, "SHOW fsync").await, "on");
    server.stop().await;
}

#[tokio::test]
async fn a_number_in_a_stale_pid_file_that_is_another_process_now_does_no_harm() {
    let data = data_dir();
    start(data.path()).await.stop().await;
    let cluster = Cluster::prepare(data.path(), Uuid::from_u128(1)).await.unwrap();
    let mut bystander = cluster.account.command(Path::new("sleep")).arg("600").spawn().unwrap();
    let pid_file = data.path().join("postgres/postmaster.pid");
    fs::write(&pid_file, format!("{}\n{}\n", bystander.id().unwrap(), cluster.dir.display()))
        .unwrap();
    fs::set_permissions(&pid_file, fs::Permissions::from_mode(0o644)).unwrap();
    let server = start(data.path()).await;
    assert_eq!(bystander.try_wait().unwrap(), None, "a stranger was killed");
    server.stop().await;
    bystander.kill().await.unwrap();
}

#[tokio::test]
async fn a_socket_path_too_long_for_the_system_is_moved_to_a_private_place() {
    let data = data_dir();
    let deep = data.path().join("d".repeat(100));
    fs::create_dir(&deep).unwrap();
    fs::set_permissions(&deep, fs::Permissions::from_mode(0o755)).unwrap();
    let server = start(&deep).await;
    assert!(server.url().contains("host=%2Ftmp%2Feverstep-"), "{}", server.url());
    assert_eq!(ask(&server, "SHOW unix_socket_permissions").await, "0700");
    let socket = ask(&server, "SHOW unix_socket_directories").await;
    server.stop().await;
    fs::remove_dir(socket).unwrap();
}

#[tokio::test]
async fn a_cluster_of_another_version_is_refused_and_left_alone() {
    let data = data_dir();
    let dir = data.path().join("postgres");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("PG_VERSION"), "9.6\n").unwrap();
    let refused = Cluster::prepare(data.path(), Uuid::from_u128(1)).await.unwrap_err();
    assert!(matches!(refused, Error::WrongVersion { wanted: 9, .. }), "{refused}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
}

#[tokio::test]
async fn a_database_that_is_not_one_is_not_overwritten() {
    let data = data_dir();
    fs::create_dir(data.path().join("postgres")).unwrap();
    fs::write(data.path().join("postgres/diary.txt"), "mine").unwrap();
    let refused = Cluster::prepare(data.path(), Uuid::from_u128(1)).await.unwrap_err();
    assert!(matches!(refused, Error::Io { .. }), "{refused}");
    assert_eq!(fs::read_to_string(data.path().join("postgres/diary.txt")).unwrap(), "mine");
}

#[tokio::test]
async fn an_interrupted_start_leaves_nothing_running() {
    let data = data_dir();
    let interrupted = CancellationToken::new();
    interrupted.cancel();
    let stopped = Server::start(data.path(), Uuid::from_u128(1), &interrupted).await;
    assert!(matches!(stopped, Err(Error::Interrupted)));
    start(data.path()).await.stop().await;
}

/// Of interest to root only: others run the server themselves.
#[tokio::test]
async fn a_directory_that_only_root_can_enter_gets_its_database_elsewhere() {
    if !Uid::effective().is_root() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let id = crate::random_uuid();
    let server = Server::start(data.path(), id, &CancellationToken::new()).await.unwrap();
    let elsewhere = format!("/var/lib/everstep/{id}");
    assert!(server.note().unwrap().contains(&elsewhere), "{:?}", server.note());
    assert_eq!(ask(&server, "SHOW data_directory").await, format!("{elsewhere}/postgres"));
    server.stop().await;

    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let cluster = Cluster::prepare(data.path(), id).await.unwrap();
    assert!(cluster.dir.starts_with(&elsewhere), "a second database was made");
    fs::remove_dir_all(elsewhere).unwrap();
}

/// As root, runs the tests above a second time as somebody else.
#[test]
fn an_ordinary_user_needs_no_help() {
    if !Uid::effective().is_root() {
        return;
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let home = data_dir();
    nix::unistd::chown(home.path(), Some(nobody.uid), Some(nobody.gid)).unwrap();
    // The tests may have been built where nobody else may look.
    let tests = home.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    for test in [
        "it_is_made_once_durable_and_private_and_its_data_stays",
        "a_server_that_outlived_its_supervisor_is_replaced",
        "a_number_in_a_stale_pid_file_that_is_another_process_now_does_no_harm",
    ] {
        let run = Command::new(&tests)
            .args(["--exact", &format!("postgres::tests::{test}")])
            .env("TMPDIR", home.path())
            .current_dir("/")
            .uid(nobody.uid.as_raw())
            .gid(nobody.gid.as_raw())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(
            said.contains("1 passed"),
            "{test}: {said}{}",
            String::from_utf8_lossy(&run.stderr)
        );
    }
}
