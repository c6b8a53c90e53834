import { performance } from 'node:perf_hooks';
import process from 'node:process';

import { Component } from './component.js';
import { Core, FORMATS } from './core.js';
import { endpoint } from './endpoint.js';
import { Counter, Gauge, Histogram } from './metric.js';
import { ProcessMetrics } from './process.js';

/** @import { ComponentOptions } from './component.js' */
/** @import { EndpointOptions, Handler } from './endpoint.js' */
/** @import { CoreSource } from './core.js' */
/** @import { InstanceState } from './instance.js' */

/**
 * The name of an exposition format: Prometheus text 0.0.4, or OpenMetrics 1.0.
 *
 * @typedef {keyof typeof FORMATS} Format
 */

/**
 * The options of {@link Registry.create}.
 *
 * @typedef {object} RegistryOptions
 * @property {boolean} [process] `true`, the default, exports `process_*` metrics; turn them off if
 *   another library exports them.
 * @property {CoreSource} [core] The core's binary, `@wasmetry/node/core.wasm`. By default it is the
 *   one in the package's JavaScript, which bundlers include; give it to keep it out of a bundle.
 */

/**
 * The state that a registry shares with its components and instances.
 *
 * @internal
 * @typedef {object} RegistryContext
 * @property {Core} core
 * @property {() => number} now Milliseconds since the registry was made.
 * @property {Set<InstanceState>} mapped The instances whose memory is read at a scrape.
 * @property {(error: unknown) => void} warn Reports an error that must not disturb a guest.
 * @property {FinalizationRegistry<InstanceState>} finalizer
 */

/**
 * All metrics of one thread: those of its components and those of the host.
 *
 * Guests and registry live on the thread that made them; a worker needs a registry of its own.
 */
export class Registry {
  /** @type {RegistryContext} */
  #context;
  /** @type {ProcessMetrics | undefined} */
  #process;

  /**
   * Makes a registry.
   *
   * @param {RegistryOptions} [options]
   * @returns {Promise<Registry>}
   */
  static async create(options = {}) {
    return new Registry(await Core.create(options.core), options);
  }

  /**
   * @internal
   * @param {Core} core
   * @param {RegistryOptions} [options]
   */
  constructor(core, { process: withProcess = true } = {}) {
    const start = performance.now();
    const warned = new Set();
    /** @type {FinalizationRegistry<InstanceState>} */
    const finalizer = new FinalizationRegistry((state) => {
      try {
        state.end();
      } catch (error) {
        this.#context.warn(error);
      }
    });
    this.#context = {
      core,
      now: () => performance.now() - start,
      mapped: new Set(),
      finalizer,
      warn: (error) => {
        // Once for each message: a guest can cause the same one with every call.
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
   * Registers a component, whose declarations are read from its binary. The same identity again
   * adds to the same series.
   *
   * @param {ComponentOptions} options
   * @returns {Component}
   */
  component(options) {
    return new Component(this.#context, options);
  }

  /**
   * Returns a counter of the host; its name ends in `_total`. The same name again returns the same
   * metric.
   *
   * If the name is invalid or a guest has it, nothing is exported. `wasmetry_dropped_total` counts
   * that, and the first value that is recorded causes a `WasmetryWarning` with the reason.
   *
   * @param {string} name
   * @param {string} help
   * @param {string[]} [keys] The keys of its labels.
   * @returns {Counter}
   */
  counter(name, help, keys = []) {
    return new Counter(this.#context, name, help, keys);
  }

  /**
   * Returns a gauge of the host; see {@link counter}.
   *
   * @param {string} name
   * @param {string} help
   * @param {string[]} [keys] The keys of its labels.
   * @returns {Gauge}
   */
  gauge(name, help, keys = []) {
    return new Gauge(this.#context, name, help, keys);
  }

  /**
   * Returns a histogram of the host with these bounds, which are finite and ascending; see
   * {@link counter}.
   *
   * @param {string} name
   * @param {string} help
   * @param {number[]} bounds
   * @param {string[]} [keys] The keys of its labels.
   * @returns {Histogram}
   */
  histogram(name, help, bounds, keys = []) {
    return new Histogram(this.#context, name, help, keys, bounds);
  }

  /**
   * Returns the values of all series as text.
   *
   * @param {Format} [format]
   * @returns {string}
   */
  metrics(format = 'prometheus') {
    return new TextDecoder().decode(this.#encode(formatNumber(format)));
  }

  /**
   * Returns the media type of {@link metrics}.
   *
   * @param {Format} [format]
   * @returns {string}
   */
  contentType(format = 'prometheus') {
    return this.#context.core.contentType(formatNumber(format), '');
  }

  /**
   * Returns a listener for `http.createServer` that answers `GET /metrics`, in the format and
   * encoding that the client requests.
   *
   * @param {EndpointOptions} [options]
   * @returns {Handler}
   */
  handler(options = {}) {
    const { core } = this.#context;
    const source = {
      negotiate: (/** @type {string} */ accept) => core.negotiate(accept),
      contentType: core.contentType.bind(core),
      encode: (/** @type {number} */ format) => this.#encode(format),
      warn: this.#context.warn,
    };
    return endpoint(source, options);
  }

  /**
   * @param {number} format
   * @returns {Uint8Array}
   */
  #encode(format) {
    this.#process?.refresh();
    for (const state of this.#context.mapped) {
      state.read();
    }
    return this.#context.core.encode(format, this.#context.now());
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
