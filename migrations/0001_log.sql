-- The log, and the roles and schemas that everything else stands on.
--
-- A log (log_id) is the unit of order and of scale: its id leads every key, every statement on these
-- tables has it as a constant, and verdicts are reached in memory, so that the tables can be
-- distributed by log_id.

SET LOCAL lock_timeout = '10s';

-- Roles belong to the cluster, and other databases of it may be migrated at this very moment.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['everstep_command', 'everstep_query', 'everstep_worker'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
        -- Whoever migrates must be able to act as any of them; a superuser is.
        IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
            BEGIN
                EXECUTE format('GRANT %I TO CURRENT_USER', role);
            EXCEPTION WHEN unique_violation OR insufficient_privilege THEN
                NULL;
            END;
        END IF;
    END LOOP;
END $$;

CREATE SCHEMA es;
CREATE SCHEMA rm;
CREATE SCHEMA ops;

GRANT USAGE ON SCHEMA es, ops TO everstep_command, everstep_worker;
GRANT USAGE ON SCHEMA rm TO everstep_query, everstep_worker;

-- What later migrations make in these schemas is theirs as well. Grants on the log are given one by
-- one, below.
ALTER DEFAULT PRIVILEGES IN SCHEMA rm GRANT SELECT ON TABLES TO everstep_query;
ALTER DEFAULT PRIVILEGES IN SCHEMA rm
    GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO everstep_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA rm GRANT USAGE ON SEQUENCES TO everstep_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA ops
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO everstep_command, everstep_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA ops GRANT USAGE ON SEQUENCES TO everstep_command, everstep_worker;

-- How far each log has come. Holding its row until commit is what makes positions gapless and
-- equal to the order of commits.
CREATE TABLE es.log (
    log_id smallint PRIMARY KEY,
    position bigint NOT NULL DEFAULT 0 CHECK (position >= 0)
) WITH (fillfactor = 10);

INSERT INTO es.log (log_id) VALUES (1);

-- The authority for versions: partitions of es.event cannot vouch for each other.
-- The id comes before the tenant in the key because a webhook knows only the former.
CREATE TABLE es.stream (
    log_id smallint NOT NULL,
    id uuid NOT NULL,
    category text NOT NULL,
    tenant uuid NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    first_position bigint NOT NULL,
    last_position bigint NOT NULL,
    PRIMARY KEY (log_id, id, category, tenant)
) WITH (fillfactor = 70);

-- Columns of fixed width come first, so that no row is padded.
CREATE TABLE es.event (
    position bigint NOT NULL,
    version bigint NOT NULL,
    at timestamptz NOT NULL,
    schema integer NOT NULL,
    log_id smallint NOT NULL,
    tenant uuid NOT NULL,
    stream uuid NOT NULL,
    id uuid NOT NULL,
    correlation uuid NOT NULL,
    causation uuid NOT NULL,
    category text NOT NULL,
    name text NOT NULL,
    actor text NOT NULL,
    traceparent text,
    body bytea NOT NULL,
    PRIMARY KEY (log_id, position)
) PARTITION BY RANGE (position);

COMMENT ON COLUMN es.event.at IS 'when it was decided';
COMMENT ON COLUMN es.event.schema IS 'schema version of the body';
COMMENT ON COLUMN es.event.actor IS 'who, as canonical JSON';
COMMENT ON COLUMN es.event.body IS 'the event''s own fields, as canonical JSON';

-- Answers to commands, kept for whoever sends the same command again.
CREATE TABLE es.command_key (
    position bigint NOT NULL,
    version bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    status integer NOT NULL,
    log_id smallint NOT NULL,
    tenant uuid NOT NULL,
    principal uuid NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    location text,
    body bytea NOT NULL,
    PRIMARY KEY (log_id, tenant, principal, key)
);

-- Events are never changed, not even by the owner of the table.
CREATE FUNCTION es.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege', HINT = 'Append an event that sets it right.';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON es.event
    FOR EACH ROW EXECUTE FUNCTION es.refuse();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON es.event
    FOR EACH STATEMENT EXECUTE FUNCTION es.refuse();

-- Makes partitions of 20 million positions until every position up to p_upto has one; tells how many
-- it made. A partition is built apart and then attached, so that nobody waits for it.
CREATE FUNCTION es.make_partitions(p_upto bigint) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    width CONSTANT bigint := 20000000;
    nth bigint;
    name text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('es.make_partitions'));
    FOR nth IN 0 .. ((p_upto - 1) / width) LOOP
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

SELECT es.make_partitions(80000000);

-- One append: all of it or nothing, in one call and one transaction.
--
-- Each statement takes a new snapshot (READ COMMITTED, VOLATILE), so what is read after the lock is
-- current. The statements on tables are few and plain; verdicts and positions are worked out in memory.
--
-- s_*: the streams; s_expected is the version, -1 for "exists", -2 for "any".
-- e_*: the events of all streams; e_s is the number of an event's stream, e_place its number there.
-- m_*: metadata of them all. k_*: the answer to keep, if k_key is given.
--
-- verdict: 'appended' after position head, 'conflict', 'repeated' if events of a stream without a
-- certain expected version are there already, or 'answered' if the key was used. versions: of the
-- streams, before the append.
CREATE FUNCTION es.append(
    p_log smallint, p_tenant uuid,
    s_category text[], s_id uuid[], s_expected bigint[],
    e_s integer[], e_place integer[], e_id uuid[], e_name text[], e_schema integer[], e_body bytea[],
    m_actor text, m_correlation uuid, m_causation uuid, m_traceparent text, m_at timestamptz,
    k_principal uuid, k_key text, k_fingerprint bytea,
    k_status integer, k_location text, k_body bytea,
    OUT verdict text, OUT head bigint, OUT versions bigint[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    k_ids uuid[];
    k_categories text[];
    k_versions bigint[];
    total CONSTANT bigint := cardinality(e_id);
BEGIN
    SELECT l.position INTO STRICT head FROM es.log l WHERE l.log_id = p_log FOR UPDATE;

    SELECT array_agg(s.id), array_agg(s.category), array_agg(s.version)
        INTO k_ids, k_categories, k_versions
        FROM es.stream s
        WHERE s.log_id = p_log AND s.tenant = p_tenant AND s.id = ANY (s_id);
    SELECT array_agg(coalesce(k.version, 0) ORDER BY u.nth) INTO versions
        FROM unnest(s_category, s_id) WITH ORDINALITY u (category, id, nth)
        LEFT JOIN unnest(k_categories, k_ids, k_versions) k (category, id, version)
            ON k.category = u.category AND k.id = u.id;

    IF k_key IS NOT NULL THEN
        PERFORM FROM es.command_key k
            WHERE k.log_id = p_log AND k.tenant = p_tenant
                AND k.principal = k_principal AND k.key = k_key;
        IF FOUND THEN
            verdict := 'answered';
            RETURN;
        END IF;
    END IF;

    verdict := 'appended';
    PERFORM FROM unnest(s_expected, versions) u (expected, version)
        WHERE CASE expected
            WHEN -2 THEN false
            WHEN -1 THEN version = 0
            ELSE version <> expected
        END;
    IF FOUND THEN
        verdict := 'conflict';
        RETURN;
    END IF;

    -- Only a certain expected version tells by itself whether the events are new.
    PERFORM FROM unnest(s_expected, versions) u (expected, version)
        WHERE expected < 0 AND version > 0;
    IF FOUND THEN
        PERFORM FROM es.event e
            WHERE e.log_id = p_log AND e.tenant = p_tenant
                AND e.stream = ANY (ARRAY(
                    SELECT u.id FROM unnest(s_id, s_expected) u (id, expected) WHERE u.expected < 0))
                AND e.id = ANY (e_id);
        IF FOUND THEN
            verdict := 'repeated';
            RETURN;
        END IF;
    END IF;

    IF total > 0 THEN
        INSERT INTO es.event (position, version, at, schema, log_id, tenant, stream, id,
                correlation, causation, category, name, actor, traceparent, body)
            SELECT head + u.nth, versions[u.s] + u.place, m_at, u.schema, p_log, p_tenant,
                s_id[u.s], u.id, m_correlation, m_causation, s_category[u.s], u.name, m_actor,
                m_traceparent, u.body
            FROM unnest(e_s, e_place, e_id, e_name, e_schema, e_body)
                WITH ORDINALITY u (s, place, id, name, schema, body, nth);
        INSERT INTO es.stream AS s
                (log_id, id, category, tenant, version, first_position, last_position)
            SELECT p_log, s_id[u.s], s_category[u.s], p_tenant,
                versions[u.s] + count(*), head + min(u.nth), head + max(u.nth)
            FROM unnest(e_s) WITH ORDINALITY u (s, nth)
            GROUP BY u.s
            ON CONFLICT (log_id, id, category, tenant) DO UPDATE
                SET version = EXCLUDED.version, last_position = EXCLUDED.last_position;
        UPDATE es.log SET position = head + total WHERE log_id = p_log;
    END IF;

    IF k_key IS NOT NULL THEN
        INSERT INTO es.command_key (position, version, status, log_id, tenant, principal, key,
                fingerprint, location, body)
            VALUES (head + total,
                coalesce(versions[1] + cardinality(array_positions(e_s, 1)), 0),
                k_status, p_log, p_tenant, k_principal, k_key, k_fingerprint, k_location, k_body);
    END IF;
END $$;

-- The log for people with a SQL prompt. jsonb knows no NUL: it shows as U+FFFD.
CREATE VIEW es.event_json AS
    SELECT log_id, position, tenant, category, stream, version, id, name, schema, at,
        actor::jsonb AS actor, correlation, causation, traceparent,
        CASE
            WHEN body.text LIKE '%\\u0000%'
                THEN regexp_replace(body.text, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')
            ELSE body.text
        END::jsonb AS body
    FROM es.event, LATERAL (SELECT convert_from(event.body, 'UTF8')) AS body (text);

-- Roles write to the log through es.append alone: they cannot forge a position or a version.
REVOKE ALL ON FUNCTION es.append, es.make_partitions, es.refuse FROM PUBLIC;
GRANT EXECUTE ON FUNCTION es.append TO everstep_command, everstep_worker;
GRANT EXECUTE ON FUNCTION es.make_partitions TO everstep_worker;
GRANT SELECT ON es.log, es.stream, es.event, es.command_key, es.event_json
    TO everstep_command, everstep_worker;
