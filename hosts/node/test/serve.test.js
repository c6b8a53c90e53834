/** The storefront, served by the example. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { GUESTS, WASM, value } from './guest.js';
import { get, start } from './program.js';

/**
 * @param {string} name
 * @param {string} [base]
 */
const path = (name, base = import.meta.url) => fileURLToPath(new URL(name, base));

test('example serves and counts traps', async (t) => {
  const script = path('storefront/storefront.js', GUESTS.href);
  const [service, telemetry] = await start(
    t,
    [path('../example/serve.js'), script, path('storefront.wasm', WASM.href)],
    [/serving (http:\/\/\S+)/, /telemetry (http:\/\/\S+)\/metrics/],
  );
  const requests = { '/': 7, '/cart': 3, '/checkout?item=pear': 2, '/nowhere': 1, '/boom': 4 };
  const statuses = { '/nowhere': 404, '/boom': 500 };
  for (const [page, count] of Object.entries(requests)) {
    for (let n = 0; n < count; n += 1) {
      assert.equal((await get(service + page)).status, statuses[page] ?? 200, page);
    }
  }
  const { status, text } = await get(`${telemetry}/metrics`);
  assert.equal(status, 200);
  const of = (route) => value(text, 'http_requests_total', { component: 'storefront', method: 'GET', route });
  assert.deepEqual(['/', '/cart', '/checkout', 'other', '/boom'].map(of), [7, 3, 2, 1, 4]);
  assert.equal(value(text, 'items_sold_total', { item: 'pear' }), 2);
  assert.equal(value(text, 'http_request_duration_seconds_count', { route: '/cart' }), 3);
  assert.equal(value(text, 'wasm_traps_total', { reason: 'unreachable' }), 4);
  assert.equal(value(text, 'wasm_instance_starts_total'), 17);
  assert.equal(value(text, 'wasm_instances'), 0);
  assert.ok(value(text, 'process_resident_memory_bytes') > 1 << 20);
  assert.ok(value(text, 'process_cpu_seconds_total') > 0);
});
