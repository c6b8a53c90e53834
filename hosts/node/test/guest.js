/** The guests that the tests run, and what the tests read of an exposition. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';

import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';

/** Where `cargo xtask guests` puts components and modules. */
export const WASM = new URL('../../../target/guests/', import.meta.url);

/** Where `transpile.js` puts what jco makes of them. */
export const GUESTS = new URL('guests/', import.meta.url);

/** The ways in which a component is collected in Node. */
export const WAYS = /** @type {const} */ (['pushed', 'read']);

const wasi = new WASIShim().getImportObject();

/** @type {Map<string, Promise<WebAssembly.Module>>} */
const modules = new Map();

/**
 * The binary of a guest.
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

  /** A new instance of the guest. */
  async instance() {
    const instance = this.component.instance();
    const core = this.way === 'read' ? instance.instantiateCore : undefined;
    const guest = await this.instantiate(module, { ...wasi, ...instance.imports }, core);
    return { instance, guest };
  }

  /**
   * What an instance does from its start to its end, which is a request: it sends what it recorded, if it is asked to.
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
 * The values of the samples with a name whose labels include all of `labels`.
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

/** The value of the one sample with a name and labels. */
export function value(text, name, labels = {}) {
  const found = values(text, name, labels);
  assert.equal(found.length, 1, `${found.length} samples of ${name}${JSON.stringify(labels)} in:\n${text}`);
  return found[0];
}

/** The sum of all samples with a name and labels. */
export function sum(text, name, labels = {}) {
  return values(text, name, labels).reduce((sum, value) => sum + value, 0);
}

/** What was lost, by reason. */
export function dropped(text) {
  const reasons = ['batch', 'batch_lost', 'batch_repeated', 'region_limit', 'format_version', 'header', 'entry_list'];
  return Object.fromEntries(
    reasons.map((reason) => [reason, sum(text, 'wasmetry_dropped_total', { reason })]).filter(([, count]) => count > 0),
  );
}
