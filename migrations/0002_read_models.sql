-- Read models: folds of the log, to be thrown away and made anew at any time (`everstep replay`).
--
-- JSON that users gave is kept as text, because jsonb would not give the same bytes back; jsonb is
-- for what the folds themselves make. No column has a default that tells the time.

SET LOCAL lock_timeout = '10s';

-- How far each view has come. Rows and position are committed together.
CREATE TABLE rm.projection (
    name text PRIMARY KEY,
    position bigint NOT NULL DEFAULT 0 CHECK (position >= 0),
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'parked')),
    error text,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 20);

COMMENT ON COLUMN rm.projection.error IS 'why it is parked: the event after position and what is wrong with it';

-- Shuts a table to other tenants: readers see the rows of the tenant that their transaction has
-- set, and none if it has set none; workers write the rows of all.
CREATE FUNCTION rm.protect(p_table regclass) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', p_table);
    EXECUTE format(
        'CREATE POLICY readers ON %s FOR SELECT TO everstep_query
            USING (tenant = nullif(current_setting(''everstep.tenant'', true), '''')::uuid)', p_table);
    EXECUTE format(
        'CREATE POLICY workers ON %s TO everstep_worker USING (true) WITH CHECK (true)', p_table);
END $$;
REVOKE ALL ON FUNCTION rm.protect FROM PUBLIC;

-- What the workers must do: one row per open wait of an execution, unanswered invocation and
-- notification that is to go out. Rows come and go quickly.
CREATE TABLE rm.work (
    tenant uuid NOT NULL,
    category text NOT NULL,
    stream uuid NOT NULL,
    item integer NOT NULL,
    partition smallint NOT NULL,
    due_at timestamptz NOT NULL,
    since timestamptz NOT NULL,
    position bigint NOT NULL,
    kind text NOT NULL,
    task text NOT NULL,
    detail text NOT NULL,
    PRIMARY KEY (tenant, category, stream, item)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
CREATE INDEX work_changes ON rm.work (partition, position);
COMMENT ON COLUMN rm.work.item IS 'the wait, for an execution; else 0';

CREATE TABLE rm.executions (
    tenant uuid NOT NULL,
    id uuid NOT NULL,
    workflow uuid NOT NULL,
    revision bigint NOT NULL,
    workflow_version text NOT NULL,
    status text NOT NULL,
    trigger jsonb NOT NULL,
    waits jsonb NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    duration_ms bigint,
    version bigint NOT NULL,
    input text NOT NULL,
    output text,
    error text,
    reason text,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX executions_newest ON rm.executions (tenant, started_at DESC, id DESC);
CREATE INDEX executions_of_workflow ON rm.executions (tenant, workflow, started_at DESC, id DESC);
CREATE INDEX executions_by_status ON rm.executions (tenant, status, started_at DESC, id DESC);
COMMENT ON COLUMN rm.executions.version IS 'version of the stream';
COMMENT ON COLUMN rm.executions.reason IS 'why it was cancelled';

CREATE TABLE rm.execution_tasks (
    tenant uuid NOT NULL,
    execution uuid NOT NULL,
    run integer NOT NULL,
    task text NOT NULL,
    name text NOT NULL,
    status text NOT NULL,
    attempt bigint NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    input text,
    output text,
    error text,
    PRIMARY KEY (tenant, execution, run)
);

CREATE TABLE rm.workflows (
    tenant uuid NOT NULL,
    id uuid NOT NULL,
    namespace text NOT NULL,
    name text NOT NULL,
    title text,
    workflow_version text NOT NULL,
    revision bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    version bigint NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX workflows_newest ON rm.workflows (tenant, created_at DESC, id DESC);

CREATE TABLE rm.workflow_versions (
    tenant uuid NOT NULL,
    workflow uuid NOT NULL,
    revision bigint NOT NULL,
    workflow_version text NOT NULL,
    digest text NOT NULL,
    document text NOT NULL,
    published_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, workflow, revision)
);

CREATE TABLE rm.agents (
    tenant uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    revision bigint NOT NULL,
    spec text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    version bigint NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX agents_newest ON rm.agents (tenant, created_at DESC, id DESC);

CREATE TABLE rm.invocations (
    tenant uuid NOT NULL,
    id uuid NOT NULL,
    agent uuid NOT NULL,
    revision bigint NOT NULL,
    prompt uuid,
    prompt_number bigint,
    execution uuid,
    status text NOT NULL,
    requested_at timestamptz NOT NULL,
    ended_at timestamptz,
    version bigint NOT NULL,
    input text NOT NULL,
    output text,
    error jsonb,
    report jsonb,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX invocations_of_agent ON rm.invocations (tenant, agent, requested_at DESC, id DESC);

CREATE TABLE rm.prompts (
    tenant uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    number bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    version bigint NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX prompts_newest ON rm.prompts (tenant, created_at DESC, id DESC);
COMMENT ON COLUMN rm.prompts.number IS 'the newest version of the prompt; version is that of its stream';

CREATE TABLE rm.prompt_versions (
    tenant uuid NOT NULL,
    prompt uuid NOT NULL,
    number bigint NOT NULL,
    system_template text,
    user_template text NOT NULL,
    message text,
    committed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, prompt, number)
);

CREATE TABLE rm.integrations (
    tenant uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    revision bigint NOT NULL,
    spec text NOT NULL,
    tested jsonb,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    version bigint NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX integrations_newest ON rm.integrations (tenant, created_at DESC, id DESC);

CREATE TABLE rm.integration_logs (
    tenant uuid NOT NULL,
    id uuid NOT NULL,
    integration uuid NOT NULL,
    at timestamptz NOT NULL,
    ended_at timestamptz,
    direction text NOT NULL,
    kind text NOT NULL,
    outcome text NOT NULL,
    execution uuid,
    detail text,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX integration_logs_newest ON rm.integration_logs (tenant, integration, at DESC, id DESC);

CREATE TABLE rm.templates (
    tenant uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    number bigint NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    html text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    version bigint NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX templates_newest ON rm.templates (tenant, created_at DESC, id DESC);

CREATE TABLE rm.notifications (
    tenant uuid NOT NULL,
    id uuid NOT NULL,
    channel text NOT NULL,
    addresses jsonb NOT NULL,
    template uuid NOT NULL,
    template_number bigint NOT NULL,
    execution uuid,
    status text NOT NULL,
    attempts bigint NOT NULL,
    detail text,
    next_attempt_at timestamptz,
    via text,
    message_id text,
    requested_at timestamptz NOT NULL,
    sent_at timestamptz,
    version bigint NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX notifications_newest ON rm.notifications (tenant, requested_at DESC, id DESC);

CREATE TABLE rm.api_keys (
    tenant uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    access text NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz,
    version bigint NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX api_keys_newest ON rm.api_keys (tenant, created_at DESC, id DESC);

-- What has begun and not ended: what the fold of usage_hourly must know when it ends.
CREATE TABLE rm.usage_open (
    tenant uuid NOT NULL,
    category text NOT NULL,
    stream uuid NOT NULL,
    subject uuid NOT NULL,
    since timestamptz NOT NULL,
    PRIMARY KEY (tenant, category, stream)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);

-- Sums per hour. Whole numbers only: adding them in any order gives the same bytes.
CREATE TABLE rm.usage_hourly (
    tenant uuid NOT NULL,
    category text NOT NULL,
    hour timestamptz NOT NULL,
    subject uuid NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    started bigint NOT NULL,
    completed bigint NOT NULL,
    failed bigint NOT NULL,
    cancelled bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    durations jsonb NOT NULL,
    PRIMARY KEY (tenant, category, hour, subject, provider, model)
) WITH (fillfactor = 70);
COMMENT ON COLUMN rm.usage_hourly.subject IS 'workflow of executions, agent of invocations, nil for notifications';
COMMENT ON COLUMN rm.usage_hourly.durations IS 'how many durations fell into which bucket';

SELECT rm.protect(format('rm.%I', name)::regclass)
    FROM unnest(ARRAY[
        'work', 'executions', 'execution_tasks', 'workflows', 'workflow_versions', 'agents',
        'invocations', 'prompts', 'prompt_versions', 'integrations', 'integration_logs',
        'templates', 'notifications', 'api_keys', 'usage_open', 'usage_hourly']) AS name;
