-- Whoever works on a slice appends under its epoch, and whoever lost the slice cannot append any more.

SET LOCAL lock_timeout = '10s';

-- Epochs of all slices come from one counter: an epoch names one time for which one worker had one
-- slice.
CREATE SEQUENCE ops.epoch;
SELECT setval('ops.epoch', (SELECT max(fence) + 1 FROM ops.slice));

-- The newest epoch of each slice, where the log is: what is appended under another is refused.
CREATE TABLE es.fence (
    epoch bigint NOT NULL,
    log_id smallint NOT NULL REFERENCES es.log,
    slice smallint NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (log_id, name, slice)
) WITH (fillfactor = 50);
COMMENT ON COLUMN es.fence.name IS 'what is divided, as in ops.slice';

-- All epochs that there were, and after which position each of them began: for whoever checks that
-- nothing was appended under an old one.
CREATE TABLE es.fenced (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    epoch bigint NOT NULL,
    position bigint NOT NULL,
    log_id smallint NOT NULL REFERENCES es.log,
    slice smallint NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (log_id, epoch)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON es.fenced
    FOR EACH ROW EXECUTE FUNCTION es.refuse();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON es.fenced
    FOR EACH STATEMENT EXECUTE FUNCTION es.refuse();

ALTER TABLE es.event ADD COLUMN epoch bigint;
COMMENT ON COLUMN es.event.epoch IS 'under which it was appended, if on behalf of a slice; not hashed';

-- From now on the slices are appended for under these epochs and no older ones. Appends hold the row
-- of the log: one that judged an old epoch good is committed before this, and all others see it.
CREATE FUNCTION es.raise_fences(p_log smallint, p_name text, p_slices smallint[], p_epochs bigint[])
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    head bigint;
BEGIN
    SELECT l.position INTO STRICT head FROM es.log l WHERE l.log_id = p_log FOR UPDATE;
    INSERT INTO es.fence AS f (epoch, log_id, slice, name)
        SELECT u.epoch, p_log, u.slice, p_name FROM unnest(p_slices, p_epochs) u (slice, epoch)
        ON CONFLICT (log_id, name, slice) DO UPDATE
            SET epoch = EXCLUDED.epoch WHERE f.epoch < EXCLUDED.epoch;
    INSERT INTO es.fenced (epoch, position, log_id, slice, name)
        SELECT u.epoch, head, p_log, u.slice, p_name FROM unnest(p_slices, p_epochs) u (slice, epoch)
        ON CONFLICT (log_id, epoch) DO NOTHING;
END $$;
REVOKE ALL ON FUNCTION es.raise_fences FROM PUBLIC;
GRANT EXECUTE ON FUNCTION es.raise_fences TO everstep_command, everstep_worker;

-- The lock that a member has for as long as it lives; none if it has none. Whoever can have it knows
-- that the member is dead.
ALTER TABLE ops.member ADD COLUMN presence bigint;

-- Some appends, each all or nothing, in one call and one transaction. Whoever calls names no stream
-- and no key twice in one call.
--
-- Each statement takes a new snapshot (READ COMMITTED, VOLATILE), so what is read after the lock is
-- current. Each names one table and the log as a constant, so that a distributed database can send
-- it where the log is; verdicts and positions are worked out in memory.
--
-- a_upto: for each append, how many events there are up to and with it. a_lease, a_slice, a_epoch: on
-- behalf of which slice and since when, or null.
-- s_*: streams, with what all their events have in common; s_append is the number of the append,
-- s_expected the version, -1 for "exists", -2 for "any"; s_count is how many events the stream gets,
-- s_before how many of the call stand before the first of them.
-- e_*: the events; e_stream is the number of the stream, e_place the number of the event there.
-- k_*: answers to keep; k_stream is the first stream of the append, or null.
--
-- Plans are made once and kept. Rows are dear to the planner here (cpu_tuple_cost), so that it never
-- looks through a table that happens to be small when it plans and is large soon after.
--
-- verdicts, one an append: 0 appended, 1 refused because a stream is not as expected or has some of
-- the events already, 2 refused because the key was used, 3 refused because the slice is somebody
-- else's by now. head: the position before the call.
-- versions: of the streams before the call.
CREATE FUNCTION es.append(
    p_log smallint, a_upto integer[],
    s_append integer[], s_tenant uuid[], s_category text[], s_id uuid[], s_expected bigint[],
    s_count integer[], s_before integer[], s_actor text[], s_correlation uuid[],
    s_causation uuid[], s_traceparent text[], s_at timestamptz[],
    e_stream integer[], e_place integer[], e_id uuid[], e_name text[], e_schema integer[],
    e_salt bytea[], e_body bytea[],
    k_append integer[], k_stream integer[], k_id uuid[], k_tenant uuid[], k_principal uuid[],
    k_key text[], k_fingerprint bytea[], k_status integer[], k_location text[], k_body bytea[],
    a_lease text[], a_slice smallint[], a_epoch bigint[],
    OUT head bigint, OUT verdicts smallint[], OUT versions bigint[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET cpu_tuple_cost = 1000 AS $$
DECLARE
    f_ids uuid[];
    f_categories text[];
    f_tenants uuid[];
    f_versions bigint[];
    f_streams uuid[];
    f_leases text[];
    f_slices smallint[];
    f_epochs bigint[];
    doubtful uuid[];
    refused integer[];
    skipped integer[];
    nth integer;
    any_refused boolean := false;
    recorded timestamptz;
BEGIN
    verdicts := array_fill(0::smallint, ARRAY[cardinality(a_upto)]);
    SELECT l.position, l.recorded_at INTO STRICT head, recorded
        FROM es.log l WHERE l.log_id = p_log FOR UPDATE;
    recorded := greatest(recorded, clock_timestamp());

    SELECT array_agg(s.id), array_agg(s.category), array_agg(s.tenant), array_agg(s.version)
        INTO f_ids, f_categories, f_tenants, f_versions
        FROM es.stream s WHERE s.log_id = p_log AND s.id = ANY (s_id);
    IF f_ids IS NULL THEN
        versions := array_fill(0::bigint, ARRAY[cardinality(s_id)]);
    ELSE
        SELECT array_agg(coalesce(f.version, 0) ORDER BY u.nth) INTO versions
            FROM unnest(s_tenant, s_category, s_id) WITH ORDINALITY u (tenant, category, id, nth)
            LEFT JOIN unnest(f_tenants, f_categories, f_ids, f_versions)
                    f (tenant, category, id, version)
                ON f.id = u.id AND f.category = u.category AND f.tenant = u.tenant;
    END IF;

    -- Only a certain expected version tells by itself whether the events are new.
    SELECT array_agg(u.append) FILTER (WHERE CASE u.expected
                WHEN -2 THEN false
                WHEN -1 THEN u.version = 0
                ELSE u.version <> u.expected
            END),
            array_agg(u.id) FILTER (WHERE u.expected < 0 AND u.version > 0)
        INTO refused, doubtful
        FROM unnest(s_append, s_id, s_expected, versions) u (append, id, expected, version);
    IF doubtful IS NOT NULL THEN
        SELECT array_agg(e.id), array_agg(e.stream), array_agg(e.category), array_agg(e.tenant)
            INTO f_ids, f_streams, f_categories, f_tenants
            FROM es.event e
            WHERE e.log_id = p_log AND e.stream = ANY (doubtful) AND e.id = ANY (e_id);
        SELECT refused || array_agg(s_append[u.s]) INTO refused
            FROM unnest(e_stream, e_id) u (s, id)
            JOIN unnest(f_ids, f_streams, f_categories, f_tenants) f (id, stream, category, tenant)
                ON f.id = u.id AND f.stream = s_id[u.s] AND f.category = s_category[u.s]
                    AND f.tenant = s_tenant[u.s]
            WHERE s_expected[u.s] < 0;
    END IF;
    IF refused IS NOT NULL THEN
        FOREACH nth IN ARRAY refused LOOP
            verdicts[nth] := 1;
        END LOOP;
        any_refused := true;
    END IF;

    IF cardinality(k_id) > 0 THEN
        SELECT array_agg(k.id) INTO f_ids
            FROM es.command_key k WHERE k.log_id = p_log AND k.id = ANY (k_id);
        IF f_ids IS NOT NULL THEN
            FOR nth IN
                SELECT u.append FROM unnest(k_append, k_id) u (append, id) WHERE u.id = ANY (f_ids)
            LOOP
                verdicts[nth] := 2;
            END LOOP;
            any_refused := true;
        END IF;
    END IF;

    -- After the lock, which whoever takes a slice over must have had: what comes later is refused.
    IF EXISTS (SELECT FROM unnest(a_epoch) u (epoch) WHERE u.epoch IS NOT NULL) THEN
        SELECT array_agg(f.name), array_agg(f.slice), array_agg(f.epoch)
            INTO f_leases, f_slices, f_epochs
            FROM es.fence f
            WHERE f.log_id = p_log AND f.name = ANY (a_lease) AND f.slice = ANY (a_slice);
        FOR nth IN
            SELECT u.append
                FROM unnest(a_lease, a_slice, a_epoch) WITH ORDINALITY
                    u (name, slice, epoch, append)
                LEFT JOIN unnest(f_leases, f_slices, f_epochs) f (name, slice, epoch)
                    ON f.name = u.name AND f.slice = u.slice
                WHERE u.epoch IS NOT NULL AND u.epoch IS DISTINCT FROM f.epoch
        LOOP
            verdicts[nth] := 3;
            any_refused := true;
        END LOOP;
    END IF;

    IF any_refused AND 0 <> ALL (verdicts) THEN
        RETURN;
    END IF;
    -- How many events of refused appends stand before those of each append.
    IF any_refused THEN
        SELECT array_agg(z.skipped ORDER BY z.nth) INTO skipped FROM (
            SELECT u.nth, sum(CASE WHEN verdicts[u.nth] = 0 THEN 0
                    ELSE u.upto - coalesce(a_upto[u.nth - 1], 0) END)
                OVER (ORDER BY u.nth) AS skipped
            FROM unnest(a_upto) WITH ORDINALITY u (upto, nth)) z;
    ELSE
        skipped := array_fill(0, ARRAY[cardinality(a_upto)]);
    END IF;

    INSERT INTO es.event (position, version, at, schema, log_id, tenant, stream, id,
            correlation, causation, category, name, actor, traceparent, salt, body, recorded_at, epoch)
        SELECT head + u.nth - skipped[s.append], versions[u.s] + u.place, s.at, u.schema, p_log,
            s.tenant, s.id, u.id, s.correlation, s.causation, s.category, u.name, s.actor,
            s.traceparent, u.salt, u.body, recorded, a_epoch[s.append]
        FROM unnest(e_stream, e_place, e_id, e_name, e_schema, e_salt, e_body)
            WITH ORDINALITY u (s, place, id, name, schema, salt, body, nth)
        JOIN unnest(s_append, s_tenant, s_category, s_id, s_actor, s_correlation, s_causation,
                s_traceparent, s_at)
            WITH ORDINALITY s (append, tenant, category, id, actor, correlation, causation,
                traceparent, at, nth) ON s.nth = u.s
        WHERE verdicts[s.append] = 0;
    INSERT INTO es.stream AS s
            (log_id, id, category, tenant, version, first_position, last_position)
        SELECT p_log, u.id, u.category, u.tenant, u.version + u.count,
            head + u.before - skipped[u.append] + 1, head + u.before - skipped[u.append] + u.count
        FROM unnest(s_append, s_tenant, s_category, s_id, s_count, s_before, versions)
            u (append, tenant, category, id, count, before, version)
        WHERE verdicts[u.append] = 0 AND u.count > 0
        ON CONFLICT (log_id, id, category, tenant) DO UPDATE
            SET version = EXCLUDED.version, last_position = EXCLUDED.last_position;
    UPDATE es.log SET position = head + a_upto[cardinality(a_upto)] - skipped[cardinality(a_upto)],
            recorded_at = recorded
        WHERE log_id = p_log;

    IF cardinality(k_id) > 0 THEN
        INSERT INTO es.command_key (position, version, status, log_id, id, tenant, principal, key,
                fingerprint, location, body)
            SELECT head + a_upto[u.append] - skipped[u.append],
                coalesce(versions[u.stream] + s_count[u.stream], 0),
                u.status, p_log, u.id, u.tenant, u.principal, u.key, u.fingerprint,
                u.location, u.body
            FROM unnest(k_append, k_stream, k_id, k_tenant, k_principal, k_key, k_fingerprint,
                k_status, k_location, k_body)
                u (append, stream, id, tenant, principal, key, fingerprint, status, location,
                    body)
            WHERE verdicts[u.append] = 0;
    END IF;
END $$;

-- One append to one stream whose version is known: what somebody who is alone mostly does, in four
-- statements instead of eight. It either is good and stored, or nothing happens and head is null: why
-- is for es.append to say.
--
-- k_*: the answer to keep, or all null. s_lease, s_slice, s_epoch: as above, or all null.
CREATE FUNCTION es.append_one(
    p_log smallint, s_tenant uuid, s_category text, s_id uuid, s_expected bigint, s_actor text,
    s_correlation uuid, s_causation uuid, s_traceparent text, s_at timestamptz,
    e_id uuid[], e_name text[], e_schema integer[], e_salt bytea[], e_body bytea[],
    k_id uuid, k_principal uuid, k_key text, k_fingerprint bytea, k_status integer,
    k_location text, k_body bytea,
    s_lease text, s_slice smallint, s_epoch bigint,
    OUT head bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET cpu_tuple_cost = 1000 AS $$
DECLARE
    n CONSTANT integer := cardinality(e_id);
    recorded timestamptz;
    is_good boolean := true;
BEGIN
    SELECT l.position, l.recorded_at INTO STRICT head, recorded
        FROM es.log l WHERE l.log_id = p_log FOR UPDATE;
    recorded := greatest(recorded, clock_timestamp());
    IF s_epoch IS NOT NULL THEN
        is_good := EXISTS (SELECT FROM es.fence f WHERE f.log_id = p_log AND f.name = s_lease
            AND f.slice = s_slice AND f.epoch = s_epoch);
    END IF;
    IF is_good AND k_id IS NOT NULL THEN
        is_good := NOT EXISTS (SELECT FROM es.command_key k WHERE k.log_id = p_log AND k.id = k_id);
    END IF;
    IF is_good AND s_expected = 0 THEN
        INSERT INTO es.stream (log_id, id, category, tenant, version, first_position, last_position)
            VALUES (p_log, s_id, s_category, s_tenant, n, head + 1, head + n)
            ON CONFLICT (log_id, id, category, tenant) DO NOTHING;
        is_good := FOUND;
    ELSIF is_good THEN
        UPDATE es.stream s SET version = s_expected + n, last_position = head + n
            WHERE s.log_id = p_log AND s.id = s_id AND s.category = s_category
                AND s.tenant = s_tenant AND s.version = s_expected;
        is_good := FOUND;
    END IF;
    IF NOT is_good THEN
        head := NULL;
        RETURN;
    END IF;
    INSERT INTO es.event (position, version, at, schema, log_id, tenant, stream, id,
            correlation, causation, category, name, actor, traceparent, salt, body, recorded_at, epoch)
        SELECT head + u.nth, s_expected + u.nth, s_at, u.schema, p_log, s_tenant, s_id, u.id,
            s_correlation, s_causation, s_category, u.name, s_actor, s_traceparent, u.salt, u.body,
            recorded, s_epoch
        FROM unnest(e_id, e_name, e_schema, e_salt, e_body)
            WITH ORDINALITY u (id, name, schema, salt, body, nth);
    UPDATE es.log SET position = head + n, recorded_at = recorded WHERE log_id = p_log;
    IF k_id IS NOT NULL THEN
        INSERT INTO es.command_key (position, version, status, log_id, id, tenant, principal, key,
                fingerprint, location, body)
            VALUES (head + n, s_expected + n, k_status, p_log, k_id, s_tenant, k_principal, k_key,
                k_fingerprint, k_location, k_body);
    END IF;
END $$;

-- The release before appends on behalf of nobody.
CREATE OR REPLACE FUNCTION es.append(
    p_log smallint, a_upto integer[],
    s_append integer[], s_tenant uuid[], s_category text[], s_id uuid[], s_expected bigint[],
    s_count integer[], s_before integer[], s_actor text[], s_correlation uuid[],
    s_causation uuid[], s_traceparent text[], s_at timestamptz[],
    e_stream integer[], e_place integer[], e_id uuid[], e_name text[], e_schema integer[],
    e_salt bytea[], e_body bytea[],
    k_append integer[], k_stream integer[], k_id uuid[], k_tenant uuid[], k_principal uuid[],
    k_key text[], k_fingerprint bytea[], k_status integer[], k_location text[], k_body bytea[],
    OUT head bigint, OUT verdicts smallint[], OUT versions bigint[])
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM es.append(
            p_log, a_upto, s_append, s_tenant, s_category, s_id, s_expected, s_count,
            s_before, s_actor, s_correlation, s_causation, s_traceparent, s_at, e_stream,
            e_place, e_id, e_name, e_schema, e_salt, e_body, k_append, k_stream, k_id,
            k_tenant, k_principal, k_key, k_fingerprint, k_status, k_location, k_body,
            array_fill(NULL::text, ARRAY[cardinality(a_upto)]),
            array_fill(NULL::smallint, ARRAY[cardinality(a_upto)]),
            array_fill(NULL::bigint, ARRAY[cardinality(a_upto)]));
$$;
CREATE OR REPLACE FUNCTION es.append_one(
    p_log smallint, s_tenant uuid, s_category text, s_id uuid, s_expected bigint, s_actor text,
    s_correlation uuid, s_causation uuid, s_traceparent text, s_at timestamptz,
    e_id uuid[], e_name text[], e_schema integer[], e_salt bytea[], e_body bytea[],
    k_id uuid, k_principal uuid, k_key text, k_fingerprint bytea, k_status integer,
    k_location text, k_body bytea,
    OUT head bigint)
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM es.append_one(
            p_log, s_tenant, s_category, s_id, s_expected, s_actor, s_correlation,
            s_causation, s_traceparent, s_at, e_id, e_name, e_schema, e_salt, e_body, k_id,
            k_principal, k_key, k_fingerprint, k_status, k_location, k_body,
            NULL, NULL, NULL);
$$;

DO $$
DECLARE
    found regprocedure;
BEGIN
    FOR found IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'es'::regnamespace
        AND p.proname IN ('append', 'append_one') LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', found);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO everstep_command, everstep_worker', found);
    END LOOP;
END $$;
