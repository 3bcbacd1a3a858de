// Takes commands from standard input, a line of JSON each, drives a peer through its own client as
// they say, and prints a line of JSON for each. The end of its input ends the program.

import { createInterface } from 'node:readline';

const EVERY_MS = 50;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const round = (number) => Number(number.toFixed(3));

/** Has `callers` call until `more` says no; `call` gets the number of the call. */
async function closedLoop(callers, more, call) {
  const times = [];
  const failures = [];
  const began = performance.now();
  let next = 0;
  const caller = async () => {
    for (let number = next++; more(number, began); number = next++) {
      const called = performance.now();
      try {
        await call(number);
        times.push(performance.now() - called);
      } catch (error) {
        failures.push(error);
        // Somebody who is refused does not ask again at once.
        await pause(EVERY_MS);
      }
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const seconds = (performance.now() - began) / 1000;
  times.sort((left, right) => left - right);
  return { times, failures, seconds };
}

/** What is told of a closed loop. */
function told({ times, failures, seconds }) {
  const within = (percent) => round(times[Math.floor(((times.length - 1) * percent) / 100)] ?? 0);
  return {
    workflows: times.length,
    errors: failures.length,
    error: failures.length > 0 ? String(failures[0]?.stack ?? failures[0]) : undefined,
    seconds: round(seconds),
    p50_ms: within(50),
    p95_ms: within(95),
    p99_ms: within(99),
  };
}

const commands = {
  /** Each caller starts one, waits for its result, checks it, and starts the next. */
  async run(peer, { callers, seconds }) {
    const more = (_, began) => performance.now() - began < seconds * 1000;
    const call = async (number) => {
      const result = await peer.run(number);
      if (result !== number + 3) throw new Error(`a wrong result: ${number} came to ${result}`);
    };
    return told(await closedLoop(callers, more, call));
  },

  /** Starts so many, the first of them number `from`, and waits for none. */
  async put(peer, { callers, from, count }) {
    return told(await closedLoop(callers, (number) => number < count, (number) => peer.put(from + number)));
  },

  /** Waits until so many have ended well, or for so long. */
  async await(peer, { count, seconds }) {
    const until = performance.now() + seconds * 1000;
    let ended = await peer.ended();
    while (ended < count && performance.now() < until) {
      await pause(EVERY_MS);
      ended = await peer.ended();
    }
    return { ended };
  },

  /** How many different ones have ended, and with how many wrong results. */
  async results(peer) {
    const results = await peer.results();
    const wrong = results.filter(([number, result]) => result !== number + 3).length;
    return { ended: new Set(results.map(([number]) => number)).size, wrong };
  },
};

export async function drive(system, peer) {
  const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
  say({ system });
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    say(await commands[command.do](peer, command));
  }
  process.exit(0);
}
