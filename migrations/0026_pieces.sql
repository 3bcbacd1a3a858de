-- Pieces of streams: what comes after a version, up to another. A plan is kept, and the partition grows
-- for which it was made; so nothing is left to choose. Each piece is sought by itself (OFFSET is what
-- keeps the planner from joining, and so from looking through a partition that it believes to be small), in
-- the order of versions without sorting, which only the index of streams gives; and rows are dear, as in
-- es.append. Partitions in which a stream has nothing are not looked at.

SET LOCAL lock_timeout = '10s';

CREATE FUNCTION es.pieces(p_log smallint, p_streams uuid[], p_categories text[], p_tenants uuid[],
        p_after bigint[], p_upto bigint[])
    RETURNS TABLE ("position" bigint, version bigint, at timestamptz, schema integer, tenant uuid,
        stream uuid, id uuid, correlation uuid, causation uuid, category text, name text, actor text,
        traceparent text, salt bytea, body bytea, recorded_at timestamptz, nth bigint)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET cpu_tuple_cost = 1000
    SET enable_sort = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT e."position", e.version, e.at, e.schema, e.tenant, e.stream, e.id, e.correlation,
            e.causation, e.category, e.name, e.actor, e.traceparent, e.salt, e.body, e.recorded_at,
            u.nth
        FROM unnest(p_streams, p_categories, p_tenants, p_after, p_upto)
            WITH ORDINALITY AS u (stream, category, tenant, after, upto, nth)
        CROSS JOIN LATERAL (
            SELECT s.first_position, s.last_position FROM es.stream AS s
            WHERE s.log_id = p_log AND s.id = u.stream AND s.category = u.category
                AND s.tenant = u.tenant
            OFFSET 0
        ) AS s
        CROSS JOIN LATERAL (
            SELECT * FROM es.event AS e
            WHERE e.log_id = p_log AND e.stream = u.stream AND e.category = u.category
                AND e.tenant = u.tenant AND e.version > u.after AND e.version <= u.upto
                AND e."position" >= s.first_position AND e."position" <= s.last_position
            ORDER BY e.version OFFSET 0
        ) AS e;
END $$;
COMMENT ON FUNCTION es.pieces IS 'each piece has the number nth, from 1; its events are in order';
REVOKE ALL ON FUNCTION es.pieces FROM PUBLIC;
GRANT EXECUTE ON FUNCTION es.pieces TO everstep_command, everstep_worker;
