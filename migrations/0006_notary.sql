-- What proves that the log was not changed: for each tenant a Merkle tree (RFC 6962) over its events
-- in the order of their positions, and signed checkpoints of it; for the installation a tree over
-- those checkpoints. Trees only grow: not even the owner of the tables can take a hash back.

SET LOCAL lock_timeout = '10s';

-- How far each log is sealed. The id names the installation's own tree.
CREATE TABLE es.notary (
    log_id smallint PRIMARY KEY,
    position bigint NOT NULL DEFAULT 0 CHECK (position >= 0),
    installation uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO es.notary (log_id) SELECT log_id FROM es.log;

-- Tiles of up to 256 hashes (C2SP tlog-tiles). Those at the right edge of a tree become wider.
CREATE TABLE es.tile (
    nth bigint NOT NULL CHECK (nth >= 0),
    first_position bigint,
    log_id smallint NOT NULL,
    level smallint NOT NULL CHECK (level >= 0),
    tree uuid NOT NULL,
    hashes bytea NOT NULL
        CHECK (octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0),
    positions bigint[],
    PRIMARY KEY (log_id, tree, level, nth)
);
CREATE INDEX tile_by_position ON es.tile (log_id, tree, first_position) WHERE level = 0;
COMMENT ON COLUMN es.tile.tree IS 'the tenant, or the installation';
COMMENT ON COLUMN es.tile.positions IS 'of the events whose leaves these are; level 0 of a tenant';

CREATE TABLE es.checkpoint (
    size bigint NOT NULL CHECK (size > 0),
    position bigint NOT NULL,
    at timestamptz NOT NULL,
    log_id smallint NOT NULL,
    tree uuid NOT NULL,
    note text NOT NULL,
    PRIMARY KEY (log_id, tree, size)
);
COMMENT ON COLUMN es.checkpoint.position IS 'of the last event in it';
COMMENT ON COLUMN es.checkpoint.note IS 'the signed note (C2SP tlog-checkpoint)';

-- Public halves of the keys that sign. The secret halves are in the vault.
CREATE TABLE es.signing_key (
    secret uuid PRIMARY KEY,
    fingerprint text NOT NULL,
    public bytea NOT NULL CHECK (octet_length(public) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz
);

CREATE FUNCTION es.only_wider() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (NEW.log_id, NEW.tree, NEW.level, NEW.nth) = (OLD.log_id, OLD.tree, OLD.level, OLD.nth)
        AND substr(NEW.hashes, 1, octet_length(OLD.hashes)) = OLD.hashes
        AND NEW.first_position IS NOT DISTINCT FROM OLD.first_position
        AND NEW.positions[1:cardinality(OLD.positions)] IS NOT DISTINCT FROM OLD.positions
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'tiles only become wider' USING ERRCODE = 'insufficient_privilege';
END $$;
REVOKE ALL ON FUNCTION es.only_wider FROM PUBLIC;

CREATE TRIGGER only_wider BEFORE UPDATE ON es.tile
    FOR EACH ROW EXECUTE FUNCTION es.only_wider();
CREATE TRIGGER never_removed BEFORE DELETE ON es.tile
    FOR EACH ROW EXECUTE FUNCTION es.refuse();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON es.tile
    FOR EACH STATEMENT EXECUTE FUNCTION es.refuse();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON es.checkpoint
    FOR EACH ROW EXECUTE FUNCTION es.refuse();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON es.checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION es.refuse();

GRANT SELECT ON es.notary, es.tile, es.checkpoint, es.signing_key
    TO everstep_command, everstep_worker;
GRANT INSERT ON es.tile, es.checkpoint, es.signing_key TO everstep_worker;
GRANT UPDATE (position) ON es.notary TO everstep_worker;
GRANT UPDATE (hashes, positions) ON es.tile TO everstep_worker;
GRANT UPDATE (retired_at) ON es.signing_key TO everstep_worker;
