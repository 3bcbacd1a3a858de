-- How fast views move, and how far behind the log they are.

SET LOCAL lock_timeout = '10s';

ALTER TABLE rm.projection ADD COLUMN rate double precision NOT NULL DEFAULT 0;
COMMENT ON COLUMN rm.projection.rate IS 'events a second when it last moved, the last ten seconds weighing most';

-- A rate after so many more events in so much time: an average in which what is older than ten
-- seconds fades.
CREATE FUNCTION rm.smoothed(p_rate double precision, p_events bigint, p_elapsed interval)
    RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_elapsed <= interval '0' OR p_events < 0 THEN p_rate ELSE
        p_rate * exp(-extract(epoch FROM p_elapsed) / 10)
            + p_events / extract(epoch FROM p_elapsed)
                * (1 - exp(-extract(epoch FROM p_elapsed) / 10))
    END::double precision
$$;

-- Where each view is, where the log is, and when the first event was decided that the view has not
-- taken in. Tells whoever may not see the log nothing but these figures.
CREATE FUNCTION rm.lag()
    RETURNS TABLE (name text, state text, "position" bigint, head bigint, behind_since timestamptz,
        rate double precision, updated_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.name, p.state, p.position, l.position,
        (SELECT e.at FROM es.event e WHERE e.log_id = 1 AND e.position = p.position + 1),
        rm.smoothed(p.rate, 0, now() - p.updated_at), p.updated_at
    FROM rm.projection p
    CROSS JOIN (SELECT position FROM es.log WHERE log_id = 1) l
    ORDER BY p.name
$$;
REVOKE ALL ON FUNCTION rm.lag, rm.smoothed FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rm.lag, rm.smoothed TO everstep_query, everstep_worker;
