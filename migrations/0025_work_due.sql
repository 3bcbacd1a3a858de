-- Workers look for what is due and for what is new, and at nothing else: what waits for an hour costs
-- nobody anything until then.

SET LOCAL lock_timeout = '10s';

CREATE INDEX work_due ON rm.work (due_at);
CREATE INDEX work_news ON rm.work (position);
DROP INDEX rm.work_changes;
