-- Old partitions of the log as files: what has left the tables, and where it is.

SET LOCAL lock_timeout = '10s';

-- Events up to here are in files. It is raised before they leave the table: whoever misses them
-- there finds it raised.
ALTER TABLE es.log ADD COLUMN floor bigint NOT NULL DEFAULT 0 CHECK (floor >= 0);

CREATE TABLE es.archive (
    first_position bigint NOT NULL,
    last_position bigint NOT NULL CHECK (last_position >= first_position),
    bytes bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    log_id smallint NOT NULL,
    path text NOT NULL,
    PRIMARY KEY (log_id, first_position)
);
COMMENT ON COLUMN es.archive.path IS 'of the file, on every machine that reads the log';
GRANT SELECT ON es.archive TO everstep_command, everstep_worker;

-- As before, but begins where some log ends: what was archived is not made again.
CREATE OR REPLACE FUNCTION es.make_partitions(p_upto bigint) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    width CONSTANT bigint := 20000000;
    begin_at bigint;
    nth bigint;
    name text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('es.make_partitions'));
    SELECT min(l.position) INTO begin_at FROM es.log l;
    FOR nth IN (begin_at / width) .. ((p_upto - 1) / width) LOOP
        name := format('event_%s', lpad(nth::text, greatest(4, length(nth::text)), '0'));
        CONTINUE WHEN to_regclass(format('es.%I', name)) IS NOT NULL;
        EXECUTE format('CREATE TABLE es.%I (LIKE es.event INCLUDING DEFAULTS INCLUDING COMMENTS)', name);
        -- Autovacuum would analyse by share of the table: ever more rarely, on ever newer data.
        EXECUTE format(
            'ALTER TABLE es.%I SET (autovacuum_analyze_scale_factor = 0,
                autovacuum_analyze_threshold = 50000)', name);
        EXECUTE format(
            'CREATE UNIQUE INDEX ON es.%I (log_id, stream, version, category, tenant)', name);
        EXECUTE format(
            'CREATE TRIGGER never_emptied BEFORE TRUNCATE ON es.%I
                FOR EACH STATEMENT EXECUTE FUNCTION es.refuse()', name);
        EXECUTE format(
            'ALTER TABLE es.event ATTACH PARTITION es.%I FOR VALUES FROM (%s) TO (%s)',
            name, nth * width + 1, (nth + 1) * width + 1);
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;
