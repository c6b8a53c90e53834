/**
 * `wasmetry:telemetry/region` as a module, for components that import their host's functions from
 * modules: `jco transpile app.wasm --map 'wasmetry:telemetry/region=@wasmetry/node/region'`.
 *
 * It stands for one component. A program with several components gives each a module of its own,
 * which exports the functions of {@link Instance.region}.
 */

import process from 'node:process';

import base64 from '../dist/core-bytes.js';
import { Core, decode } from './core.js';
import { settings } from './instance.js';
import { Registry } from './registry.js';

/** @import { ComponentOptions } from './component.js' */
/** @import { Instance, Settings } from './instance.js' */

/**
 * The registry of the component that this module stands for. It is made without waiting, so that a
 * bundle in the CommonJS format can contain this module.
 */
export const registry = new Registry(new Core(new WebAssembly.Module(decode(base64))));

/** @type {Instance | undefined} */
let instance;

/**
 * Sets the component that this module stands for. Call it before the component's first event.
 *
 * @param {ComponentOptions} options
 * @returns {Instance} Its instance. Call the component through it, so that traps are counted.
 */
export function observe(options) {
  instance?.end();
  instance = registry.component(options).instance();
  return instance;
}

/**
 * Opens a region.
 *
 * @param {number} abi
 * @returns {Settings}
 */
export function open(abi) {
  if (!instance) {
    process.emitWarning(
      'a component records metrics without a registered component: call `observe` of `@wasmetry/node/region` before its first event',
      'WasmetryWarning',
    );
  }
  return instance?.region.open(abi) ?? settings('off', 0);
}

/**
 * Lends the host the guest's memory.
 *
 * @param {Uint8Array} window
 * @param {bigint} base
 * @param {bigint} header
 */
export function attach(window, base, header) {
  instance?.region.attach(window, base, header);
}

/**
 * Pushes a batch.
 *
 * @param {Uint8Array} batch
 * @returns {Settings}
 */
export function flush(batch) {
  return instance?.region.flush(batch) ?? settings('off', 0);
}

/**
 * Returns the current settings.
 *
 * @returns {Settings}
 */
export function refresh() {
  return instance?.region.refresh() ?? settings('off', 0);
}
