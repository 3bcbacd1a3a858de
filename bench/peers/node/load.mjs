// The load that both programs of this directory put on their store, and the line they print.

import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';

const APPENDS_PER_STREAM = 4;
const MOST_EVENTS = 8;
const BODY_BYTES = 300;
const MOST_CONNECTIONS = 90;

/** How many messages one page of a scan has. */
export const PAGE = 1000;

/** How many streams `load` chooses among. */
export const STREAMS = 20_000;

const OPS = ['append', 'scan', 'load'];

export function readOptions() {
  const { values } = parseArgs({
    options: {
      url: { type: 'string' },
      op: { type: 'string' },
      callers: { type: 'string', default: '1' },
      seconds: { type: 'string', default: '4' },
    },
  });
  const callers = Number(values.callers);
  const seconds = Number(values.seconds);
  if (!values.url || !OPS.includes(values.op) || !Number.isInteger(callers) || callers < 1 || !(seconds > 0)) {
    throw new Error('wanted: --url URL --op append|scan|load --callers N --seconds S');
  }
  return { url: values.url, op: values.op, callers, seconds };
}

/** What a pool for so many callers is made from. */
export const poolOptions = ({ url, callers }, most = MOST_CONNECTIONS) => ({
  connectionString: url,
  max: Math.min(callers, most),
});

/** Opens every connection of a pool, so that no run pays for that. */
export async function warm(pool) {
  const clients = await Promise.all(Array.from({ length: pool.options.max }, () => pool.connect()));
  for (const client of clients) client.release();
}

const bare = (number) => ({
  agent: 'summariser',
  attempt: 1,
  execution: String(number).padStart(36, '0'),
  latency_ms: 100 + (number % 899),
  model: 'large',
  status: 'completed',
  task: `/do/${number % 10}/summarise`,
  tokens: { input: 1000 + (number % 999), output: 321 },
  note: '',
});
const NOTE = 'x'.repeat(BODY_BYTES - JSON.stringify(bare(0)).length);

/** The document of an event: 300 bytes once it is JSON, another one for each number. */
export const body = (number) => ({ ...bare(number), note: NOTE });

/** The documents of one append. */
export const bodies = ({ events, number }) =>
  Array.from({ length: events }, (_, index) => body(number * MOST_EVENTS + index));

/** Appends from all callers until time is up. `append` stores one step and may reject. */
export const appends = (options, append) =>
  closedLoop(options, (caller) => {
    let number = caller * 1_000_003;
    let step = { appended: APPENDS_PER_STREAM };
    return async () => {
      if (step.appended === APPENDS_PER_STREAM) step = { stream: randomUUID(), version: 0, appended: 0 };
      const events = (number % MOST_EVENTS) + 1;
      await append({ stream: step.stream, version: step.version, events, number });
      step.version += events;
      step.appended += 1;
      number += 1;
      return events;
    };
  });

/** Loads streams taken at random until time is up. `load` tells how many events one has. */
export const loads = (options, streams, load) => {
  if (streams.length === 0) throw new Error('the log is empty');
  return closedLoop(options, () => () => load(streams[Math.floor(Math.random() * streams.length)]));
};

/** Reads the log from its start, and again, until time is up; a pass that began is finished. */
export const scans = (options, pass) => closedLoop({ ...options, callers: 1 }, () => pass);

async function closedLoop(options, caller) {
  const times = [];
  let events = 0;
  const began = performance.now();
  const until = began + options.seconds * 1000;
  const one = async (work) => {
    while (performance.now() < until) {
      const sent = performance.now();
      const stored = await work();
      times.push(performance.now() - sent);
      events += stored;
    }
  };
  await Promise.all(Array.from({ length: options.callers }, (_, index) => one(caller(index))));
  const seconds = (performance.now() - began) / 1000;
  times.sort((left, right) => left - right);
  return { callers: options.callers, events, seconds, times };
}

/** Prints what came of a run. */
export function report(system, { op }, { callers, events, seconds, times }) {
  const within = (percent) => round(times[Math.floor(((times.length - 1) * percent) / 100)] ?? 0);
  const line = {
    system,
    op,
    callers,
    events,
    appends: times.length,
    seconds: round(seconds),
    p50_ms: within(50),
    p99_ms: within(99),
    retries: 0,
  };
  console.log(JSON.stringify(line));
}

const round = (number) => Number(number.toFixed(3));
