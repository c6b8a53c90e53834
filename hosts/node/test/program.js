/** Programs that tests start, and requests to them. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

/**
 * Starts a program that prints its addresses to standard error; stops it when the test ends.
 *
 * @param {import('node:test').TestContext} t
 * @param {string[]} parameters
 * @param {RegExp[]} wanted The patterns of its lines; the first group of each is the address.
 * @param {string} [cwd] Its working directory.
 * @returns {Promise<string[]>}
 */
export async function start(t, parameters, wanted, cwd) {
  const child = spawn(process.execPath, parameters, {
    cwd,
    env: { ...process.env, PORT: '0', TELEMETRY_PORT: '0' },
    stdio: ['ignore', 'ignore', 'pipe'],
    // `jco serve` has a child of its own, which a signal to the group reaches too.
    detached: true,
  });
  const exited = once(child, 'exit');
  t.after(async () => {
    process.kill(-(/** @type {number} */ (child.pid)), 'SIGKILL');
    await exited;
  });
  const printed = [];
  const found = wanted.map(() => '');
  for await (const line of createInterface({ input: child.stderr })) {
    printed.push(line);
    wanted.forEach((pattern, index) => (found[index] ||= pattern.exec(line)?.[1] ?? ''));
    if (found.every((address) => address !== '')) {
      // Further output must not fill the pipe.
      child.stderr.resume();
      return found;
    }
  }
  return assert.fail(`it did not start; it printed:\n${printed.join('\n')}`);
}

export async function get(/** @type {string} */ url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(60_000) });
  return { status: response.status, text: await response.text() };
}

/** Returns a free port: `jco serve` does not print a port that it chose itself. */
export async function free() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  server.close();
  await once(server, 'close');
  return port;
}
