import { performance } from 'node:perf_hooks';
import process from 'node:process';

import { Component } from './component.js';
import { Core, FORMATS } from './core.js';
import { endpoint } from './endpoint.js';
import { Share } from './instance.js';
import { Counter, Gauge, Histogram } from './metric.js';
import { ProcessMetrics } from './process.js';

/** @import { ComponentOptions } from './component.js' */
/** @import { EndpointOptions, Handler } from './endpoint.js' */
/** @import { Host } from './instance.js' */

/**
 * The name of an exposition format: Prometheus text 0.0.4, or OpenMetrics 1.0.
 *
 * @typedef {keyof typeof FORMATS} Format
 */

/**
 * What {@link Registry.create} may be told.
 *
 * @typedef {object} RegistryOptions
 * @property {boolean} [process] Whether `process_*` metrics are shown, true by default; turn them off where another library
 *   shows them.
 */

/**
 * All metrics of one thread: those of its components and the host's own.
 *
 * Guests and registry live on the thread that made them; a worker has a registry of its own.
 */
export class Registry {
  /** @type {Host} */
  #host;
  /** @type {ProcessMetrics | undefined} */
  #process;

  /**
   * Makes a registry.
   *
   * @param {RegistryOptions} [options]
   * @returns {Promise<Registry>}
   */
  static async create(options = {}) {
    return new Registry(await Core.create(), options);
  }

  /**
   * @internal
   * @param {Core} core
   * @param {RegistryOptions} options
   */
  constructor(core, { process: withProcess = true }) {
    const start = performance.now();
    const warned = new Set();
    /** @type {FinalizationRegistry<Share>} */
    const finalizer = new FinalizationRegistry((share) => {
      try {
        share.end();
      } catch (error) {
        this.#host.warn(error);
      }
    });
    this.#host = {
      core,
      now: () => performance.now() - start,
      mapped: new Set(),
      finalizer,
      warn: (error) => {
        // Once for each cause: a guest can bring about the same one with every call.
        const text = error instanceof Error ? error.message : String(error);
        if (!warned.has(text) && warned.size < 16) {
          warned.add(text);
          process.emitWarning(text, 'WasmetryWarning');
        }
      },
    };
    this.#process = withProcess ? new ProcessMetrics(this) : undefined;
  }

  /**
   * Registers a component, whose declarations are read from its binary; the same identity again gives the same totals.
   *
   * @param {ComponentOptions} options
   * @returns {Component}
   */
  component(options) {
    return new Component(this.#host, options);
  }

  /**
   * A counter of the host's own; the name ends in `_total`. The same name again gives the same metric.
   *
   * Where the name is taken by a guest or is no valid name, nothing is shown, and `wasmetry_dropped_total` counts that.
   *
   * @param {string} name
   * @param {string} help
   * @param {string[]} [keys] The keys of its labels.
   * @returns {Counter}
   */
  counter(name, help, keys = []) {
    return new Counter(this.#host.core, name, help, keys);
  }

  /**
   * A gauge of the host's own; see {@link counter}.
   *
   * @param {string} name
   * @param {string} help
   * @param {string[]} [keys] The keys of its labels.
   * @returns {Gauge}
   */
  gauge(name, help, keys = []) {
    return new Gauge(this.#host.core, name, help, keys);
  }

  /**
   * A histogram of the host's own with these bounds, which are finite and rise; see {@link counter}.
   *
   * @param {string} name
   * @param {string} help
   * @param {number[]} bounds
   * @param {string[]} [keys] The keys of its labels.
   * @returns {Histogram}
   */
  histogram(name, help, bounds, keys = []) {
    return new Histogram(this.#host.core, name, help, keys, bounds);
  }

  /**
   * The values of all series, as text.
   *
   * @param {Format} [format]
   * @returns {string}
   */
  metrics(format = 'prometheus') {
    return new TextDecoder().decode(this.#encode(formatNumber(format)));
  }

  /**
   * The media type of what {@link metrics} gives.
   *
   * @param {Format} [format]
   * @returns {string}
   */
  contentType(format = 'prometheus') {
    return this.#host.core.contentType(formatNumber(format));
  }

  /**
   * A listener for `http.createServer` that answers `GET /metrics`, in the format and encoding that the client asks for.
   *
   * @param {EndpointOptions} [options]
   * @returns {Handler}
   */
  handler(options = {}) {
    const { core } = this.#host;
    const source = {
      negotiate: (/** @type {string} */ accept) => core.negotiate(accept),
      contentType: (/** @type {number} */ format) => core.contentType(format),
      encode: (/** @type {number} */ format) => this.#encode(format),
      warn: this.#host.warn,
    };
    return endpoint(source, options);
  }

  /**
   * @param {number} format
   * @returns {Uint8Array}
   */
  #encode(format) {
    this.#process?.refresh();
    for (const share of this.#host.mapped) {
      share.read();
    }
    return this.#host.core.encode(format, this.#host.now());
  }
}

/**
 * @param {Format} format
 * @returns {number}
 */
function formatNumber(format) {
  if (!Object.hasOwn(FORMATS, format)) {
    throw new RangeError(`there is no format \`${String(format)}\`; there are ${Object.keys(FORMATS).join(' and ')}`);
  }
  return FORMATS[format];
}
