// Peer: pg-boss. It has jobs, not workflows: here a workflow is a chain of three of them, each put into
// the next queue by the handler of the last. That is the least that a queue does for such work.

import { PgBoss } from 'pg-boss';
import { drive } from './drive.mjs';
import { HOUR_SECONDS, STEPS, readOptions, step } from './work.mjs';

const WORKERS = 8;
const LAST = STEPS.at(-1);
const TIMER = 'timer';
const queue = (index) => `step${index}`;

const options = readOptions();
const take = step(options);
const boss = new PgBoss({
  connectionString: options.url,
  max: 32,
  useListenNotify: true,
  // How often it looks for jobs whose worker is gone: by default once a minute.
  superviseIntervalSeconds: 1,
  monitorIntervalSeconds: 1,
});
boss.on('error', console.error);
await boss.start();

const terms = { notify: true, retryLimit: 5, retryDelay: 0, expireInSeconds: options.lease ?? 900 };
for (const index of STEPS) await boss.createQueue(queue(index), terms);
await boss.createQueue(TIMER, terms);

// Who waits for the end of a workflow, by its number. A queue has no other way to tell them.
const waiting = new Map();

async function handle(index, { id, n }) {
  const result = await take(index, id, n);
  if (index < LAST) await boss.send(queue(index + 1), { id, n: result });
  else waiting.get(id)?.(result);
  return result;
}

for (const index of STEPS) {
  const how = {
    batchSize: Math.ceil(options.callers / WORKERS),
    localConcurrency: WORKERS,
    burstWhenBatchFull: true,
    perJobResults: true,
    // Without these it looks every 2 seconds, and every 30 while it is told of new jobs; it is not told
    // of jobs that come back because their worker is gone.
    pollingIntervalSeconds: 0.5,
    notifyPollingIntervalSeconds: 0.5,
  };
  await boss.work(queue(index), how, (jobs) =>
    Promise.all(
      jobs.map(async ({ id, data }) => {
        const output = await handle(index, data);
        return { id, status: 'completed', output: { result: output } };
      }),
    ),
  );
}

const rows = async (what) => {
  const sql = `SELECT ${what} FROM pgboss.job WHERE name = $1 AND state = 'completed'`;
  return (await boss.getDb().executeSql(sql, [queue(LAST)])).rows;
};

await drive('pg-boss 12.38.0', {
  async run(n) {
    const ended = new Promise((resolve) => waiting.set(n, resolve));
    await boss.send(queue(1), { id: n, n });
    try {
      return await ended;
    } finally {
      waiting.delete(n);
    }
  },

  put: (n) =>
    options.work === 'timer'
      ? boss.send(TIMER, { n }, { startAfter: HOUR_SECONDS })
      : boss.send(queue(1), { id: n, n }),

  async ended() {
    const [{ n }] = await rows("count(DISTINCT data->>'id')::int AS n");
    return n;
  },

  async results() {
    const all = await rows("data->'id' AS n, output->'result' AS result");
    return all.map(({ n, result }) => [n, result]);
  },
});
