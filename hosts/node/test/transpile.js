/** Transpiles the guests of the tests into `test/guests`, by jco's own command. */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { GUESTS, WASM } from './guest.js';

const JCO = fileURLToPath(new URL('../node_modules/.bin/jco', import.meta.url));

/** @type {[string, string, string[]][]} The output's folder, the guest and the arguments. */
const OUTPUTS = [
  ['recorder', 'recorder', ['--instantiation', 'async']],
  ['mapped', 'recorder', ['--map', 'wasmetry:telemetry/region=@wasmetry/node/region']],
  ['storefront', 'storefront', ['--instantiation', 'sync']],
];

const lock = await readFile(new URL('../package-lock.json', import.meta.url), 'utf8');

for (const [folder, name, options] of OUTPUTS) {
  const output = fileURLToPath(new URL(`${folder}/`, GUESTS));
  const wasm = fileURLToPath(new URL(`${name}.wasm`, WASM));
  const parameters = ['transpile', wasm, '--name', name, '--out-dir', output, '--quiet', ...options];
  // A hash of the inputs, so that a change of one rebuilds the output.
  const hash = createHash('sha256').update(lock).update(parameters.join(' ')).update(await readFile(wasm)).digest('hex');
  const stamp = new URL(`${folder}/.made-of`, GUESTS);
  if ((await readFile(stamp, 'utf8').catch(() => '')) !== hash) {
    await mkdir(output, { recursive: true });
    await promisify(execFile)(JCO, parameters);
    await writeFile(stamp, hash);
  }
}
