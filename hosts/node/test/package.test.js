/** The npm package as its users get it: packed, installed in a project, and used there. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import { nodeResolve } from '@rollup/plugin-node-resolve';
import { Registry } from '@wasmetry/node';
import { build as esbuild } from 'esbuild';
import { rolldown } from 'rolldown';
import { rollup } from 'rollup';

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

test('package has exactly the expected files', async () => {
  const files = packed.files.map((file) => file.path).sort();
  const sources = ['component', 'core', 'endpoint', 'error', 'index', 'instance', 'metric', 'process', 'region', 'registry', 'trap'];
  const expected = [
    'README.md',
    'dist/LICENSE-APACHE',
    'dist/LICENSE-MIT',
    'dist/core-bytes.d.ts',
    'dist/core-bytes.js',
    'dist/core.wasm',
    'package.json',
    ...sources.flatMap((name) => [`src/${name}.js`, `dist/${name}.d.ts`]),
  ];
  assert.deepEqual(files, expected.sort());
  const { dependencies } = JSON.parse(await readFile(path('../package.json'), 'utf8'));
  assert.equal(dependencies, undefined, 'it depends on nothing');
});

test('installed package works', async () => {
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

test('strict types fit jco\'s output', async () => {
  assert.equal(await checkTypes('typescript', 'usage.ts', 'es2022,esnext.disposable,dom'), '');
  assert.equal(await checkTypes('typescript-5.4', 'usage.ts', 'es2022,dom'), '');
});

// A server's project has no `lib.dom`, where TypeScript has the types of WebAssembly.
test('types need no `lib.dom`', async () => {
  for (const typescript of ['typescript', 'typescript-5.4']) {
    assert.equal(await checkTypes(typescript, 'usage-without-dom.ts', 'es2022'), '', typescript);
  }
});

/**
 * Checks a file with a release of TypeScript; returns the errors.
 *
 * @param {string} typescript
 * @param {string} file
 * @param {string} lib
 */
async function checkTypes(typescript, file, lib) {
  await writeFile(join(project, file), await readFile(path(file)));
  const options = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--module', 'nodenext', '--target', 'es2022'];
  const types = ['--lib', lib, '--types', 'node', '--typeRoots', path('../node_modules/@types')];
  const tsc = path(`../node_modules/${typescript}/bin/tsc`);
  const { stdout } = await run(process.execPath, [tsc, ...options, ...types, file], { cwd: project }).catch((error) => error);
  return stdout;
}

/** The bundlers: each makes one file in a format, with all of the package in it. */
const BUNDLERS = {
  async esbuild(input, file, format) {
    await esbuild({ entryPoints: [input], outfile: file, format, bundle: true, platform: 'node', logLevel: 'error' });
  },
  async rollup(input, file, format) {
    const onwarn = ({ message }) => assert.fail(message);
    const bundle = await rollup({ input, plugins: [nodeResolve()], external: /^node:/, onwarn });
    await bundle.write({ file, format, inlineDynamicImports: true });
    await bundle.close();
  },
  async rolldown(input, file, format) {
    const bundle = await rolldown({ input, platform: 'node', logLevel: 'silent' });
    await bundle.write({ file, format, codeSplitting: false });
    await bundle.close();
  },
};

// A bundle has no file of the package beside it, and no URL of its own in the format of CommonJS.
for (const [name, bundle] of Object.entries(BUNDLERS)) {
  for (const [format, extension] of [['esm', 'mjs'], ['cjs', 'cjs']]) {
    test(`${name} bundles into ${format}`, async () => {
      const input = join(project, 'bundled.js');
      const script = `
        import { Registry } from '@wasmetry/node';
        import { open, registry } from '@wasmetry/node/region';
        Registry.create({ process: false }).then((own) => {
          own.counter('jobs_total', 'Jobs.').inc();
          open(0);
          process.stdout.write(own.metrics() + registry.metrics());
        });`;
      await writeFile(input, script);
      const folder = await mkdtemp(join(tmpdir(), 'wasmetry-bundle-'));
      try {
        const output = join(folder, `bundle.${extension}`);
        await bundle(input, output, format);
        const { stdout } = await run(process.execPath, ['--no-warnings', output], { cwd: folder });
        assert.equal(value(stdout, 'jobs_total'), 1);
      } finally {
        await rm(folder, { recursive: true });
      }
    });
  }
}

// A bundler may leave the core out, and a program may load it from anywhere.
test('core can be given', async (t) => {
  const file = join(project, 'node_modules/@wasmetry/node/dist/core.wasm');
  const bytes = await readFile(file);
  const server = createServer((request, response) => {
    response.statusCode = request.url === '/core.wasm' ? 200 : 404;
    response.end(bytes);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const url = (/** @type {string} */ name) => new URL(`http://127.0.0.1:${port}/${name}`);
  const exact = Uint8Array.from(bytes).buffer;
  for (const core of [bytes, exact, await WebAssembly.compile(bytes), pathToFileURL(file), url('core.wasm')]) {
    const registry = await Registry.create({ core, process: false });
    registry.counter('jobs_total', 'Jobs.').inc();
    assert.equal(value(registry.metrics(), 'jobs_total'), 1);
  }
  const create = (/** @type {any} */ core) => () => Registry.create({ core });
  await assert.rejects(create('core.wasm'), { name: 'TypeError', message: /`core` is no Uint8Array/ });
  await assert.rejects(create(bytes.subarray(0, 100)), { name: 'WasmetryError', message: /core cannot be loaded: / });
  await assert.rejects(create(url('gone.wasm')), { message: /cannot be loaded from http:.*status 404/ });
  await assert.rejects(create(pathToFileURL('/gone.wasm')), { message: /cannot be loaded from file:.*ENOENT/ });
  const other = { name: 'WasmetryError', message: /give the bytes of `@wasmetry\/node\/core.wasm`/ };
  await assert.rejects(create(await readFile(new URL('bare.wasm', WASM))), other);
  const importing = Uint8Array.from([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 2, 7, 1, 1, 0x61, 1, 0x62, 0, 0,
  ]);
  await assert.rejects(create(importing), other);
});

test('jco serve exports mapped metrics', async (t) => {
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
