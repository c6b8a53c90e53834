/** The npm package as its users get it: packed, installed in a project of theirs, and used there. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { WASM, sum, value } from './guest.js';
import { free, get, start } from './program.js';

const run = promisify(execFile);
const path = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));
const wasm = fileURLToPath(new URL('storefront.wasm', WASM));

/** @type {string} */
let project;
/** @type {{ filename: string, files: { path: string, size: number }[] }} */
let packed;

before(async () => {
  project = await mkdtemp(join(tmpdir(), 'wasmetry-node-'));
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', project], { cwd: path('..') });
  [packed] = Object.values(JSON.parse(stdout));
  await writeFile(join(project, 'package.json'), JSON.stringify({ name: 'project', private: true, type: 'module' }));
  await run('npm', ['install', '--offline', '--no-audit', '--no-fund', `./${packed.filename}`], { cwd: project });
});

after(() => rm(project, { recursive: true }));

test('the package has what it needs and nothing else', async () => {
  const files = packed.files.map((file) => file.path).sort();
  const sources = ['component', 'core', 'endpoint', 'error', 'index', 'instance', 'metric', 'process', 'region', 'registry', 'trap'];
  const expected = [
    'README.md',
    'dist/LICENSE-APACHE',
    'dist/LICENSE-MIT',
    'dist/core.wasm',
    'package.json',
    ...sources.flatMap((name) => [`src/${name}.js`, `dist/${name}.d.ts`]),
  ];
  assert.deepEqual(files, expected.sort());
  const { dependencies } = JSON.parse(await readFile(path('../package.json'), 'utf8'));
  assert.equal(dependencies, undefined, 'it depends on nothing');
});

test('it works where it is installed', async () => {
  const script = `
    import { readFileSync } from 'node:fs';
    import { Registry } from '@wasmetry/node';
    const registry = await Registry.create();
    registry.component({ name: 'shop', wasm: readFileSync(process.argv[2]) });
    process.stdout.write(registry.metrics('openmetrics'));`;
  await writeFile(join(project, 'script.js'), script);
  const { stdout, stderr } = await run(process.execPath, ['script.js', wasm], { cwd: project });
  assert.equal(stderr, '');
  assert.equal(value(stdout.replace('# EOF\n', ''), 'http_requests_total', { method: 'GET', route: '/cart' }), 0);
  assert.ok(stdout.endsWith('# EOF\n'));
});

test('its types are strict, and fit what jco makes', async () => {
  await writeFile(join(project, 'usage.ts'), await readFile(path('usage.ts')));
  const options = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--module', 'nodenext', '--target', 'es2022'];
  const types = ['--lib', 'es2022,esnext.disposable,dom', '--types', 'node', '--typeRoots', path('../node_modules/@types')];
  const tsc = path('../node_modules/.bin/tsc');
  const { stdout } = await run(tsc, [...options, ...types, 'usage.ts'], { cwd: project }).catch((error) => error);
  assert.equal(stdout, '');
});

test('jco serve shows what a component sends, by a mapping and an import', async (t) => {
  const setup = `
    import { readFileSync } from 'node:fs';
    import { createServer } from 'node:http';
    import { observe, registry } from '@wasmetry/node/region';
    observe({ name: 'shop', wasm: readFileSync(${JSON.stringify(wasm)}) });
    const server = createServer(registry.handler());
    server.listen(0, '127.0.0.1', () => console.error('telemetry http://127.0.0.1:' + server.address().port));`;
  await writeFile(join(project, 'telemetry.js'), setup);
  const port = String(await free());
  const jco = path('../node_modules/@bytecodealliance/jco/dist/jco.js');
  const mapping = ['--jco-map', 'wasmetry:telemetry/region=@wasmetry/node/region', '--jco-import', 'telemetry.js'];
  const [service, telemetry] = await start(
    t,
    [jco, 'serve', wasm, '--host', '127.0.0.1', '--port', port, '--jco-dir', 'out', ...mapping],
    [/Server listening @ (\S+?)\.\.\./, /telemetry (http:\/\/\S+)/],
    project,
  );
  for (let n = 0; n < 5; n += 1) {
    assert.equal((await get(`http://${service}/cart`)).status, 200);
  }
  const { text } = await get(`${telemetry}/metrics`);
  assert.equal(value(text, 'http_requests_total', { component: 'shop', method: 'GET', route: '/cart' }), 5);
  assert.equal(sum(text, 'http_requests_total'), 5);
  assert.equal(value(text, 'wasm_instances'), 1);
});
