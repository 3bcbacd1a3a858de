// Peer: absurd. A workflow is a task in a table; one worker of this process claims tasks in batches and
// keeps the result of each step in Postgres, through SQL functions that do the rest.

import { readFileSync } from 'node:fs';
import { Absurd } from 'absurd-sdk';
import pg from 'pg';
import { drive } from './drive.mjs';
import { HOUR_SECONDS, STEPS, readOptions, step } from './work.mjs';

const QUEUE = 'bench';
const TASK = 'workflow';

const options = readOptions();
const take = step(options);
const db = new pg.Pool({ connectionString: options.url, max: 32 });

async function migrate() {
  const { rows } = await db.query("SELECT to_regclass('absurd.queues') IS NULL AS missing");
  if (!rows[0].missing) return;
  // What `absurdctl init` would run; install.sh takes it out of that package.
  await db.query(readFileSync(new URL('./absurd.sql', import.meta.url), 'utf8'));
  await absurd.createQueue(QUEUE);
}

const log = { log() {}, info() {}, warn() {}, error: console.error };
const absurd = new Absurd({ db, queueName: QUEUE, log });
await migrate();

const handlers = {
  async steps({ n: start }, context) {
    let n = start;
    for (const index of STEPS) {
      const before = n;
      n = await context.step(`step ${index}`, () => take(index, start, before));
    }
    return n;
  },
  timer: (_, context) => context.sleepFor('an hour', HOUR_SECONDS),
};
absurd.registerTask({ name: TASK }, options.work === 'timer' ? handlers.timer : handlers.steps);
await absurd.startWorker({
  concurrency: options.callers,
  // By default it looks for tasks four times a second, which would be most of what is measured.
  pollInterval: 0.02,
  claimTimeout: options.lease ?? 120,
});

await drive('absurd 0.5.0', {
  async run(n) {
    const { taskID } = await absurd.spawn(TASK, { n });
    const { state, result } = await absurd.awaitTaskResult(taskID, { timeout: 60 });
    if (state !== 'completed') throw new Error(`it ended as ${state}`);
    return result;
  },

  put: (n) => absurd.spawn(TASK, { n }),

  async ended() {
    const { rows } = await db.query(`SELECT count(*)::int AS n FROM absurd.t_${QUEUE} WHERE state = 'completed'`);
    return rows[0].n;
  },

  async results() {
    const { rows } = await db.query(
      `SELECT params->'n' AS n, completed_payload AS result FROM absurd.t_${QUEUE} WHERE state = 'completed'`,
    );
    return rows.map(({ n, result }) => [n, result]);
  },
});
