import { OPERATIONS } from './core.js';

/** @import { RegistryContext } from './registry.js' */

/**
 * The description of a metric of the host.
 *
 * @internal
 * @typedef {object} Description
 * @property {string} name
 * @property {string} help
 * @property {string[]} keys The keys of its labels.
 * @property {Float64Array | undefined} bounds The bounds of a histogram.
 */

/**
 * A metric of the host: its description, and the registry whose core records its values.
 *
 * @internal
 */
class Metric {
  #context;

  /**
   * @param {RegistryContext} context
   * @param {string} name
   * @param {string} help
   * @param {string[]} keys
   * @param {number[]} [bounds]
   */
  constructor(context, name, help, keys, bounds) {
    this.#context = context;
    /** @type {Description} */
    this.description = { name, help, keys: [...keys], bounds: bounds && new Float64Array(bounds) };
  }

  /**
   * Records a value, and warns if the core rejects the metric.
   *
   * @param {number} operation
   * @param {unknown} value
   * @param {string[]} values
   */
  record(operation, value, values) {
    const { name, keys } = this.description;
    if (typeof value !== 'number') {
      throw new TypeError(`\`${name}\` takes a number, not ${String(value)}`);
    }
    if (values.length !== keys.length || values.some((text) => typeof text !== 'string')) {
      throw new TypeError(`\`${name}\` takes the values of its labels [${keys}] as strings, not [${values}]`);
    }
    const reason = this.#context.core.record(operation, this.description, values, value);
    if (reason !== undefined) {
      this.#context.warn(reason);
    }
  }
}

/** A counter of the host. */
export class Counter {
  #metric;

  /**
   * @internal
   * @param {ConstructorParameters<typeof Metric>} metric
   */
  constructor(...metric) {
    this.#metric = new Metric(...metric);
  }

  /**
   * Counts an amount, which may have a fraction. A negative amount or NaN is ignored.
   *
   * @param {number} amount
   * @param {...string} labels The values of the labels, in the order of their keys; a label with an
   *   empty value is omitted.
   */
  add(amount, ...labels) {
    this.#metric.record(OPERATIONS.add, amount, labels);
  }

  /**
   * Counts one event.
   *
   * @param {...string} labels The values of the labels.
   */
  inc(...labels) {
    this.add(1, ...labels);
  }
}

/** A gauge of the host. */
export class Gauge {
  #metric;

  /**
   * @internal
   * @param {ConstructorParameters<typeof Metric>} metric
   */
  constructor(...metric) {
    this.#metric = new Metric(...metric);
  }

  /**
   * Sets the gauge.
   *
   * @param {number} value
   * @param {...string} labels The values of the labels, in the order of their keys; a label with an
   *   empty value is omitted.
   */
  set(value, ...labels) {
    this.#metric.record(OPERATIONS.set, value, labels);
  }

  /**
   * Adds a whole number, which may be negative, to the gauge.
   *
   * @param {number} difference
   * @param {...string} labels The values of the labels.
   */
  add(difference, ...labels) {
    if (!Number.isSafeInteger(difference)) {
      throw new RangeError(`a gauge adds whole numbers, not ${String(difference)}; use \`set\``);
    }
    this.#metric.record(OPERATIONS.raise, difference, labels);
  }
}

/** A histogram of the host. */
export class Histogram {
  #metric;

  /**
   * @internal
   * @param {ConstructorParameters<typeof Metric>} metric
   */
  constructor(...metric) {
    this.#metric = new Metric(...metric);
  }

  /**
   * Records a value; NaN is ignored.
   *
   * @param {number} value
   * @param {...string} labels The values of the labels, in the order of their keys; a label with an
   *   empty value is omitted.
   */
  observe(value, ...labels) {
    this.#metric.record(OPERATIONS.observe, value, labels);
  }
}
