/** Core modules, whose memory is read in place. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { parse } from '@bytecodealliance/jco';
import { Registry } from '@wasmetry/node';

import { binary, dropped, sum, value } from './guest.js';

/** Instantiates a module in the text format. */
async function written(text) {
  const module = await WebAssembly.compile(await parse(text));
  return WebAssembly.instantiate(module, { host: { fail: () => assert.fail('the host fails') } });
}

test('module without imports is collected', async () => {
  const registry = await Registry.create();
  const module = await WebAssembly.compile(await binary('bare'));
  const component = registry.component({ name: 'bare', version: '1', tenant: 'acme', wasm: module });
  for (let n = 0; n < 20; n += 1) {
    const { exports: bare } = await WebAssembly.instantiate(module);
    const instance = component.attachModule({ exports: bare });
    for (let number = 0; number < n; number += 1) {
      assert.equal(instance.call(bare.look, 2 * number), 4 * number);
      // Each scrape reads the living instances.
      assert.ok(sum(registry.metrics(), 'number_size_count') > 0);
    }
    assert.throws(() => instance.call(bare.trap, 7), WebAssembly.RuntimeError);
    instance.end();
    instance.end();
  }
  const text = registry.metrics();
  const identity = { component: 'bare', version: '1', tenant: 'acme' };
  assert.equal(value(text, 'numbers_seen_total', { ...identity, parity: 'even' }), 190);
  assert.equal(value(text, 'numbers_seen_total', { ...identity, parity: 'odd' }), 20);
  assert.equal(value(text, 'number_size_count', identity), 210);
  assert.equal(value(text, 'wasm_traps_total', { ...identity, reason: 'unreachable' }), 20);
  assert.equal(value(text, 'wasm_instance_starts_total', identity), 20);
  assert.equal(value(text, 'wasm_instances', identity), 0);
  assert.equal(value(text, 'wasm_linear_memory_bytes', identity), 0);
  assert.deepEqual(dropped(text), {});
});

test('grown memory is read in full', async () => {
  const registry = await Registry.create();
  const module = await WebAssembly.compile(await binary('bare'));
  const component = registry.component({ name: 'bare', wasm: module });
  const { exports: bare } = await WebAssembly.instantiate(module);
  const instance = component.attachModule({ exports: bare });
  bare.look(2);
  const before = value(registry.metrics(), 'wasm_linear_memory_bytes');
  bare.memory.grow(3);
  bare.look(2);
  const text = registry.metrics();
  assert.equal(value(text, 'wasm_linear_memory_bytes'), before + 3 * 65536);
  assert.equal(value(text, 'numbers_seen_total', { parity: 'even' }), 2);
  instance.end();
});

test('golden images decode as in Rust', async () => {
  const golden = new URL('../../../tests/golden/', import.meta.url);
  const { readdir } = await import('node:fs/promises');
  const images = (await readdir(golden)).filter((name) => name.endsWith('.region'));
  assert.ok(images.length > 0);
  for (const name of images) {
    const image = await readFile(new URL(name, golden));
    const [base, header, length] = [image.readBigUInt64LE(0), image.readBigUInt64LE(8), image.readUInt32LE(16)];
    const [section, window] = [image.subarray(20, 20 + length), image.subarray(20 + length)];
    const registry = await Registry.create({ process: false });
    const component = registry.component({ name: 'golden', wasm: declaring(section) });
    const memory = new WebAssembly.Memory({ initial: Math.ceil((Number(base) + window.length) / 65536) });
    new Uint8Array(memory.buffer).set(window, Number(base));
    component.attachModule({ exports: { memory, wasmetry_region_1: () => Number(header) } }).end();
    const expected = await readFile(new URL(name.replace('.region', '.txt'), golden), 'utf8');
    assert.deepEqual(ownMetrics(registry.metrics()), ownMetrics(expected), name);
  }
});

/** Returns the lines of a guest's metrics, without families that have no sample. */
function ownMetrics(text) {
  const ofHost = / ?(wasmetry_build_info|wasm_instance|wasm_traps|wasm_linear)/;
  const isSample = (line) => /^[a-z_:]+(\{.*\})? \S+$/.test(line);
  const lines = text.split('\n').filter((line) => (line.startsWith('# ') || isSample(line)) && !ofHost.test(line));
  const sampled = new Set(lines.filter(isSample).map((line) => line.match(/^[a-z_:]+/)[0]));
  const hasSamples = (family) => ['', '_bucket', '_total'].some((suffix) => sampled.has(family + suffix));
  return lines.filter((line) => !line.startsWith('# ') || hasSamples(line.split(' ')[2]));
}

/** Returns a module that consists of a custom section of declarations. */
function declaring(section) {
  const name = Buffer.from('wasmetry.v1');
  const leb = (number) => {
    const bytes = [];
    for (let rest = number; ; rest >>>= 7) {
      if (rest < 128) return [...bytes, rest];
      bytes.push((rest & 127) | 128);
    }
  };
  const content = [...leb(name.length), ...name, ...section];
  return Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 0, ...leb(content.length), ...content]);
}

test('invalid header exports are counted', async () => {
  const registry = await Registry.create();
  const component = registry.component({ name: 'hostile', wasm: await binary('bare') });
  const { exports } = await written(`(module
    (memory (export "memory") 1)
    (global (export "wasmetry_region_g") i32 (i32.const 8))
    (func (export "wasmetry_region_1") (result i32) (i32.const 8))
    (func (export "wasmetry_region_2") (result i32) (i32.const -1))
    (func (export "wasmetry_region_3") (result i64) (i64.const -8))
    (func (export "wasmetry_region_4") (result i64) (i64.const 65528))
    (func (export "wasmetry_region_5") (result f64) (f64.const nan))
    (func (export "wasmetry_region_6"))
    (func (export "wasmetry_region_7") (param i32) (result i32) (local.get 0))
    (func (export "wasmetry_region_8") (result i32 i32) (i32.const 1) (i32.const 2)))`);
  const instance = component.attachModule({ exports });
  assert.equal(value(registry.metrics(), 'numbers_seen_total', { parity: 'odd' }), 0);
  instance.end();
  // The global, the missing result and the pair are no addresses; the other six are addresses
  // without a header.
  assert.deepEqual(dropped(registry.metrics()), { header: 6 });
});

test('regions beyond the limit are counted', async () => {
  const registry = await Registry.create();
  const component = registry.component({ name: 'many', wasm: await binary('bare') });
  const functions = Array.from({ length: 70 }, (_, n) => `(func (export "wasmetry_region_${n}") (result i32) (i32.const 8))`);
  const { exports } = await written(`(module (memory (export "memory") 1) ${functions.join('\n')})`);
  component.attachModule({ exports }).end();
  assert.deepEqual(dropped(registry.metrics()), { region_limit: 6, header: 64 });
});

test('trap in a header export throws', async () => {
  const registry = await Registry.create();
  const component = registry.component({ name: 'trap', wasm: await binary('bare') });
  const { exports } = await written(`(module
    (memory (export "memory") 1)
    (func (export "wasmetry_region_1") (result i32) unreachable))`);
  assert.throws(() => component.attachModule({ exports }), WebAssembly.RuntimeError);
  assert.equal(value(registry.metrics(), 'wasm_instances'), 0);
});

test('`observe` sets observed metrics', async () => {
  const registry = await Registry.create();
  const module = await WebAssembly.compile(await binary('recorder-module'));
  const component = registry.component({ name: 'recorder', wasm: module });
  const { exports } = await WebAssembly.instantiate(module);
  const instance = component.attachModule({ exports });
  instance.call(exports['move-stock'], 5n);
  const moves = (came) => value(registry.metrics(), 'stock_moves_total', { came });
  assert.doesNotMatch(registry.metrics(), /^stock_items\{/m);
  assert.equal(moves('true'), 0);
  instance.observe();
  assert.equal(value(registry.metrics(), 'stock_items'), 5);
  assert.equal(moves('true'), 1);
  instance.call(exports['move-stock'], -2n);
  assert.equal(value(registry.metrics(), 'stock_items'), 5);
  instance.observe();
  instance.end();
  assert.equal(value(registry.metrics(), 'stock_items'), 3);
  assert.throws(() => instance.observe(), /has ended/);
  assert.deepEqual(dropped(registry.metrics()), {});
});

test('trap in an observer is counted', async () => {
  const registry = await Registry.create();
  const module = await WebAssembly.compile(await binary('recorder-module'));
  const component = registry.component({ name: 'recorder', wasm: module });
  const { exports } = await WebAssembly.instantiate(module);
  const instance = component.attachModule({ exports });
  instance.call(exports['trap-when-observed'], 2n);
  assert.throws(() => instance.observe(), WebAssembly.RuntimeError);
  assert.equal(value(registry.metrics(), 'wasm_traps_total', { reason: 'unreachable' }), 1);
  instance.end();
  assert.equal(value(registry.metrics(), 'counted_total'), 2);
});

// An import that throws is `host_error`.
test('trap reasons are distinguished', async () => {
  const registry = await Registry.create();
  const component = registry.component({ name: 'module', wasm: await binary('bare') });
  const { exports } = await written(`(module
    (import "host" "fail" (func $fail))
    (memory (export "memory") 1)
    (func (export "fail") (call $fail))
    (func $recurse (export "recurse") (call $recurse))
    (func (export "divide") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
    (func (export "overflow") (result i32) (i32.div_s (i32.const 0x80000000) (i32.const -1)))
    (func (export "convert") (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (table 1 funcref)
    (func (export "call") (param i32) (call_indirect (local.get 0))))`);
  const instance = component.attachModule({ exports });
  const reasons = [
    ['host_error', exports.fail],
    ['stack_overflow', exports.recurse],
    ['integer_division_by_zero', exports.divide, 0],
    ['integer_overflow', exports.overflow],
    ['invalid_conversion_to_integer', exports.convert, NaN],
    ['memory_out_of_bounds', exports.load, 65536],
    ['table_out_of_bounds', exports.call, 9],
    ['indirect_call_type_mismatch', exports.call, 0],
  ];
  for (const [reason, ...call] of reasons) {
    assert.throws(() => instance.call(...call));
    assert.equal(value(registry.metrics(), 'wasm_traps_total', { reason }), 1, reason);
  }
  instance.end();
});

test('other values are no instance', async () => {
  const registry = await Registry.create();
  const component = registry.component({ name: 'none', wasm: await binary('bare') });
  for (const none of [undefined, null, {}, { exports: {} }, { exports: { memory: 1 } }, 'x']) {
    assert.throws(() => component.attachModule(none), { name: 'TypeError', message: /exports its memory as `memory`/ });
  }
  assert.equal(value(registry.metrics(), 'wasm_instances'), 0);
});
