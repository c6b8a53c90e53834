/** Instances without a call of `end`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { Registry } from '@wasmetry/node';

import { Recorder, WAYS, binary, sum, value } from './guest.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc');

/** Collects garbage until a condition holds; finalizers run between turns of the event loop. */
async function until(is) {
  const end = performance.now() + 60_000;
  while (!is()) {
    assert.ok(performance.now() < end, 'the garbage collector does not find it');
    collectGarbage();
    await setImmediate();
  }
}

for (const way of WAYS) {
  test(`${way}: dropped instance ends when collected`, async () => {
    const registry = await Registry.create();
    const recorder = await Recorder.create(registry, way);
    // In a function of its own, so that the stack keeps no reference.
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
    // Each call is a request, so all of it was sent.
    assert.equal(value(registry.metrics(), 'counted_total'), 12);
    kept.guest.count(1n);
    kept.guest.publish();
    kept.instance.end();
    assert.equal(value(registry.metrics(), 'counted_total'), 13);
    assert.equal(value(registry.metrics(), 'wasm_instances'), 0);
  });

  test(`${way}: guest keeps its instance alive`, async () => {
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

// A program may keep one function of a module's guest and nothing else.
test('attached guest keeps its instance alive', async () => {
  const registry = await Registry.create({ process: false });
  const module = await WebAssembly.compile(await binary('bare'));
  const attach = async (/** @type {string} */ name) => {
    const guest = await WebAssembly.instantiate(module);
    registry.component({ name, wasm: module }).attachModule(guest);
    return guest.exports.look;
  };
  const seen = (component) => sum(registry.metrics(), 'numbers_seen_total', { component });
  const alive = (component) => value(registry.metrics(), 'wasm_instances', { component });
  const look = await attach('kept');
  await (async () => (await attach('forgotten'))(1))();
  look(1);
  assert.equal(seen('kept'), 1);
  await until(() => alive('forgotten') === 0);
  assert.equal(seen('forgotten'), 1, 'the last read is complete');
  look(2);
  assert.equal(seen('kept'), 2);
  assert.equal(alive('kept'), 1);
});

// Its guest does not import the host's functions, which would keep it alive.
test('core instance keeps its instance alive', async () => {
  const registry = await Registry.create({ process: false });
  const module = await WebAssembly.compile(await binary('bare'));
  const instantiate = async (/** @type {string} */ name) => {
    const instance = registry.component({ name, wasm: module }).instance();
    return instance.instantiateCore(module, {}).exports.look;
  };
  const alive = (component) => value(registry.metrics(), 'wasm_instances', { component });
  const look = await instantiate('kept');
  await (async () => (await instantiate('forgotten'))(1))();
  await until(() => alive('forgotten') === 0);
  look(1);
  assert.equal(alive('kept'), 1);
});

test('`using` ends an instance', async () => {
  const registry = await Registry.create();
  const recorder = await Recorder.create(registry, 'read');
  const { instance, guest } = await recorder.instance();
  guest.count(2n);
  // What `using` compiles to.
  instance[Symbol.dispose]();
  assert.equal(value(registry.metrics(), 'wasm_instances'), 0);
  assert.equal(value(registry.metrics(), 'counted_total'), 2);
});
