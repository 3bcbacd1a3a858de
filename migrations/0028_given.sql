-- What was decided on other streams is only stored if they still are as they were then.

SET LOCAL lock_timeout = '10s';

-- One append to one stream whose version is known: what somebody who is alone mostly does, in a few
-- statements. It either is good and stored, or nothing happens and head is null: why
-- is for es.append to say.
--
-- k_*: the answer to keep, or all null. s_lease, s_slice, s_epoch: on behalf of which slice and since
-- when, or all null. g_*: other streams and the versions that they must have, all of which exist; g_id
-- names none twice.
CREATE FUNCTION es.append_one(
    p_log smallint, s_tenant uuid, s_category text, s_id uuid, s_expected bigint, s_actor text,
    s_correlation uuid, s_causation uuid, s_traceparent text, s_at timestamptz,
    e_id uuid[], e_name text[], e_schema integer[], e_salt bytea[], e_body bytea[],
    k_id uuid, k_principal uuid, k_key text, k_fingerprint bytea, k_status integer,
    k_location text, k_body bytea,
    s_lease text, s_slice smallint, s_epoch bigint,
    g_tenant uuid[], g_category text[], g_id uuid[], g_version bigint[],
    OUT head bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET cpu_tuple_cost = 1000 AS $$
DECLARE
    n CONSTANT integer := cardinality(e_id);
    recorded timestamptz;
    is_good boolean := true;
    met bigint;
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
    IF is_good AND cardinality(g_id) > 0 THEN
        SELECT count(*) INTO met FROM es.stream s
            WHERE s.log_id = p_log AND s.id = ANY (g_id)
                AND s.tenant = g_tenant[array_position(g_id, s.id)]
                AND s.category = g_category[array_position(g_id, s.id)]
                AND s.version = g_version[array_position(g_id, s.id)];
        is_good := met = cardinality(g_id);
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

-- The release before decides on no other streams.
CREATE OR REPLACE FUNCTION es.append_one(
    p_log smallint, s_tenant uuid, s_category text, s_id uuid, s_expected bigint, s_actor text,
    s_correlation uuid, s_causation uuid, s_traceparent text, s_at timestamptz,
    e_id uuid[], e_name text[], e_schema integer[], e_salt bytea[], e_body bytea[],
    k_id uuid, k_principal uuid, k_key text, k_fingerprint bytea, k_status integer,
    k_location text, k_body bytea,
    s_lease text, s_slice smallint, s_epoch bigint,
    OUT head bigint)
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
    SELECT es.append_one($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
        $17, $18, $19, $20, $21, $22, $23, $24, $25, '{}', '{}', '{}', '{}')
$$;

DO $$
DECLARE
    made regprocedure;
BEGIN
    FOR made IN
        SELECT p.oid FROM pg_proc p
            WHERE p.pronamespace = 'es'::regnamespace AND p.proname = 'append_one'
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', made);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO everstep_command, everstep_worker', made);
    END LOOP;
END $$;
