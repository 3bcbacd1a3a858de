// Peer: message-db. Its SQL functions through node-postgres. An append is a transaction with one
// call of write_message an event, each with the version it expects, as its own clients write several
// messages at once.

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { PAGE, STREAMS, appends, bodies, loads, poolOptions, readOptions, report, scans, warm } from './load.mjs';

// A write locks its category, so there are as many as a service with three aggregates has.
const CATEGORIES = ['execution', 'agent', 'connector'];

// In the order in which its own installer runs them. Left out: a role, its privileges, and views.
const PARTS = [
  'schema/message-store',
  'extensions/pgcrypto',
  'tables/messages',
  'types/message',
  'functions/message-store-version',
  'functions/hash-64',
  'functions/acquire-lock',
  'functions/category',
  'functions/is-category',
  'functions/id',
  'functions/cardinal-id',
  'functions/stream-version',
  'functions/write-message',
  'functions/get-stream-messages',
  'functions/get-category-messages',
  'functions/get-last-stream-message',
  'indexes/messages-id',
  'indexes/messages-stream',
  'indexes/messages-category',
];

const options = readOptions();
// Its functions name each other without their schema.
const pool = new pg.Pool({ ...poolOptions(options), options: '-c search_path=message_store,public' });

async function migrate() {
  const { rows } = await pool.query("SELECT to_regclass('message_store.messages') IS NULL AS missing");
  if (!rows[0].missing) return;
  for (const part of PARTS) {
    const file = import.meta.resolve(`@eventide/message-db/database/${part}.sql`);
    await pool.query(readFileSync(fileURLToPath(file), 'utf8'));
  }
}

const categoryOf = (stream) => CATEGORIES[Number.parseInt(stream.slice(0, 8), 16) % CATEGORIES.length];

const write = (stream, data, expected) => ({
  name: 'write',
  text: 'SELECT write_message($1, $2, $3, $4, $5, $6)',
  values: [randomUUID(), stream, 'TaskCompleted', JSON.stringify(data), '{}', expected],
});

const run = {
  async append() {
    await migrate();
    await warm(pool);
    return appends(options, async (step) => {
      const stream = `${categoryOf(step.stream)}-${step.stream}`;
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        // Its versions count from 0, so that -1 stands for a stream that is not there.
        let expected = step.version - 1;
        for (const data of bodies(step)) await client.query(write(stream, data, expected++));
        await client.query('COMMIT');
      } finally {
        client.release();
      }
    });
  },

  // It cannot read across categories, so it reads one after the other.
  async scan() {
    await warm(pool);
    return scans(options, async () => {
      let events = 0;
      for (const category of CATEGORIES) {
        for (let from = 1n, rows; from !== undefined; ) {
          ({ rows } = await pool.query({
            name: 'category',
            text: 'SELECT * FROM get_category_messages($1, $2, $3)',
            values: [category, from, PAGE],
          }));
          for (const row of rows) row.data = JSON.parse(row.data);
          events += rows.length;
          from = rows.length === PAGE ? BigInt(rows.at(-1).global_position) + 1n : undefined;
        }
      }
      return events;
    });
  },

  async load() {
    await warm(pool);
    const found = await pool.query('SELECT DISTINCT stream_name FROM messages LIMIT $1', [STREAMS]);
    const names = found.rows.map((row) => row.stream_name);
    return loads(options, names, async (name) => {
      const { rows } = await pool.query({
        name: 'stream',
        text: 'SELECT * FROM get_stream_messages($1)',
        values: [name],
      });
      for (const row of rows) row.data = JSON.parse(row.data);
      return rows.length;
    });
  },
};

report('message-db 1.3.1', options, await run[options.op]());
await pool.end();
