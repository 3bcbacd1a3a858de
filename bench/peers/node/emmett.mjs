// Peer: emmett-postgresql. An append is one `appendToStream`: a transaction around one call of its
// SQL function, which compares the stream's version and inserts all the events.

import { dumbo } from '@event-driven-io/dumbo';
import { getPostgreSQLEventStore, readMessagesBatch } from '@event-driven-io/emmett-postgresql';
import pg from 'pg';
import { PAGE, STREAMS, appends, bodies, loads, poolOptions, readOptions, report, scans, warm } from './load.mjs';

// As many as the pool has that it makes for itself when given a URL only. More changed nothing.
const CONNECTIONS = 10;

const options = readOptions();
const pool = new pg.Pool(poolOptions(options, CONNECTIONS));
const store = getPostgreSQLEventStore(options.url, {
  connectionOptions: { pool },
  // Otherwise its first call would look for the schema within the time that is measured.
  schema: { autoMigration: 'None' },
});

const run = {
  async append() {
    await store.schema.migrate();
    await warm(pool);
    return appends(options, async (step) => {
      const events = bodies(step).map((data) => ({ type: 'TaskCompleted', data }));
      await store.appendToStream(`execution-${step.stream}`, events, {
        expectedStreamVersion: BigInt(step.version),
      });
    });
  },

  // The query with which its consumers read, without what they add: waits between pages and a
  // checkpoint stored for each message.
  async scan() {
    await warm(pool);
    const { execute } = dumbo({ connectionString: options.url, pool });
    return scans(options, async () => {
      let events = 0;
      let after = -1n;
      for (;;) {
        const page = await readMessagesBatch(execute, { after, batchSize: PAGE });
        events += page.messages.length;
        if (!page.areMessagesLeft) return events;
        after = page.currentGlobalPosition;
      }
    });
  },

  async load() {
    await warm(pool);
    const found = await pool.query('SELECT stream_id FROM emt_streams LIMIT $1', [STREAMS]);
    const names = found.rows.map((row) => row.stream_id);
    return loads(options, names, async (name) => (await store.readStream(name)).events.length);
  },
};

report('emmett-postgresql 0.42.0', options, await run[options.op]());
await pool.end();
