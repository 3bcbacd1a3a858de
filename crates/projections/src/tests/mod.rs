//! Views on a real Postgres.
