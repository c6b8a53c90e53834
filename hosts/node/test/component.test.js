/** A registry's metrics of a real component, collected in both ways. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Script } from 'node:vm';

import { Registry } from '@wasmetry/node';

import { Recorder, WAYS, dropped, sum, value, values } from './guest.js';

for (const way of WAYS) {
  test(`${way}: many instances sum exactly`, async () => {
    const registry = await Registry.create();
    const recorder = await Recorder.create(registry, way);
    let expected = 0;
    for (let n = 1; n <= 200; n += 1) {
      await recorder.run((guest) => {
        guest.count(BigInt(n));
        guest.visit(n % 3, BigInt(n));
        guest.countInline();
        guest.shard(n % 6);
      });
      expected += n;
    }
    const text = registry.metrics();
    assert.equal(value(text, 'counted_total', { component: 'recorder' }), expected);
    assert.equal(value(text, 'inline_total'), 200);
    assert.equal(sum(text, 'visits_total'), expected);
    assert.equal(value(text, 'visits_total', { first: 'true', route: 'cart' }), 1);
    // 4 and 5 are out of range.
    assert.equal(value(text, 'shard_hits_total', { shard: 'overflow' }), 66);
    assert.equal(value(text, 'wasmetry_dropped_total', { reason: 'label_out_of_range' }), 66);
    assert.equal(value(text, 'wasm_instance_starts_total'), 200);
    assert.equal(value(text, 'wasm_instances'), 0);
    assert.deepEqual(dropped(text), {});
  });

  test(`${way}: reused instance counts once`, async () => {
    const registry = await Registry.create();
    const recorder = await Recorder.create(registry, way);
    const { instance, guest } = await recorder.instance();
    for (let n = 1; n <= 50; n += 1) {
      guest.count(1n);
      guest.observeSeconds(0.05);
      guest.observeSize(0.1);
      guest.label('a', 1n);
      guest.publish();
      guest.publish();
      const text = registry.metrics();
      assert.equal(value(text, 'counted_total'), n);
      assert.equal(value(text, 'work_duration_seconds_bucket', { le: '0.1' }), n);
      assert.equal(value(text, 'labelled_total', { value: 'a' }), n);
    }
    assert.equal(value(registry.metrics(), 'wasm_instances'), 1);
    guest.count(7n);
    guest.publish();
    instance.end();
    const text = registry.metrics();
    assert.equal(value(text, 'counted_total'), 57);
    // 0.05 s fifty times, exactly; the other sum has the precision of f64.
    assert.equal(value(text, 'work_duration_seconds_sum'), 2.5);
    assert.ok(Math.abs(value(text, 'work_size_sum') - 5) < 1e-9);
    assert.equal(value(text, 'wasm_instances'), 0);
  });

  test(`${way}: gauges merge by their rules`, async () => {
    const registry = await Registry.create();
    const recorder = await Recorder.create(registry, way);
    assert.deepEqual(values(registry.metrics(), 'level_added'), [], 'a gauge that was not set is not shown');
    const alive = [];
    for (const level of [2, 5, 3]) {
      const { instance, guest } = await recorder.instance();
      guest.setGauges(level);
      guest.addLevel(BigInt(-level));
      guest.publish();
      alive.push({ instance, guest });
    }
    const expected = { level_greatest: 5, level_least: 2, level_latest: 3 };
    const check = (text, now) => {
      for (const [name, level] of Object.entries({ ...expected, ...now })) {
        assert.equal(value(text, name), level, name);
      }
    };
    check(registry.metrics(), { level_added: 10, level_whole: -10 });
    alive.forEach(({ instance }) => instance.end());
    const text = registry.metrics();
    check(text, {});
    assert.equal(sum(text, 'level_added'), 0);
  });

  // Each valid value is counted in its bucket; values that would spoil the sum are dropped and
  // counted.
  test(`${way}: histograms refuse invalid values`, async () => {
    const registry = await Registry.create();
    const recorder = await Recorder.create(registry, way);
    await recorder.run((guest) => {
      [0, 0.01, 0.010000001, 0.1, 1, 60].forEach((seconds) => guest.observeSeconds(seconds));
      [-2, -1, 0, 0.5, 10, 10.5].forEach((size) => guest.observeSize(size));
      for (const refused of [NaN, Infinity, -Infinity]) {
        guest.observeSeconds(refused);
        guest.observeSize(refused);
      }
      guest.observeSeconds(-1);
      guest.timed();
    });
    const text = registry.metrics();
    const buckets = (name) => values(text, `${name}_bucket`);
    assert.deepEqual(buckets('work_duration_seconds'), [2, 4, 5, 6]);
    assert.deepEqual(buckets('work_size'), [2, 4, 5, 6]);
    assert.equal(value(text, 'work_duration_seconds_sum'), 61.120000001);
    assert.equal(value(text, 'work_duration_seconds_count'), 6);
    assert.equal(value(text, 'work_size_sum'), 18);
    assert.equal(value(text, 'timed_duration_seconds_count'), 1);
    assert.equal(value(text, 'wasmetry_dropped_total', { reason: 'invalid_value' }), 7);
  });

  // Text labels beyond the table are counted in the overflow series.
  test(`${way}: full label table uses overflow`, async () => {
    const registry = await Registry.create();
    const recorder = await Recorder.create(registry, way);
    for (let instance = 0; instance < 3; instance += 1) {
      await recorder.run((guest) => {
        // The first four of each instance fit; two go to the overflow series.
        for (let n = 0; n < 6; n += 1) {
          guest.label(`value-${instance}-${n}`, 10n);
        }
        guest.label('x'.repeat(33), 1n);
        guest.label('overflow', 1n);
      });
    }
    const text = registry.metrics();
    assert.equal(value(text, 'labelled_total', { value: 'value-2-3' }), 10);
    assert.deepEqual(values(text, 'labelled_total', { value: 'value-0-5' }), []);
    assert.equal(value(text, 'labelled_total', { value: 'overflow' }), 3 * 22);
    assert.equal(sum(text, 'labelled_total'), 3 * 62);
    assert.equal(value(text, 'wasmetry_dropped_total', { reason: 'label_too_long' }), 3);
    assert.equal(value(text, 'wasmetry_dropped_total', { reason: 'label_table_full' }), 9);
  });

  // A scrape after a trap shows the values of the guest up to its panic, and the trap.
  test(`${way}: trap keeps recorded values`, async () => {
    const registry = await Registry.create();
    const recorder = await Recorder.create(registry, way);
    for (let n = 1; n <= 10; n += 1) {
      const { instance, guest } = await recorder.instance();
      instance.call(guest.count, BigInt(n));
      guest.publish();
      assert.throws(() => instance.call(guest.trap, 1000n), WebAssembly.RuntimeError);
      assert.throws(() => instance.call(guest.count, 1n), WebAssembly.RuntimeError, 'a guest cannot be entered after a trap');
      instance.end();
    }
    const text = registry.metrics();
    // A guest that pushes sends a last batch in its panic hook.
    assert.equal(value(text, 'counted_total'), 55 + 10_000);
    assert.equal(value(text, 'wasm_traps_total', { reason: 'unreachable' }), 10);
    assert.equal(value(text, 'wasm_traps_total', { reason: 'cannot_enter_component' }), 10);
    assert.equal(value(text, 'wasm_instances'), 0);
  });

  test(`${way}: endless recursion is counted`, async () => {
    const registry = await Registry.create();
    const recorder = await Recorder.create(registry, way);
    const { instance, guest } = await recorder.instance();
    guest.count(1n);
    guest.publish();
    assert.throws(() => instance.call(guest.recurse, 1n));
    instance.end();
    const text = registry.metrics();
    assert.equal(value(text, 'counted_total'), way === 'read' ? 2 : 1);
    const reasons = ['memory_out_of_bounds', 'stack_overflow'];
    // Rust's stack is in linear memory; V8's own stack may end before it.
    assert.equal(reasons.reduce((all, reason) => all + value(text, 'wasm_traps_total', { reason }), 0), 1);
  });

  // The trap is counted with the reason `deadline`.
  test(`${way}: timeout ends an endless guest`, async () => {
    const registry = await Registry.create();
    const recorder = await Recorder.create(registry, way);
    const { instance, guest } = await recorder.instance();
    guest.count(1n);
    guest.publish();
    const script = new Script('spin()');
    Object.assign(globalThis, { spin: () => guest.spin(10n) });
    assert.throws(() => instance.call(() => script.runInThisContext({ timeout: 50 })), { code: 'ERR_SCRIPT_EXECUTION_TIMEOUT' });
    instance.end();
    const text = registry.metrics();
    assert.equal(value(text, 'counted_total'), way === 'read' ? 11 : 1);
    assert.equal(value(text, 'wasm_traps_total', { reason: 'deadline' }), 1);
    assert.equal(sum(text, 'wasm_traps_total'), 1);
  });

  test(`${way}: concurrent instances are separate`, async () => {
    const registry = await Registry.create();
    const [a, b] = [await Recorder.create(registry, way, 'a'), await Recorder.create(registry, way, 'b')];
    const alive = [await a.instance(), await b.instance(), await a.instance()];
    for (let round = 1; round <= 5; round += 1) {
      alive.forEach(({ guest }, index) => guest.count(BigInt(10 ** index)));
      alive.forEach(({ guest }) => guest.publish());
    }
    const text = registry.metrics();
    assert.equal(value(text, 'counted_total', { component: 'a' }), 5 * 101);
    assert.equal(value(text, 'counted_total', { component: 'b' }), 5 * 10);
    assert.equal(value(text, 'wasm_instances', { component: 'a' }), 2);
    alive.forEach(({ instance }) => instance.end());
    assert.equal(value(registry.metrics(), 'counted_total', { component: 'a' }), 5 * 101);
  });
}

// It also shows the guest's linear memory.
test('read: scrape shows unpublished values', async () => {
  const registry = await Registry.create();
  const recorder = await Recorder.create(registry, 'read');
  const { instance, guest } = await recorder.instance();
  guest.count(41n);
  const text = registry.metrics();
  assert.equal(value(text, 'counted_total'), 41);
  assert.ok(value(text, 'wasm_linear_memory_bytes') >= 65536);
  guest.count(1n);
  instance.end();
  assert.equal(value(registry.metrics(), 'counted_total'), 42);
  assert.equal(value(registry.metrics(), 'wasm_linear_memory_bytes'), 0);
});

test('declared counters start at 0', async () => {
  const registry = await Registry.create();
  await Recorder.create(registry, 'pushed');
  const text = registry.metrics();
  assert.equal(value(text, 'counted_total'), 0);
  assert.equal(value(text, 'visits_total', { first: 'true', route: 'home' }), 0);
  assert.equal(value(text, 'work_duration_seconds_count'), 0);
  assert.equal(value(text, 'wasm_traps_total', { reason: 'unreachable' }), 0);
});

// jco extracts a core module from a component, which has the same declarations.
test('extracted core module declares the component', async () => {
  const { readFile } = await import('node:fs/promises');
  const core = await readFile(new URL('guests/recorder/recorder.core.wasm', import.meta.url));
  for (const wasm of [core, new WebAssembly.Module(core), Uint8Array.from(core).buffer]) {
    const registry = await Registry.create();
    const component = registry.component({ name: 'recorder', wasm });
    assert.deepEqual(component.warnings, []);
    assert.equal(value(registry.metrics(), 'counted_total'), 0);
  }
});
