/** The guests of the tests, and the reading of an exposition. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';

import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';

/** The folder of the components and modules that `cargo xtask guests` builds. */
export const WASM = new URL('../../../target/guests/', import.meta.url);

/** The folder of jco's output for them, which `transpile.js` makes. */
export const GUESTS = new URL('guests/', import.meta.url);

/** The ways in which a component is collected in Node. */
export const WAYS = /** @type {const} */ (['pushed', 'read']);

const wasi = new WASIShim().getImportObject();

/** @type {Map<string, Promise<WebAssembly.Module>>} */
const modules = new Map();

/**
 * Reads the binary of a guest.
 *
 * @param {string} name
 * @returns {Promise<Uint8Array>}
 */
export function binary(name) {
  return readFile(new URL(`${name}.wasm`, WASM));
}

/** The recorder guest in one registry, collected in one way. */
export class Recorder {
  /**
   * @param {import('@wasmetry/node').Registry} registry
   * @param {typeof WAYS[number]} way
   * @param {string} [name]
   */
  static async create(registry, way, name = 'recorder') {
    const component = registry.component({ name, wasm: await binary('recorder') });
    const { instantiate } = await import(new URL('recorder/recorder.js', GUESTS).href);
    return new Recorder(component, way, instantiate);
  }

  constructor(component, way, instantiate) {
    this.component = component;
    this.way = way;
    this.instantiate = instantiate;
  }

  /** Makes an instance of the guest. */
  async instance() {
    const instance = this.component.instance();
    const core = this.way === 'read' ? instance.instantiateCore : undefined;
    const guest = await this.instantiate(module, { ...wasi, ...instance.imports }, core);
    return { instance, guest };
  }

  /**
   * Runs one request in an instance of its own, which publishes its metrics and ends.
   *
   * @param {(guest: any) => void} request
   */
  async run(request) {
    const { instance, guest } = await this.instance();
    request(guest);
    guest.publish();
    instance.end();
  }
}

/**
 * @param {string} path
 * @returns {Promise<WebAssembly.Module>}
 */
function module(path) {
  let compiled = modules.get(path);
  if (!compiled) {
    compiled = readFile(new URL(`recorder/${path}`, GUESTS)).then((bytes) => WebAssembly.compile(bytes));
    modules.set(path, compiled);
  }
  return compiled;
}

/**
 * Returns the values of the samples with a name whose labels include all of `labels`.
 *
 * @param {string} text
 * @param {string} name
 * @param {Record<string, string>} labels
 * @returns {number[]}
 */
export function values(text, name, labels = {}) {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => /^([^{ ]+)(?:\{(.*)\})? ([^ ]+)$/.exec(line) ?? assert.fail(`no sample: ${line}`))
    .filter(([, found, pairs = '']) => {
      const all = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
      return found === name && all.every((label) => `,${pairs},`.includes(`,${label},`));
    })
    .map(([, , , value]) => Number(value));
}

/** Returns the value of the one sample with a name and labels. */
export function value(text, name, labels = {}) {
  const found = values(text, name, labels);
  assert.equal(found.length, 1, `${found.length} samples of ${name}${JSON.stringify(labels)} in:\n${text}`);
  return found[0];
}

/** Returns the sum of all samples with a name and labels. */
export function sum(text, name, labels = {}) {
  return values(text, name, labels).reduce((sum, value) => sum + value, 0);
}

/** Returns the counts of lost metrics, by reason. */
export function dropped(text) {
  const reasons = ['batch', 'batch_lost', 'batch_repeated', 'region_limit', 'format_version', 'header', 'entry_list'];
  return Object.fromEntries(
    reasons.map((reason) => [reason, sum(text, 'wasmetry_dropped_total', { reason })]).filter(([, count]) => count > 0),
  );
}
