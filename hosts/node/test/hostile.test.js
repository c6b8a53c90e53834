/** Guests that call the functions of `wasmetry:telemetry/region` with anything. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Registry } from '@wasmetry/node';

import { Recorder, WAYS, binary, dropped, value } from './guest.js';

/** A registry with one component, and an instance of it whose only guest is the test. */
async function forged() {
  const registry = await Registry.create({ process: false });
  const component = registry.component({ name: 'recorder', wasm: await binary('recorder') });
  return { registry, component, instance: component.instance() };
}

/** Returns the batches of a real guest that runs `record` and then publishes. */
async function batches(record) {
  const recorder = await Recorder.create(await Registry.create(), 'pushed');
  const sent = [];
  const watched = recorder.component.instance();
  const { flush } = watched.region;
  watched.region.flush = (batch) => {
    sent.push(batch.slice());
    return flush(batch);
  };
  recorder.component = { instance: () => watched };
  const { guest } = await recorder.instance();
  record(guest);
  guest.publish();
  return sent;
}

const count = (guest) => guest.count(5n);

test('batches of two regions sum', async () => {
  const { registry, instance } = await forged();
  const [first, second] = [instance.region.open(1), instance.region.open(1)];
  assert.deepEqual([first.collection, first.region, second.collection, second.region], ['pushed', 1, 'pushed', 2]);
  const [batch] = await batches(count);
  for (const { region } of [first, second]) {
    const own = batch.slice();
    new DataView(own.buffer).setUint32(8, region, true);
    assert.equal(instance.region.flush(own).collection, 'pushed');
  }
  assert.equal(value(registry.metrics(), 'counted_total'), 10);
  instance.end();
  assert.equal(value(registry.metrics(), 'counted_total'), 10);
  assert.deepEqual(dropped(registry.metrics()), {});
});

// They change no other number.
test('repeated and lost batches are counted', async () => {
  const { registry, instance } = await forged();
  instance.region.open(1);
  const [batch] = await batches(count);
  instance.region.flush(batch);
  instance.region.flush(batch);
  const later = batch.slice();
  new DataView(later.buffer).setBigUint64(16, 3n, true);
  instance.region.flush(later);
  assert.equal(value(registry.metrics(), 'counted_total'), 5);
  assert.deepEqual(dropped(registry.metrics()), { batch_repeated: 1, batch_lost: 2 });
});

test('unknown format version is refused', async () => {
  const { registry, instance } = await forged();
  for (const abi of [0, 2, 0xffff_ffff, NaN, -1, undefined, 'x']) {
    assert.equal(instance.region.open(abi).collection, 'off');
  }
  assert.deepEqual(dropped(registry.metrics()), { format_version: 7 });
});

test('regions of an instance are limited', async () => {
  const { registry, instance } = await forged();
  const answers = Array.from({ length: 20 }, () => instance.region.open(1));
  assert.deepEqual(
    answers.map(({ collection, region }) => (collection === 'pushed' ? region : collection)),
    [1, 2, 3, 4, 5, 6, 7, 8, ...Array(12).fill('off')],
  );
  assert.deepEqual(dropped(registry.metrics()), { region_limit: 12 });
});

// None of them makes the host throw.
test('invalid batches are counted', async () => {
  const { registry, instance } = await forged();
  instance.region.open(1);
  const [good] = await batches(count);
  const bytes = [new Uint8Array(), new Uint8Array(48), new Uint8Array(9 << 20), new Uint8Array(1 << 30), good.subarray(1)];
  // jco passes bytes only; a user's own module may pass anything.
  const none = [...bytes, undefined, null, 7, 'text', {}, { length: 1e12 }, { length: -1 }, []];
  for (const batch of none) {
    assert.equal(instance.region.flush(batch).collection, 'pushed');
  }
  assert.deepEqual(dropped(registry.metrics()), { batch: none.length });
  instance.region.attach(undefined, undefined, undefined);
  instance.region.attach(good, 2n ** 64n - 1n, -1n);
  assert.equal(instance.region.refresh().collection, 'pushed');
  // It still works.
  instance.region.flush(good);
  assert.equal(value(registry.metrics(), 'counted_total'), 5);
});

// The host does not throw, and the numbers of other components stay right.
test('mutated batches harm no other component', async () => {
  const { registry, component } = await forged();
  const healthy = await Recorder.create(registry, 'pushed', 'healthy');
  const [good] = await batches((guest) => {
    count(guest);
    guest.label('apple', 3n);
    guest.setGauges(2.5);
    guest.observeSeconds(0.5);
    guest.observeSize(0.5);
  });
  let state = 1n;
  const random = (below) => {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    return Number(state >> 33n) % below;
  };
  const words = [0n, 1n, 8n, 64n, 2n ** 31n, 2n ** 32n - 8n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 64n - 8n];
  for (let round = 0; round < 3000; round += 1) {
    const instance = component.instance();
    instance.region.open(1);
    const batch = good.slice(0, random(4) === 0 ? 8 * random(good.length / 8) : good.length);
    const view = new DataView(batch.buffer);
    for (let changes = random(4); changes >= 0 && batch.length >= 8; changes -= 1) {
      if (random(2) === 0) {
        view.setBigUint64(8 * random(batch.length / 8), words[random(words.length)], true);
      } else {
        batch[random(batch.length)] ^= 1 << random(8);
      }
    }
    assert.notEqual(instance.region.flush(batch).collection, 'off');
    instance.region.flush(good);
    instance.end();
    if (round % 100 === 0) {
      await healthy.run(count);
    }
  }
  const text = registry.metrics();
  assert.equal(value(text, 'counted_total', { component: 'healthy' }), 150);
  assert.equal(value(text, 'wasm_instances', { component: 'recorder' }), 0);
  assert.ok(dropped(text).batch > 0);
});

for (const way of WAYS) {
  // A guest that goes on is neither counted nor disturbed.
  test(`${way}: ended instance ignores its guest`, async () => {
    const registry = await Registry.create();
    const recorder = await Recorder.create(registry, way);
    const { instance, guest } = await recorder.instance();
    guest.count(1n);
    guest.publish();
    instance.end();
    guest.count(1n);
    guest.publish();
    assert.equal(instance.region.refresh().collection, 'off');
    assert.equal(instance.region.open(1).collection, 'off');
    assert.throws(() => instance.call(guest.count, 1n), { name: 'WasmetryError', message: /has ended; make another one/ });
    assert.equal(value(registry.metrics(), 'counted_total'), 1);
    assert.deepEqual(dropped(registry.metrics()), {});
  });

  // Nothing names its component.
  test(`${way}: batch without region is counted`, async () => {
    const { registry, instance } = await forged();
    const [batch] = await batches(count);
    instance.region.flush(batch);
    assert.deepEqual(dropped(registry.metrics()), { batch: 1 });
  });
}

// A guest whose memory is read may attach any address.
test('wrong header addresses are counted', async () => {
  const registry = await Registry.create();
  const recorder = await Recorder.create(registry, 'read');
  const { instance, guest } = await recorder.instance();
  guest.count(5n);
  for (const header of [0n, 7n, 2n ** 32n - 8n, 2n ** 64n - 8n, -1n, 1024]) {
    instance.region.attach(new Uint8Array(), 0n, header);
  }
  assert.equal(value(registry.metrics(), 'counted_total'), 5);
  instance.end();
  assert.equal(value(registry.metrics(), 'counted_total'), 5);
  assert.deepEqual(dropped(registry.metrics()), { header: 6 });
});

test('failed core leaves guests running', async (t) => {
  const Original = WebAssembly.Instance;
  // No guest can make the core fail, so the test does.
  t.mock.method(WebAssembly, 'Instance', function (module, imports) {
    const { exports } = new Original(module, imports);
    const push_batch = () => {
      throw new WebAssembly.RuntimeError('unreachable');
    };
    return { exports: 'push_batch' in exports ? { ...exports, push_batch } : exports };
  });
  const registry = await Registry.create();
  t.mock.restoreAll();
  const recorder = await Recorder.create(registry, 'pushed');
  const { instance, guest } = await recorder.instance();
  guest.count(1n);
  const warned = new Promise((resolve) => process.once('warning', resolve));
  guest.publish();
  assert.match((await warned).message, /core of the registry has failed/);
  guest.count(1n);
  guest.publish();
  instance.end();
  assert.throws(() => registry.metrics(), { name: 'WasmetryError', message: /make a new registry/ });
});
