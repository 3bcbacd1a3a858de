-- How far the log is sealed only grows, and never past the log. Whoever could set it forward would have
-- events pass that no tree has; whoever could set it back would have them sealed again.

SET LOCAL lock_timeout = '10s';

CREATE FUNCTION es.only_forward() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (NEW.log_id, NEW.installation) = (OLD.log_id, OLD.installation)
        AND NEW.position >= OLD.position
        AND NEW.position <= (SELECT l.position FROM es.log l WHERE l.log_id = NEW.log_id)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'what is sealed only grows, up to the end of the log'
        USING ERRCODE = 'insufficient_privilege';
END $$;
REVOKE ALL ON FUNCTION es.only_forward FROM PUBLIC;

CREATE TRIGGER only_forward BEFORE UPDATE OF log_id, position, installation ON es.notary
    FOR EACH ROW EXECUTE FUNCTION es.only_forward();
CREATE TRIGGER never_removed BEFORE DELETE ON es.notary
    FOR EACH ROW EXECUTE FUNCTION es.refuse();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON es.notary
    FOR EACH STATEMENT EXECUTE FUNCTION es.refuse();
