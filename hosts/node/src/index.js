/**
 * Collects the metrics that WebAssembly components and modules record in their own memory, and
 * exports them to Prometheus.
 *
 * @module
 */

export { WasmetryError } from './error.js';
export { Registry } from './registry.js';

/** @typedef {import('./component.js').Component} Component */
/** @typedef {import('./component.js').ComponentOptions} ComponentOptions */
/** @typedef {import('./core.js').CoreSource} CoreSource */
/** @typedef {import('./endpoint.js').EndpointOptions} EndpointOptions */
/** @typedef {import('./instance.js').Instance} Instance */
/** @typedef {import('./instance.js').Region} Region */
/** @typedef {import('./instance.js').Settings} Settings */
/** @typedef {import('./instance.js').WasmInstance} WasmInstance */
/** @typedef {import('./instance.js').WasmModule} WasmModule */
/** @typedef {import('./metric.js').Counter} Counter */
/** @typedef {import('./metric.js').Gauge} Gauge */
/** @typedef {import('./metric.js').Histogram} Histogram */
/** @typedef {import('./registry.js').Format} Format */
/** @typedef {import('./registry.js').RegistryOptions} RegistryOptions */
