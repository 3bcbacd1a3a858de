-- The versions of streams. As in es.append, rows are dear to the planner: a plan that is made while
-- there are few streams must not be one that looks through all of them.

SET LOCAL lock_timeout = '10s';

CREATE FUNCTION es.versions(p_log smallint, p_ids uuid[])
    RETURNS TABLE (tenant uuid, category text, id uuid, version bigint)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET cpu_tuple_cost = 1000 AS $$
BEGIN
    RETURN QUERY SELECT s.tenant, s.category, s.id, s.version
        FROM es.stream s WHERE s.log_id = p_log AND s.id = ANY (p_ids);
END $$;
REVOKE ALL ON FUNCTION es.versions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION es.versions TO everstep_command, everstep_worker;
