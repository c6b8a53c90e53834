/** A component whose imports are modules: `jco transpile --map`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { observe, open, registry } from '@wasmetry/node/region';

import { GUESTS, binary, dropped, value } from './guest.js';

// jco maps the component's imports to the module `@wasmetry/node/region`.
test('mapped imports collect a component', async () => {
  const wasm = await binary('recorder');
  const instance = observe({ name: 'mapped', version: '1', wasm });
  const guest = await import(new URL('mapped/recorder.js', GUESTS).href);
  for (let n = 1; n <= 10; n += 1) {
    instance.call(guest.count, BigInt(n));
    guest.label('apple', 1n);
    guest.publish();
    assert.equal(value(registry.metrics(), 'counted_total', { component: 'mapped', version: '1' }), (n * (n + 1)) / 2);
  }
  assert.throws(() => instance.call(guest.trap, 1000n), WebAssembly.RuntimeError);
  const text = registry.metrics();
  // The guest sends a last batch in its panic hook.
  assert.equal(value(text, 'counted_total'), 55 + 1000);
  assert.equal(value(text, 'labelled_total', { value: 'apple' }), 10);
  assert.equal(value(text, 'wasm_traps_total', { reason: 'unreachable' }), 1);
  assert.equal(value(text, 'wasm_instances'), 1);
  assert.deepEqual(dropped(text), {});

  // Another component takes the module's place.
  observe({ name: 'next', wasm });
  assert.equal(open(1).collection, 'pushed');
  const after = registry.metrics();
  assert.equal(value(after, 'wasm_instances', { component: 'mapped' }), 0);
  assert.equal(value(after, 'wasm_instances', { component: 'next' }), 1);
});
