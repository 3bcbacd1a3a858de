-- Whoever runs the platform owns nothing of it: they take its roles, and look up which migrations are
-- there.
GRANT SELECT ON _sqlx_migrations TO PUBLIC;
