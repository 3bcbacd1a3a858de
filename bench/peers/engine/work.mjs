// The work that all programs of this directory have done, and the command line that says which.

import http from 'node:http';
import { parseArgs } from 'node:util';

const WORKS = ['steps', 'call', 'witnessed', 'timer'];
const HOUR_MS = 3_600_000;

export const HOUR_SECONDS = HOUR_MS / 1000;
export { HOUR_MS };

export function readOptions() {
  const { values } = parseArgs({
    options: {
      url: { type: 'string' },
      work: { type: 'string', default: 'steps' },
      outside: { type: 'string' },
      callers: { type: 'string', default: '64' },
      lease: { type: 'string' },
    },
  });
  const { url, work, outside } = values;
  const [callers, lease] = [values.callers, values.lease ?? '0'].map(Number);
  const needed = work === 'call' || work === 'witnessed';
  const good = WORKS.includes(work) && Number.isInteger(callers) && callers > 0 && Number.isInteger(lease);
  if (!url || !good || (needed && !outside)) {
    throw new Error(`wanted: --url URL [--work ${WORKS.join('|')}] [--outside URL] [--callers N] [--lease SECONDS]`);
  }
  return { url, work, outside, callers, lease: lease || undefined };
}

const agent = new http.Agent({ keepAlive: true });

/** Posts JSON and reads the JSON of the answer. */
const post = (url, body) =>
  new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const request = http.request(url, { method: 'POST', agent, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (part) => (text += part));
      answer.on('end', () => {
        if (answer.statusCode !== 200) reject(new Error(`answered with ${answer.statusCode}`));
        else resolve(JSON.parse(text));
      });
      answer.on('error', reject);
    });
    request.on('error', reject);
    request.end(JSON.stringify(body));
  });

/** What step `index` (1, 2 or 3) of workflow `id` makes of `n`: one more. */
export const step =
  ({ work, outside }) =>
  async (index, id, n) => {
    if (work === 'witnessed') return (await post(`${outside}${index}`, { id, n })).n + 1;
    if (work === 'call' && index === 2) return (await post(outside, { n })).n + 1;
    return n + 1;
  };

export const STEPS = [1, 2, 3];
