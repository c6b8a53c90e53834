// The host that serves the page: traffic to its service, and the answers of its telemetry address.

import { request as send } from 'node:http';

export const { origin, service, program, pictures, guarded, small } = JSON.parse(process.argv[2]);

/** Sends a request to the service, with a body by `POST`, and returns the status. */
export function get(path, host, body, of = service) {
  return new Promise((resolve, reject) => {
    const options = { method: body === undefined ? 'GET' : 'POST', headers: host ? { host } : {} };
    const request = send(of + path, options, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** Returns the bytes that the host sends for a file to a browser, whose encoding it chooses. */
export function sentBytes(path) {
  return new Promise((resolve, reject) => {
    const request = send(origin + path, { headers: { 'accept-encoding': 'gzip, deflate, br, zstd' } }, (response) => {
      let bytes = 0;
      response.on('data', (chunk) => (bytes += chunk.length));
      response.on('end', () => (response.statusCode === 200 ? resolve(bytes) : reject(new Error(`${path} is missing`))));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end();
  });
}

/** One round of traffic: mostly well, with a failure of each kind. */
const ROUND = [
  ...Array(6).fill(['/']),
  ...Array(6).fill(['/cart']),
  ...Array(6).fill(['/checkout?item=apple']),
  ['/checkout?item=pear'],
  ['/checkout?item=unicorn'],
  ['/slow?ms=120'],
  ['/boom'],
  ['/carts/7', 'carts.localhost'],
  ['/carts/error', 'carts.localhost'],
  ['/carts/panic', 'carts.localhost'],
];

/** Traffic until it is stopped. */
export class Traffic {
  #isStopped = false;
  #done = this.#run();

  async #run() {
    while (!this.#isStopped) {
      for (const [path, host] of ROUND) await get(path, host);
    }
  }

  async stop() {
    this.#isStopped = true;
    await this.#done;
  }
}

/**
 * Reads `/metrics`.
 * @returns {Promise<{ name: string, labels: Record<string, string>, value: number }[]>}
 */
export async function scrape() {
  const text = await (await fetch(`${origin}/metrics`)).text();
  const samples = [];
  for (const line of text.split('\n')) {
    const [, name, pairs = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined) continue;
    const labels = {};
    for (const [, key, text] of pairs.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[key] = text.replaceAll(/\\(.)/g, (_, char) => (char === 'n' ? '\n' : char));
    }
    samples.push({ name, labels, value: Number(value.replace('Inf', 'Infinity')) });
  }
  return samples;
}

/** Returns the sum of the samples of a name by the value of a label, or of all by `''`. */
export function sums(samples, name, label, filter = {}) {
  const found = {};
  for (const sample of samples) {
    if (sample.name !== name) continue;
    if (Object.entries(filter).some(([key, value]) => (sample.labels[key] ?? '') !== value)) continue;
    const value = label === '' ? '' : (sample.labels[label] ?? '');
    found[value] = (found[value] ?? 0) + sample.value;
  }
  return found;
}

/** Reads an answer of the API. */
export async function read(path, of = origin) {
  return (await fetch(`${of}/api/v1/${path}`)).json();
}

/** Returns the time of the console's last snapshot. */
export async function lastSnapshot() {
  return (await read('status')).snapshots.last ?? 0;
}
