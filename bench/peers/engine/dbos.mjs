// Peer: DBOS Transact. A workflow is a function of this process whose steps leave checkpoints in
// Postgres; it is started directly, without a queue.

import { DBOS } from '@dbos-inc/dbos-sdk';
import pg from 'pg';
import { drive } from './drive.mjs';
import { HOUR_MS, STEPS, readOptions, step } from './work.mjs';

const PAGE = 1000;

const options = readOptions();
const take = step(options);

async function steps(start) {
  const id = start;
  let n = start;
  for (const index of STEPS) {
    const before = n;
    n = await DBOS.runStep(() => take(index, id, before), { name: `step ${index}` });
  }
  return n;
}

const timer = () => DBOS.sleep(HOUR_MS);

const workflow = DBOS.registerWorkflow(options.work === 'timer' ? timer : steps, { name: 'workflow' });

DBOS.setConfig({
  name: 'bench',
  systemDatabaseUrl: options.url,
  systemDatabasePoolSize: 32,
  // After a restart it takes up what a process of the same version began.
  applicationVersion: '1',
  logLevel: 'error',
});
await DBOS.launch();

const asks = new pg.Client({ connectionString: options.url });
await asks.connect();

await drive('DBOS Transact 5.3.0', {
  async run(n) {
    const handle = await DBOS.startWorkflow(workflow)(n);
    return handle.getResult();
  },

  put: (n) => DBOS.startWorkflow(workflow, { workflowID: String(n) })(n),

  async ended() {
    const { rows } = await asks.query("SELECT count(*)::int AS n FROM dbos.workflow_status WHERE status = 'SUCCESS'");
    return rows[0].n;
  },

  async results() {
    const all = [];
    for (let page; page === undefined || page.length === PAGE; ) {
      page = await DBOS.listWorkflows({ status: 'SUCCESS', limit: PAGE, offset: all.length });
      all.push(...page);
    }
    return all.map(({ input, output }) => [input[0], output]);
  },
});
