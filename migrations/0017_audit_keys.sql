-- The audit trail's outside: the name of the installation, keys that follow one another, the word of
-- witnesses, and finding an event by its id.

SET LOCAL lock_timeout = '10s';

-- The installation's name is part of every event as others see it, and so of what was hashed.
ALTER TABLE es.notary ADD COLUMN deployment text NOT NULL DEFAULT 'everstep'
    CHECK (deployment ~ '^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$');
COMMENT ON COLUMN es.notary.deployment IS 'never changes once the log has an event';
GRANT UPDATE (deployment) ON es.notary TO everstep_worker;

CREATE FUNCTION es.named_once() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    head bigint;
BEGIN
    -- The lock that every append takes: none is between the question and the name.
    SELECT l.position INTO head FROM es.log l WHERE l.log_id = NEW.log_id FOR UPDATE;
    IF head > 0 THEN
        RAISE EXCEPTION 'a log that has events keeps its name'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION es.named_once FROM PUBLIC;
CREATE TRIGGER named_once BEFORE UPDATE OF deployment ON es.notary
    FOR EACH ROW WHEN (NEW.deployment <> OLD.deployment) EXECUTE FUNCTION es.named_once();

-- Keys of the log follow one another. The word is the signed note of the former key that says so.
ALTER TABLE es.signing_key
    ADD COLUMN purpose text NOT NULL DEFAULT 'log' CHECK (purpose IN ('log', 'witness')),
    ADD COLUMN word text;
COMMENT ON COLUMN es.signing_key.purpose IS 'signs checkpoints of this log, or cosigns those of others';
COMMENT ON COLUMN es.signing_key.word IS 'of the key before it that this one follows; a signed note';

-- Four bytes of the id of each event whose leaf a tile has. Searching them costs a read of a kilobyte
-- for 256 events; an index on ids would cost every append. Tiles that an earlier release has begun or
-- gone on with have none, or too few: their events are looked at themselves.
ALTER TABLE es.tile ADD COLUMN ids bytea CHECK (octet_length(ids) <= 1024);
COMMENT ON COLUMN es.tile.ids IS 'the last four bytes of the id of each event; level 0 of a tenant';
GRANT UPDATE (ids) ON es.tile TO everstep_worker;

CREATE OR REPLACE FUNCTION es.only_wider() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (NEW.log_id, NEW.tree, NEW.level, NEW.nth) = (OLD.log_id, OLD.tree, OLD.level, OLD.nth)
        AND substr(NEW.hashes, 1, octet_length(OLD.hashes)) = OLD.hashes
        AND NEW.first_position IS NOT DISTINCT FROM OLD.first_position
        AND NEW.positions[1:cardinality(OLD.positions)] IS NOT DISTINCT FROM OLD.positions
        AND (NEW.ids IS NULL OR substr(NEW.ids, 1, octet_length(OLD.ids)) IS NOT DISTINCT FROM OLD.ids)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'tiles only become wider' USING ERRCODE = 'insufficient_privilege';
END $$;

-- What witnesses have said of our checkpoints: that each follows from all that they saw before.
CREATE TABLE es.cosignature (
    size bigint NOT NULL CHECK (size > 0),
    at timestamptz NOT NULL DEFAULT now(),
    log_id smallint NOT NULL,
    tree uuid NOT NULL,
    witness text NOT NULL,
    line text NOT NULL,
    PRIMARY KEY (log_id, tree, size, witness)
);
COMMENT ON COLUMN es.cosignature.witness IS 'the verifier key of the witness';
COMMENT ON COLUMN es.cosignature.line IS 'the line under the note (C2SP tlog-cosignature)';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON es.cosignature
    FOR EACH ROW EXECUTE FUNCTION es.refuse();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON es.cosignature
    FOR EACH STATEMENT EXECUTE FUNCTION es.refuse();
GRANT SELECT ON es.cosignature TO everstep_command, everstep_worker;
GRANT INSERT ON es.cosignature TO everstep_worker;

-- What we have said as a witness of the logs of others: the newest head of each that we cosigned.
CREATE TABLE es.witnessed (
    size bigint NOT NULL CHECK (size > 0),
    at timestamptz NOT NULL,
    origin text PRIMARY KEY,
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    keys text[] NOT NULL CHECK (cardinality(keys) > 0)
);
COMMENT ON COLUMN es.witnessed.keys IS 'verifier keys of the log that its checkpoints are believed from';

CREATE FUNCTION es.only_larger() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.origin = OLD.origin
        AND (NEW.size > OLD.size OR NEW.size = OLD.size AND NEW.root = OLD.root)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'what was cosigned only grows' USING ERRCODE = 'insufficient_privilege';
END $$;
REVOKE ALL ON FUNCTION es.only_larger FROM PUBLIC;
CREATE TRIGGER only_larger BEFORE UPDATE ON es.witnessed
    FOR EACH ROW EXECUTE FUNCTION es.only_larger();
CREATE TRIGGER never_removed BEFORE DELETE ON es.witnessed
    FOR EACH ROW EXECUTE FUNCTION es.refuse();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON es.witnessed
    FOR EACH STATEMENT EXECUTE FUNCTION es.refuse();
GRANT SELECT, INSERT, UPDATE ON es.witnessed TO everstep_worker;
