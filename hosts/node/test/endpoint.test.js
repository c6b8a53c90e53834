/** The telemetry endpoint, on Node's own server. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';

import { Registry } from '@wasmetry/node';

import { Recorder, value } from './guest.js';

const TEXT = 'text/plain; version=0.0.4; charset=utf-8';
const OPENMETRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

/**
 * Serves a registry; returns a function that sends a request to it.
 *
 * @param {import('node:test').TestContext} t @param {(request: import('node:http').IncomingMessage,
 * response: import('node:http').ServerResponse) => void} handler
 */
async function serve(t, handler) {
  const server = createServer(handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return async (path, { method = 'GET', headers = {} } = {}) => {
    const sent = request({ host: '127.0.0.1', port, path, method, headers, agent: false }).end();
    const [response] = await once(sent, 'response');
    const chunks = [];
    for await (const chunk of response) {
      chunks.push(chunk);
    }
    return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) };
  };
}

async function recorded() {
  const registry = await Registry.create();
  await (await Recorder.create(registry, 'read')).run((guest) => guest.count(5n));
  return registry;
}

test('accept header chooses the format', async (t) => {
  const get = await serve(t, (await recorded()).handler());
  const cases = [
    [undefined, TEXT],
    ['', TEXT],
    ['*/*', TEXT],
    ['nonsense', TEXT],
    ['application/json', TEXT],
    ['\u00ff', TEXT],
    ['application/openmetrics-text', OPENMETRICS],
    ['application/openmetrics-text;version=2.0.0', TEXT],
    ['application/openmetrics-text;q=0.5, text/plain', TEXT],
    // Prometheus 2.42 and 3.
    ['application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1', OPENMETRICS],
    ['application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1', `${OPENMETRICS}; escaping=allow-utf-8`],
    ['text/plain;version=1.0.0;escaping=dots', `${TEXT.replace('0.0.4', '1.0.0')}; escaping=dots`],
    ['text/plain;version=0.0.4;escaping=unknown', TEXT],
  ];
  for (const [accept, expected] of cases) {
    const { status, headers, body } = await get('/metrics', { headers: accept === undefined ? {} : { accept } });
    assert.deepEqual([status, headers['content-type']], [200, expected], accept);
    assert.equal(body.toString().endsWith('# EOF\n'), expected.startsWith(OPENMETRICS));
    assert.equal(value(body.toString().replace('# EOF\n', ''), 'counted_total'), 5);
    assert.equal(headers['cache-control'], 'no-store');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers.vary, 'Accept, Accept-Encoding');
    assert.equal(headers['content-length'], String(body.length));
  }
});

test('accept-encoding header chooses compression', async (t) => {
  const registry = await recorded();
  const get = await serve(t, registry.handler());
  for (const encoding of ['gzip', 'GZIP', 'br, gzip;q=0.1', '*', 'identity;q=0.5, *;q=0.2', 'x-gzip']) {
    const { headers, body } = await get('/metrics', { headers: { 'accept-encoding': encoding } });
    assert.equal(headers['content-encoding'], 'gzip', encoding);
    assert.equal(headers['content-length'], String(body.length));
    assert.equal(value(gunzipSync(body).toString(), 'counted_total'), 5);
  }
  for (const encoding of ['', 'br', 'identity', 'gzip;q=0', 'gzip; q=0.0, *', '*;q=0', 'xgzip']) {
    const { headers, body } = await get('/metrics', { headers: { 'accept-encoding': encoding } });
    assert.equal(headers['content-encoding'], undefined, encoding);
    assert.equal(value(body.toString(), 'counted_total'), 5);
  }
  // A body that fits into one packet is not compressed.
  const small = await serve(t, (await Registry.create({ process: false })).handler());
  const { headers } = await small('/metrics', { headers: { 'accept-encoding': 'gzip' } });
  assert.equal(headers['content-encoding'], undefined);
});

test('other paths and methods are refused', async (t) => {
  const get = await serve(t, (await recorded()).handler());
  for (const path of ['/', '/metric', '/metrics/', '/metrics2', '//metrics', '/?/metrics']) {
    const { status, body } = await get(path);
    assert.deepEqual([status, body.toString()], [404, 'there is nothing here; the path is /metrics\n'], path);
  }
  assert.equal((await get('/metrics?x=1')).status, 200);
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    const { status, headers } = await get('/metrics', { method });
    assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'], method);
  }
  const head = await get('/metrics', { method: 'HEAD' });
  assert.deepEqual([head.status, head.headers['content-type'], head.body.length], [200, TEXT, 0]);
  assert.ok(Number(head.headers['content-length']) > 1000);
});

test('path option changes the path', async (t) => {
  const registry = await recorded();
  const get = await serve(t, registry.handler({ path: '/telemetry' }));
  assert.equal((await get('/metrics')).status, 404);
  assert.equal((await get('/telemetry')).status, 200);
  const any = await serve(t, registry.handler({ path: null }));
  assert.equal((await any('/whatever')).status, 200);
});

// The next scrape works.
// RFC 9112: a proxy's request has the absolute form, and every server accepts it.
test('absolute-form target is answered', async (t) => {
  const get = await serve(t, (await recorded()).handler());
  for (const path of ['http://example.org/metrics', 'HTTPS://example.org:9464/metrics?x=/y']) {
    assert.equal((await get(path)).status, 200, path);
  }
  for (const path of ['http://example.org', 'http://example.org/', 'http://example.org/x/metrics', 'ftp://a/metrics']) {
    assert.equal((await get(path)).status, 404, path);
  }
});

// Such as a router's time limit. An error here would be an unhandled rejection, which ends the
// process. This one ends by itself when all is done, the compression of late answers too.
test('response of other code is kept', async () => {
  const script = `
    import { createServer, get } from 'node:http';
    import { Registry } from '@wasmetry/node';
    const handler = (await Registry.create()).handler();
    const { cpuUsage } = process;
    const ways = {
      ended: (response) => response.writeHead(503).end('late'),
      begun: (response) => response.writeHead(503).write('late') && setImmediate(() => response.end()),
      destroyed: (response) => response.destroy(),
      failing: (response) => response.writeHead(503).end('late'),
    };
    const server = createServer((request, response) => {
      const { way } = request.headers;
      // The source of metrics, which throws in one case.
      process.cpuUsage = way === 'failing' ? undefined : cpuUsage;
      handler(request, response);
      ways[way](response);
    });
    server.listen(0, '127.0.0.1', async () => {
      const { port } = server.address();
      for (const way of Object.keys(ways)) {
        const headers = { way, 'accept-encoding': 'gzip' };
        await new Promise((resolve) => {
          get({ host: '127.0.0.1', port, path: '/metrics', headers, agent: false }, (response) => {
            console.log(way, response.statusCode);
            response.on('data', (chunk) => console.log(String(chunk))).on('end', resolve);
          }).on('error', (error) => resolve(console.log(way, error.code)));
        });
      }
      server.close();
    });`;
  const folder = fileURLToPath(new URL('..', import.meta.url));
  const parameters = ['--no-warnings', '--input-type=module', '--eval', script];
  const { stdout } = await promisify(execFile)(process.execPath, parameters, { cwd: folder });
  const expected = 'ended 503\nlate\nbegun 503\nlate\ndestroyed ECONNRESET\nfailing 503\nlate\n';
  assert.equal(stdout, expected);
});

test('failed scrape is answered with 500', async (t) => {
  const registry = await recorded();
  const get = await serve(t, registry.handler());
  const broken = t.mock.method(process, 'cpuUsage', () => {
    throw new Error('no clock');
  });
  const warned = once(process, 'warning');
  const { status, body } = await get('/metrics');
  assert.deepEqual([status, body.toString()], [500, 'the telemetry source failed; the process\'s stderr has the reason\n']);
  assert.match((await warned)[0].message, /no clock/);
  broken.mock.restore();
  assert.equal((await get('/metrics')).status, 200);
});

test('concurrent scrapes are all answered', async (t) => {
  const get = await serve(t, (await recorded()).handler());
  const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => get('/metrics', { headers: n % 2 ? { 'accept-encoding': 'gzip' } : {} })));
  for (const { status, headers, body } of answers) {
    assert.equal(status, 200);
    assert.equal(value((headers['content-encoding'] ? gunzipSync(body) : body).toString(), 'counted_total'), 5);
  }
});
