-- People whose data are in the log. What events say about a person is sealed under the key that
-- stands here, itself sealed under the master key, which is not in here. When they are erased the key
-- and what the person is called go, and the rest of the row stays: it tells what is erased from what
-- is damaged.
CREATE TABLE ops.subject_key (
    made_at   timestamptz NOT NULL DEFAULT now(),
    erased_at timestamptz,
    tenant    uuid  NOT NULL,
    id        uuid  NOT NULL,
    -- A keyed hash of what the person is called.
    name      bytea,
    sealed    bytea,
    PRIMARY KEY (tenant, id),
    CHECK ((erased_at IS NULL) = (name IS NOT NULL)),
    CHECK ((erased_at IS NULL) = (sealed IS NOT NULL))
);
CREATE UNIQUE INDEX subject_key_name ON ops.subject_key (tenant, name) WHERE name IS NOT NULL;

GRANT SELECT, INSERT ON ops.subject_key TO everstep_command, everstep_worker;
GRANT UPDATE (name, sealed, erased_at) ON ops.subject_key TO everstep_worker;
REVOKE UPDATE, DELETE ON ops.subject_key FROM everstep_command;
REVOKE DELETE ON ops.subject_key FROM everstep_worker;

-- Read models tell whose data a row holds, so that it can forget them.
SET LOCAL lock_timeout = '10s';
ALTER TABLE rm.executions ADD COLUMN subject uuid, ADD COLUMN erased boolean NOT NULL DEFAULT false;
ALTER TABLE rm.execution_tasks ADD COLUMN subject uuid;
ALTER TABLE rm.invocations ADD COLUMN subject uuid, ADD COLUMN erased boolean NOT NULL DEFAULT false;
ALTER TABLE rm.notifications ADD COLUMN subject uuid, ADD COLUMN erased boolean NOT NULL DEFAULT false;
ALTER TABLE rm.integration_logs ADD COLUMN subject uuid;
ALTER TABLE rm.work ADD COLUMN subject uuid;
CREATE INDEX executions_of_subject ON rm.executions (tenant, subject) WHERE subject IS NOT NULL;
CREATE INDEX execution_tasks_of_subject ON rm.execution_tasks (tenant, subject) WHERE subject IS NOT NULL;
CREATE INDEX invocations_of_subject ON rm.invocations (tenant, subject) WHERE subject IS NOT NULL;
CREATE INDEX notifications_of_subject ON rm.notifications (tenant, subject) WHERE subject IS NOT NULL;
CREATE INDEX integration_logs_of_subject ON rm.integration_logs (tenant, subject) WHERE subject IS NOT NULL;
CREATE INDEX work_of_subject ON rm.work (tenant, subject) WHERE subject IS NOT NULL;
