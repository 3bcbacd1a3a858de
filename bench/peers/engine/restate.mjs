// Peer: Restate. Its server keeps the journals and asks this process, over HTTP/2, to go on with
// handlers. Whoever starts both also puts the load on the server.

import { once } from 'node:events';
import { createServer } from 'node:http2';
import * as restate from '@restatedev/restate-sdk';
import { HOUR_MS, STEPS, readOptions, step } from './work.mjs';

const options = readOptions();
const take = step(options);

async function steps(context, start) {
  let n = start;
  for (const index of STEPS) {
    const before = n;
    n = await context.run(`step ${index}`, () => take(index, start, before));
  }
  return n;
}

const timer = (context) => context.sleep(HOUR_MS);
const run = options.work === 'timer' ? timer : steps;

// By default a handler that waits stays in memory for a minute, and a thousand do at most: the others
// of ten thousand would not even have begun to wait.
const how = options.work === 'timer' ? { inactivityTimeout: 1000 } : {};

const handler = restate.createEndpointHandler({
  // `plain` is called and waited for; `keyed` is started under a key, and its result kept.
  services: [
    restate.service({ name: 'plain', handlers: { run }, options: how }),
    restate.workflow({ name: 'keyed', handlers: { run }, options: how }),
    // To find out whether the server is ready for more.
    restate.service({ name: 'echo', handlers: { run: async (_, n) => n } }),
  ],
  // It would print two lines an invocation.
  logger: ({ level }, ...message) => {
    if (level === 'error') console.error(...message);
  },
});
const { hostname, port } = new URL(options.url);
const server = createServer(handler).listen(Number(port), hostname);
await once(server, 'listening');
console.log(JSON.stringify({ system: 'Restate 1.7.12' }));
process.stdin.on('end', () => process.exit(0)).resume();
