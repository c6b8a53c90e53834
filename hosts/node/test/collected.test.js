/** Instances that their host forgets to end. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { Registry } from '@wasmetry/node';

import { Recorder, WAYS, value } from './guest.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc');

/** Collects garbage until something is so; finalizers run when the event loop turns. */
async function until(is) {
  const end = performance.now() + 60_000;
  while (!is()) {
    assert.ok(performance.now() < end, 'the collector does not find it');
    collectGarbage();
    await setImmediate();
  }
}

for (const way of WAYS) {
  test(`${way}: an instance that is dropped is ended when it is collected`, async () => {
    const registry = await Registry.create();
    const recorder = await Recorder.create(registry, way);
    // In functions of their own, so that nothing of them stays on the stack.
    const forget = async () => {
      const { guest } = await recorder.instance();
      guest.count(5n);
      guest.publish();
      guest.count(1n);
    };
    const kept = await recorder.instance();
    await forget();
    await forget();
    assert.equal(value(registry.metrics(), 'wasm_instances'), 3);
    await until(() => value(registry.metrics(), 'wasm_instances') === 1);
    // Each call is a request, so that all of it was sent.
    assert.equal(value(registry.metrics(), 'counted_total'), 12);
    kept.guest.count(1n);
    kept.guest.publish();
    kept.instance.end();
    assert.equal(value(registry.metrics(), 'counted_total'), 13);
    assert.equal(value(registry.metrics(), 'wasm_instances'), 0);
  });

  test(`${way}: an instance lives as long as its guest does`, async () => {
    const registry = await Registry.create();
    const recorder = await Recorder.create(registry, way);
    const { guest } = await recorder.instance();
    const forgotten = await Recorder.create(registry, way, 'forgotten');
    await (async () => void (await forgotten.instance()))();
    await until(() => value(registry.metrics(), 'wasm_instances', { component: 'forgotten' }) === 0);
    guest.count(3n);
    guest.publish();
    assert.equal(value(registry.metrics(), 'counted_total', { component: 'recorder' }), 3);
    assert.equal(value(registry.metrics(), 'wasm_instances', { component: 'recorder' }), 1);
  });
}

test('an instance ends with `using`', async () => {
  const registry = await Registry.create();
  const recorder = await Recorder.create(registry, 'read');
  const { instance, guest } = await recorder.instance();
  guest.count(2n);
  // What `using` compiles to.
  instance[Symbol.dispose]();
  assert.equal(value(registry.metrics(), 'wasm_instances'), 0);
  assert.equal(value(registry.metrics(), 'counted_total'), 2);
});
