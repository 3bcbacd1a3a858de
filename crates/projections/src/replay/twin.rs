//! Tables of the same form as live ones, in another schema.

use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::storage::{Schema, Table};

/// Makes an empty table like the live one, with its primary key only: other indexes are made when
/// it is full.
pub(super) async fn make(
    db: &mut PgConnection,
    schema: Schema,
    table: &Table,
    is_logged: bool,
) -> sqlx::Result<()> {
    let (live, new, name) = (Schema::Live.name(), schema.name(), table.name);
    let kind = if is_logged { "TABLE" } else { "UNLOGGED TABLE" };
    run(
        db,
        format!("CREATE {kind} {new}.{name} (LIKE {live}.{name} INCLUDING ALL EXCLUDING INDEXES)"),
    )
    .await?;
    let form = "SELECT c.reloptions, k.conname::text, pg_get_constraintdef(k.oid) AS key
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
        WHERE c.oid = format('%I.%I', $1::text, $2::text)::regclass";
    let form = sqlx::query(form).bind(live).bind(name).fetch_one(&mut *db).await?;
    let (key, definition): (String, String) = (form.try_get("conname")?, form.try_get("key")?);
    run(db, format!("ALTER TABLE {new}.{name} ADD CONSTRAINT {key} {definition}")).await?;
    let options: Option<Vec<String>> = form.try_get("reloptions")?;
    if let Some(options) = options {
        run(db, format!("ALTER TABLE {new}.{name} SET ({})", options.join(", "))).await?;
    }
    Ok(())
}

/// Gives a full table the other indexes of the live one, and the planner its figures.
pub(super) async fn finish(
    db: &mut PgConnection,
    schema: Schema,
    table: &Table,
) -> sqlx::Result<()> {
    let (live, new, name) = (Schema::Live.name(), schema.name(), table.name);
    let missing = "SELECT pg_get_indexdef(i.indexrelid)
        FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid = format('%I.%I', $1::text, $2::text)::regclass AND NOT i.indisprimary
            AND to_regclass(format('%I.%I', $3::text, c.relname)) IS NULL
        ORDER BY c.relname";
    let missing: Vec<String> =
        sqlx::query_scalar(missing).bind(live).bind(name).bind(new).fetch_all(&mut *db).await?;
    for definition in missing {
        let there = format!(" ON {new}.{name} ");
        run(db, definition.replacen(&format!(" ON {live}.{name} "), &there, 1)).await?;
    }
    run(db, format!("ANALYZE {new}.{name}")).await
}

/// Puts the tables of `from` in the place of the live ones, and those in the place of the old ones.
/// Whoever reads sees the ones until the commit and the others after it.
pub(super) async fn exchange(
    db: &mut PgConnection,
    from: Schema,
    tables: &[Table],
) -> sqlx::Result<()> {
    let (live, old, new) = (Schema::Live.name(), Schema::Old.name(), from.name());
    // The first one is what every look begins with (see `Reader`); the others are for those who
    // look at one table in one statement.
    let names = std::iter::once("projection").chain(tables.iter().map(|table| table.name));
    let all: Vec<String> = names.map(|name| format!("{live}.{name}")).collect();
    run(db, format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", all.join(", "))).await?;
    run(db, format!("CREATE SCHEMA IF NOT EXISTS {old}")).await?;
    run(db, "CREATE SCHEMA rm_exchange".to_owned()).await?;
    for Table { name, .. } in tables {
        grant_like(db, from, name).await?;
        for step in [
            format!("DROP POLICY readers ON {live}.{name}"),
            format!("DROP POLICY workers ON {live}.{name}"),
            format!(
                "ALTER TABLE {live}.{name}
                     DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY"
            ),
            format!("ALTER TABLE {live}.{name} SET SCHEMA rm_exchange"),
            format!("ALTER TABLE {new}.{name} SET SCHEMA {live}"),
            format!("SELECT rm.protect('{live}.{name}')"),
            format!("DROP TABLE IF EXISTS {old}.{name}"),
            format!("ALTER TABLE rm_exchange.{name} SET SCHEMA {old}"),
        ] {
            run(db, step).await?;
        }
    }
    run(db, "DROP SCHEMA rm_exchange".to_owned()).await
}

/// Gives whoever may use the live table the same rights to its successor.
async fn grant_like(db: &mut PgConnection, from: Schema, name: &str) -> sqlx::Result<()> {
    let rights = "SELECT privilege_type, grantee::regrole::text
        FROM pg_catalog.pg_class, LATERAL aclexplode(relacl)
        WHERE oid = format('%I.%I', $1::text, $2::text)::regclass AND grantee <> 0
        ORDER BY 2, 1";
    let rights: Vec<(String, String)> =
        sqlx::query_as(rights).bind(Schema::Live.name()).bind(name).fetch_all(&mut *db).await?;
    for (right, role) in rights {
        run(db, format!("GRANT {right} ON {}.{name} TO {role}", from.name())).await?;
    }
    Ok(())
}

/// Runs a statement made of names that stand in our own schema.
pub(super) async fn run(db: &mut PgConnection, sql: String) -> sqlx::Result<()> {
    sqlx::query(AssertSqlSafe(sql)).execute(db).await.map(drop)
}
