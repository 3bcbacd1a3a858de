-- States of long streams, so that they need not be folded from the beginning. Whatever is in here can
-- be removed at any time. States are sealed as events are.
CREATE TABLE ops.snapshot (
    at       timestamptz NOT NULL DEFAULT now(),
    version  bigint   NOT NULL,
    log_id   smallint NOT NULL,
    stream   uuid     NOT NULL,
    tenant   uuid     NOT NULL,
    event    uuid     NOT NULL,
    subject  uuid,
    category text     NOT NULL,
    -- Names the code that made the state.
    fold     text     NOT NULL,
    state    bytea    NOT NULL,
    PRIMARY KEY (log_id, stream, category, tenant)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON ops.snapshot TO everstep_command, everstep_worker;
