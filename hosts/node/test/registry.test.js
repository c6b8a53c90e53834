/** A registry used by its host: its own metrics, and the errors of wrong use. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Registry, WasmetryError } from '@wasmetry/node';

import { Recorder, binary, value, values } from './guest.js';

const EMPTY = Uint8Array.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]);

test('invalid binary is refused with reason', async () => {
  const registry = await Registry.create();
  const component = (wasm) => () => registry.component({ name: 'x', wasm });
  assert.throws(component(new Uint8Array()), { name: 'WasmetryError', message: /is not WebAssembly.*does not start with/ });
  assert.throws(component(EMPTY.subarray(0, 6)), { name: 'WasmetryError', message: /cannot be read at offset/ });
  assert.throws(component((await binary('recorder')).subarray(0, 5000)), /cannot be read at offset/);
  for (const wasm of [undefined, null, 'recorder.wasm', {}, Promise.resolve(EMPTY)]) {
    assert.throws(component(wasm), { name: 'TypeError', message: /is no Uint8Array.*read the file first/ });
  }
  assert.doesNotMatch(registry.metrics(), /component=/);
});

test('invalid identity is refused', async () => {
  const registry = await Registry.create();
  for (const options of [{}, { name: 7 }, { name: 'x', version: null }, { name: 'x', tenant: {} }]) {
    assert.throws(() => registry.component({ wasm: EMPTY, ...options }), { name: 'TypeError', message: /is no string/ });
  }
});

test('warnings name lost declarations and conflicts', async () => {
  const registry = await Registry.create();
  assert.deepEqual(registry.component({ name: 'empty', wasm: EMPTY }).warnings, []);
  // A module that exports a region and has no section.
  const stripped = Uint8Array.from([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7f, 3, 2, 1, 0, 7, 21, 1, 17,
    ...Buffer.from('wasmetry_region_1'), 0, 0, 10, 6, 1, 4, 0, 0x41, 0, 0x0b,
  ]);
  assert.match(registry.component({ name: 'stripped', wasm: stripped }).warnings.join(), /declares no metric: a tool has removed/);
  registry.counter('counted_total', 'The host\'s.').inc();
  const { warnings } = registry.component({ name: 'clash', wasm: await binary('recorder') });
  assert.match(warnings.join(), /`counted_total` is refused: the host has it/);
});

test('equal identities share one component', async () => {
  const registry = await Registry.create();
  const first = await Recorder.create(registry, 'pushed');
  const second = await Recorder.create(registry, 'read');
  await first.run((guest) => guest.count(1n));
  await second.run((guest) => guest.count(2n));
  const text = registry.metrics();
  assert.equal(value(text, 'counted_total'), 3);
  assert.equal(value(text, 'wasm_instance_starts_total'), 2);
});

test('registries are separate', async () => {
  const [one, other] = [await Registry.create(), await Registry.create()];
  await (await Recorder.create(one, 'pushed')).run((guest) => guest.count(1n));
  assert.equal(value(one.metrics(), 'counted_total'), 1);
  assert.deepEqual(values(other.metrics(), 'counted_total'), []);
});

test('host metrics are exported', async () => {
  const registry = await Registry.create({ process: false });
  const jobs = registry.counter('jobs_total', 'Jobs done.', ['queue']);
  jobs.inc('mail');
  jobs.add(2.5, 'mail');
  jobs.add(-1, 'mail');
  jobs.add(NaN, 'mail');
  jobs.inc('');
  registry.counter('jobs_total', 'Jobs done.', ['queue']).inc('mail');
  const depth = registry.gauge('depth', 'How deep.');
  depth.set(1.5);
  depth.add(-3);
  const wait = registry.histogram('wait_seconds', 'How long.', [0.1, 1], ['queue']);
  [0.05, 0.1, 0.5, 7, NaN].forEach((seconds) => wait.observe(seconds, 'a "b"\n\\'));
  const own = (line) => /^(jobs|depth|wait)|^# (HELP|TYPE) (jobs|depth|wait)/.test(line);
  assert.equal(
    registry.metrics().split('\n').filter(own).join('\n'),
    String.raw`# HELP depth How deep.
# TYPE depth gauge
depth -1.5
# HELP jobs_total Jobs done.
# TYPE jobs_total counter
jobs_total 1
jobs_total{queue="mail"} 4.5
# HELP wait_seconds How long.
# TYPE wait_seconds histogram
wait_seconds_bucket{queue="a \"b\"\n\\",le="0.1"} 2
wait_seconds_bucket{queue="a \"b\"\n\\",le="1.0"} 3
wait_seconds_bucket{queue="a \"b\"\n\\",le="+Inf"} 4
wait_seconds_sum{queue="a \"b\"\n\\"} 7.65
wait_seconds_count{queue="a \"b\"\n\\"} 4`,
  );
});

test('wrong arguments of metrics throw', async () => {
  const registry = await Registry.create();
  const jobs = registry.counter('jobs_total', 'Jobs.', ['queue']);
  for (const call of [() => jobs.inc(), () => jobs.inc('a', 'b'), () => jobs.inc(7), () => jobs.add('1', 'a'), () => jobs.add(1n, 'a')]) {
    assert.throws(call, { name: 'TypeError', message: /`jobs_total` takes/ });
  }
  assert.throws(() => registry.gauge('depth', 'Depth.').add(0.5), { name: 'RangeError', message: /use `set`/ });
});

test('invalid host metrics are counted', async () => {
  const registry = await Registry.create({ process: false });
  registry.counter('jobs_total', 'Jobs.').inc();
  registry.counter('jobs_total', 'Other keys.', ['queue']).inc('mail');
  registry.counter('jobs', 'No counter\'s name.').inc();
  registry.counter('no name_total', 'No name.').inc();
  registry.counter('other_total', 'Keys that are the same.', ['a', 'a']).inc('x', 'y');
  registry.counter('labelled_total', 'A key of Prometheus.', ['__name__']).inc('x');
  registry.gauge('done_total', 'A counter\'s suffix.').set(1);
  registry.counter('x_total', 'A name of one letter.').inc();
  registry.histogram('wait', 'Bounds that fall.', [2, 1]).observe(1);
  registry.histogram('weight', 'A bound that is none.', [NaN]).observe(1);
  const text = registry.metrics();
  assert.equal(value(text, 'wasmetry_dropped_total', { reason: 'type_conflict' }), 1);
  assert.equal(value(text, 'wasmetry_dropped_total', { reason: 'invalid_declaration' }), 7);
  assert.equal(value(text, 'x_total'), 1);
  assert.doesNotMatch(text, /__name__/);
  assert.equal(value(text, 'jobs_total'), 1);
  assert.doesNotMatch(text, /^(no name|other|wait|weight)[ _{]/m);
});

// Each reason is one warning of the process, however often the metric is used.
test('rejected host metrics cause warnings', async () => {
  const registry = await Registry.create({ process: false });
  registry.component({ name: 'guest', wasm: await binary('recorder') });
  const warnings = [];
  const listener = (warning) => warnings.push(warning);
  process.on('warning', listener);
  try {
    const taken = registry.gauge('counted_total', 'A counter of the guest.');
    for (let round = 0; round < 3; round += 1) {
      taken.set(round);
      registry.counter('jobs', 'No counter\'s name.').inc();
      registry.counter('fine_total', 'A valid metric.').inc();
    }
    // The process emits a warning in the next tick.
    await new Promise(setImmediate);
  } finally {
    process.off('warning', listener);
  }
  assert.deepEqual(warnings.map(({ name }) => name), ['WasmetryWarning', 'WasmetryWarning']);
  assert.match(warnings[0].message, /`counted_total` is refused: /);
  assert.match(warnings[1].message, /`jobs` is refused: /);
});

// The rules are those of guests' metrics: what Prometheus would refuse costs no scrape.
test('host metrics follow the naming rules', async () => {
  const registry = await Registry.create({ process: false });
  registry.counter('x_total', 'A name of one letter.').inc();
  assert.equal(value(registry.metrics(), 'x_total'), 1);
  registry.counter('a_total', 'The label that is the name.', ['__name__']).inc('b');
  registry.counter('b_total', 'A label that Prometheus adds.', ['job']).inc('b');
  registry.histogram('c', 'The label of buckets.', [1], ['le']).observe(1, '2');
  registry.gauge('d_total', 'A suffix of counters.').set(1);
  registry.gauge('e_bucket', 'A suffix of histograms.').set(1);
  registry.gauge('F', 'An upper-case letter.').set(1);
  const text = registry.metrics();
  assert.doesNotMatch(text, /^[a-fF]_?[a-z]*[{ ]/m);
  assert.equal(value(text, 'wasmetry_dropped_total', { reason: 'invalid_declaration' }), 6);
});

test('formats are chosen by name', async () => {
  const registry = await Registry.create();
  assert.equal(registry.contentType(), 'text/plain; version=0.0.4; charset=utf-8');
  assert.equal(registry.contentType('openmetrics'), 'application/openmetrics-text; version=1.0.0; charset=utf-8');
  assert.ok(registry.metrics('openmetrics').endsWith('# EOF\n'));
  for (const format of ['json', 'toString', 7, null]) {
    assert.throws(() => registry.metrics(format), { name: 'RangeError', message: /there are prometheus and openmetrics/ });
    assert.throws(() => registry.contentType(format), RangeError);
  }
  assert.ok(new WasmetryError('x') instanceof Error);
});

test('process metrics can be turned off', async () => {
  const [shown, hidden] = [await Registry.create(), await Registry.create({ process: false })];
  const first = value(shown.metrics(), 'process_cpu_seconds_total');
  const text = shown.metrics();
  assert.ok(value(text, 'process_cpu_seconds_total') >= first && first > 0);
  const start = value(text, 'process_start_time_seconds');
  assert.ok(start > 1e9 && start <= Date.now() / 1000);
  assert.ok(value(text, 'process_resident_memory_bytes') > 1 << 20);
  if (process.platform === 'linux') {
    assert.ok(value(text, 'process_virtual_memory_bytes') > value(text, 'process_resident_memory_bytes'));
    assert.ok(value(text, 'process_open_fds') > 2);
    assert.ok(value(text, 'process_max_fds') >= value(text, 'process_open_fds'));
  }
  assert.doesNotMatch(hidden.metrics(), /^process_/m);
});
