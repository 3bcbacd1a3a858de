//! The vault in a real database.

use sqlx::Executor;
use sqlx::postgres::{PgPool, PgPoolOptions};

use super::*;

const KEY: [u8; 32] = [7; 32];

fn tenant(nth: u128) -> Id<Tenant> {
    Id::from_uuid(Uuid::from_u128(nth))
}

fn id(nth: u128) -> Uuid {
    Uuid::from_u128(0x100 + nth)
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_is_put_is_got(pool: PgPool) {
    let vault = Vault::new(pool, KEY);
    for (nth, text) in ["hunter2", "", "schlüssel 🔑\n"].into_iter().enumerate() {
        let kept = vault.put(tenant(1), id(nth as u128), &secret(text)).await.unwrap();
        assert_eq!(vault.get(tenant(1), &kept).await.unwrap().expose_secret(), text);
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn doing_it_twice_is_doing_it_once(pool: PgPool) {
    let vault = Vault::new(pool, KEY);
    let first = vault.put(tenant(1), id(1), &secret("hunter2")).await.unwrap();
    let again = vault.put(tenant(1), id(1), &secret("hunter2")).await.unwrap();
    assert_eq!(first, again);
    let other = vault.put(tenant(1), id(1), &secret("hunter3")).await;
    assert!(matches!(other, Err(VaultError::Taken)), "{other:?}");
    assert_eq!(vault.get(tenant(1), &first).await.unwrap().expose_secret(), "hunter2");
}

#[sqlx::test(migrations = "../../migrations")]
async fn two_first_secrets_at_once_get_one_key(pool: PgPool) {
    let vault = Vault::new(pool, KEY);
    let (one, two) = (secret("one"), secret("two"));
    let (a, b) = tokio::join!(vault.put(tenant(1), id(1), &one), vault.put(tenant(1), id(2), &two));
    assert_eq!(vault.get(tenant(1), &a.unwrap()).await.unwrap().expose_secret(), "one");
    assert_eq!(vault.get(tenant(1), &b.unwrap()).await.unwrap().expose_secret(), "two");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_fingerprint_tells_secrets_of_one_tenant_apart_and_nothing_else(pool: PgPool) {
    let vault = Vault::new(pool, KEY);
    let mut prints = Vec::new();
    for (of, nth, text) in [(1, 1, "a"), (1, 2, "a"), (1, 3, "b"), (2, 1, "a")] {
        let kept = vault.put(tenant(of), id(nth), &secret(text)).await.unwrap();
        assert_eq!(kept.fingerprint.len(), 16);
        prints.push(kept.fingerprint);
    }
    assert_eq!(prints[0], prints[1], "the same secret");
    assert_ne!(prints[0], prints[2], "another secret");
    assert_ne!(prints[0], prints[3], "another tenant");
}

#[sqlx::test(migrations = "../../migrations")]
async fn another_tenants_secret_is_like_none(pool: PgPool) {
    let vault = Vault::new(pool, KEY);
    let kept = vault.put(tenant(1), id(1), &secret("hunter2")).await.unwrap();
    let unknown = SecretRef { id: id(9), ..kept.clone() };
    for (of, wanted) in [(1, &unknown), (2, &kept), (2, &unknown)] {
        let answer = vault.get(tenant(of), wanted).await;
        assert!(matches!(answer, Err(VaultError::Missing)), "{answer:?}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_database_holds_no_secret_in_the_clear(pool: PgPool) {
    let vault = Vault::new(pool.clone(), KEY);
    vault.put(tenant(1), id(1), &secret("hunter2-hunter2")).await.unwrap();
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT sealed FROM ops.vault_secret UNION ALL SELECT sealed FROM ops.vault_key",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(!row.windows(7).any(|part| part == b"hunter2"));
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn rows_that_change_places_or_bytes_do_not_open(pool: PgPool) {
    let vault = Vault::new(pool.clone(), KEY);
    let one = vault.put(tenant(1), id(1), &secret("one")).await.unwrap();
    let two = vault.put(tenant(1), id(2), &secret("one")).await.unwrap();
    let moved = "UPDATE ops.vault_secret a SET sealed = b.sealed FROM ops.vault_secret b
                 WHERE a.id <> b.id AND a.id = $1";
    sqlx::query(moved).bind(one.id).execute(&pool).await.unwrap();
    assert!(matches!(vault.get(tenant(1), &one).await, Err(VaultError::Corrupt)));

    let changed = "UPDATE ops.vault_secret SET sealed = set_byte(sealed, 13, 0 + (get_byte(sealed, 13) + 1) % 256)
                   WHERE id = $1";
    sqlx::query(changed).bind(two.id).execute(&pool).await.unwrap();
    assert!(matches!(vault.get(tenant(1), &two).await, Err(VaultError::Corrupt)));
}

#[sqlx::test(migrations = "../../migrations")]
async fn another_master_key_is_noticed_at_start_and_opens_nothing(pool: PgPool) {
    let vault = Vault::new(pool.clone(), KEY);
    vault.verify().await.unwrap();
    vault.verify().await.unwrap();
    let kept = vault.put(tenant(1), id(1), &secret("hunter2")).await.unwrap();
    let stranger = Vault::new(pool, [8; 32]);
    let error = stranger.verify().await.unwrap_err();
    assert!(matches!(error, VaultError::WrongMasterKey));
    assert!(error.to_string().contains("the former key"), "{error}");
    assert!(matches!(stranger.get(tenant(1), &kept).await, Err(VaultError::Corrupt)));
    vault.verify().await.unwrap();
}

#[sqlx::test(migrations = "../../migrations")]
async fn commands_and_workers_may_use_the_vault_and_queries_may_not(pool: PgPool) {
    let options = (*pool.connect_options()).clone();
    for (role, allowed) in
        [("everstep_command", true), ("everstep_worker", true), ("everstep_query", false)]
    {
        let become_role = format!("SET ROLE {role}");
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .after_connect(move |connection, _| {
                let become_role = sqlx::AssertSqlSafe(become_role.clone());
                Box::pin(async move { connection.execute(become_role).await.map(|_| ()) })
            })
            .connect_with(options.clone())
            .await
            .unwrap();
        let vault = Vault::new(pool.clone(), KEY);
        assert_eq!(vault.verify().await.is_ok(), allowed, "{role}");
        let put = vault.put(tenant(1), id(1), &secret("hunter2")).await;
        assert_eq!(put.is_ok(), allowed, "{role}: {put:?}");
        pool.close().await;
    }
}

#[tokio::test]
async fn the_master_key_stays_out_of_debug() {
    let pool = PgPoolOptions::new().connect_lazy("postgres://nobody@localhost/none").unwrap();
    assert_eq!(format!("{:?}", Vault::new(pool, KEY)), "Vault { .. }");
}
