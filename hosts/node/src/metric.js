import { OPERATIONS } from './core.js';

/** @import { Core } from './core.js' */

/**
 * What a metric of the host's own is: its name, its help text and the keys of its labels.
 *
 * @internal
 */
class Metric {
  /**
   * @param {Core} core
   * @param {string} name
   * @param {string} help
   * @param {string[]} keys
   * @param {number[]} [bounds]
   */
  constructor(core, name, help, keys, bounds) {
    this.core = core;
    this.description = { name, help, keys: [...keys], bounds: bounds && new Float64Array(bounds) };
  }

  /**
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
      throw new TypeError(`\`${name}\` takes the values of its labels [${keys}] as texts, not [${values}]`);
    }
    this.core.record(operation, this.description, values, value);
  }
}

/** A counter of the host's own. */
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
   * Counts an amount, which does not have to be whole; a negative one, or one that is no number, is ignored.
   *
   * @param {number} amount
   * @param {...string} labels The values of the labels, in the order of their keys; an empty one leaves its label away.
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

/** A gauge of the host's own. */
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
   * @param {...string} labels The values of the labels, in the order of their keys; an empty one leaves its label away.
   */
  set(value, ...labels) {
    this.#metric.record(OPERATIONS.set, value, labels);
  }

  /**
   * Raises the gauge by a whole number, or lowers it by a negative one.
   *
   * @param {number} difference
   * @param {...string} labels The values of the labels.
   */
  add(difference, ...labels) {
    if (!Number.isSafeInteger(difference)) {
      throw new RangeError(`a gauge is raised by whole numbers, not by ${String(difference)}; use \`set\``);
    }
    this.#metric.record(OPERATIONS.raise, difference, labels);
  }
}

/** A histogram of the host's own. */
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
   * Records a value; one that is no number is ignored.
   *
   * @param {number} value
   * @param {...string} labels The values of the labels, in the order of their keys; an empty one leaves its label away.
   */
  observe(value, ...labels) {
    this.#metric.record(OPERATIONS.observe, value, labels);
  }
}
