-- When the events were recorded that the same transaction has just appended after p_head: whoever
-- appends them remembers them as they will be read. To be called right after es.append or
-- es.append_one, in the same statement, which is why it is volatile: it sees what they did.

SET LOCAL lock_timeout = '10s';

CREATE FUNCTION es.recorded_at(p_log smallint, p_head bigint) RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT l.recorded_at FROM es.log l WHERE l.log_id = p_log AND l.position > p_head);
END $$;
REVOKE ALL ON FUNCTION es.recorded_at FROM PUBLIC;
GRANT EXECUTE ON FUNCTION es.recorded_at TO everstep_command, everstep_worker;
