import { WasmetryError } from './error.js';
import { trapReason } from './trap.js';

/** @import { Core } from './core.js' */

/** Bytes of a batch, at most: twice what a region may have. The guest crate's have 8 KiB. */
const LARGEST_BATCH = 16 << 20;

/** What stands for a batch that is none, so that it is counted. */
const NO_BATCH = new Uint8Array();

/**
 * What a guest is told: the WIT record `settings`.
 *
 * @typedef {object} Settings
 * @property {'off' | 'mapped' | 'pushed'} collection How the guest is collected.
 * @property {'off'} recordLevel The finest level of logs to record.
 * @property {'off'} exportLevel The finest level of logs that is exported.
 * @property {'cached'} timestamps Where the time of a log record comes from.
 * @property {number} region The number of the region, for its batches.
 * @property {number} sampleRatio The share of traces to sample.
 * @property {bigint} consumed How far the guest's records were consumed.
 * @property {bigint} seed A random number for the ids of spans; 0, as none are taken.
 * @property {bigint} time The wall clock in nanoseconds for logs and spans; 0, as none are taken.
 */

/**
 * The functions of the WIT interface `wasmetry:telemetry/region`. None of them throws, whatever a guest gives them.
 *
 * @typedef {object} Region
 * @property {(abi: number) => Settings} open Opens a region.
 * @property {(window: Uint8Array, base: bigint, header: bigint) => void} attach Lends the host the guest's memory.
 * @property {(batch: Uint8Array) => Settings} flush Takes what the guest has recorded.
 * @property {() => Settings} refresh Tells the settings again.
 */

/**
 * What all instances of a registry share.
 *
 * @internal
 * @typedef {object} Host
 * @property {Core} core
 * @property {() => number} now Milliseconds since the registry was made.
 * @property {Set<Share>} mapped The instances whose memory is read at a scrape.
 * @property {(error: unknown) => void} warn Reports what must not disturb a guest.
 * @property {FinalizationRegistry<Share>} finalizer
 */

/**
 * What outlives the object that a host holds of an instance.
 *
 * @internal
 */
export class Share {
  /** Whether the instance has ended. */
  ended = false;
  /** @type {WebAssembly.Memory | undefined} The memory that the guest's regions lie in, if it can be read. */
  memory;
  /** @type {(() => unknown)[]} The exports that a core module's regions were found by. */
  exports = [];

  /**
   * @param {Host} host
   * @param {number} handle
   */
  constructor(host, handle) {
    this.host = host;
    this.handle = handle;
  }

  /** Collects what lies in the guest's memory. */
  read() {
    if (!this.ended && this.memory) {
      this.host.core.read(this.handle, this.memory, this.host.now());
    }
  }

  /** Collects for the last time. */
  end() {
    if (!this.ended) {
      this.ended = true;
      this.host.mapped.delete(this);
      this.host.finalizer.unregister(this);
      this.host.core.end(this.handle, this.memory, this.host.now());
      this.memory = undefined;
      this.exports = [];
    }
  }

  /**
   * Keeps the memory that the guest's regions lie in.
   *
   * @param {WebAssembly.Memory} memory
   * @param {(() => unknown)[]} [exports]
   */
  map(memory, exports = []) {
    this.memory = memory;
    this.exports = exports;
    this.host.mapped.add(this);
  }
}

/**
 * One instance of a component: give its {@link imports} to the guest, {@link call} the guest through it, and {@link end} it.
 *
 * An instance that is dropped without `end` is ended when the garbage collector finds it.
 */
export class Instance {
  /** @type {Share} */
  #share;
  /** @type {Set<WebAssembly.Memory>} The memories of the guest's core modules. */
  #memories = new Set();

  /**
   * @internal
   * @param {Share} share
   */
  constructor(share) {
    this.#share = share;
    share.host.finalizer.register(this, share, share);

    /**
     * The functions of `wasmetry:telemetry/region`, for a module of your own that `jco transpile --map` refers to.
     *
     * @readonly
     * @type {Region}
     */
    this.region = {
      open: (abi) => this.#quietly(() => this.#open(abi)),
      attach: (_window, _base, header) => void this.#quietly(() => this.#attach(header)),
      flush: (batch) => this.#quietly(() => this.#flush(batch)),
      refresh: () => this.#quietly(() => this.#settings(0)),
    };

    /**
     * The imports that a component transpiled with `--instantiation` needs, beside WASI's: under the name that jco's output
     * looks up, and under the one that its types ask for.
     *
     * @readonly
     * @type {{ 'wasmetry:telemetry/region': Region, 'wasmetry:telemetry/region@0.1.0': Region }}
     */
    this.imports = {
      'wasmetry:telemetry/region': this.region,
      'wasmetry:telemetry/region@0.1.0': this.region,
    };

    /**
     * The third argument of the function `instantiate` that jco makes.
     *
     * With it, the guest's memory is read where it lies: nothing is sent when a request ends, a scrape sees what a guest has
     * not sent yet, and what it recorded before a trap is there to the last event. Without it, or for a component of several
     * memories, the guest sends what it records.
     *
     * @readonly
     * @type {(module: WebAssembly.Module, imports?: Record<string, any>) => WebAssembly.Instance}
     */
    this.instantiateCore = (module, imports) => {
      const instance = new WebAssembly.Instance(module, imports);
      for (const value of Object.values(instance.exports)) {
        if (value instanceof WebAssembly.Memory) {
          this.#memories.add(value);
        }
      }
      return instance;
    };
  }

  /**
   * Calls a function of the guest, and counts in `wasm_traps_total` if it traps. It returns and throws what the function does;
   * of one that returns a promise, it counts how the promise ends.
   *
   * @template {any[]} P
   * @template R
   * @param {(...parameters: P) => R} guest
   * @param {P} parameters
   * @returns {R}
   */
  call(guest, ...parameters) {
    if (this.#share.ended) {
      throw new WasmetryError('the instance has ended; make another one by `component.instance()`');
    }
    try {
      const result = guest(...parameters);
      return isPromise(result) ? /** @type {any} */ (result.then(undefined, (error) => this.#failed(error))) : result;
    } catch (error) {
      return this.#failed(error);
    }
  }

  /**
   * Has a core module set the metrics that it observes (`observable_gauge!`), for the next scrape to find: call it before a scrape
   * and before {@link end}, while no function of the guest runs, nor has one trapped. Components observe by themselves.
   *
   * @throws What the guest throws, as every call into it may trap.
   */
  observe() {
    this.call(() => this.#share.exports.forEach((address) => address()));
  }

  /** Collects for the last time what the guest has recorded. Ending it again does nothing. */
  end() {
    this.#quietly(() => this.#share.end());
  }

  /** Ends the instance, for `using`. */
  [Symbol.dispose]() {
    this.end();
  }

  /**
   * @param {any} error
   * @returns {never}
   */
  #failed(error) {
    const reason = trapReason(error);
    if (reason !== undefined && !this.#share.ended) {
      this.#quietly(() => this.#share.host.core.trapped(this.#share.handle, reason));
    }
    throw error;
  }

  /**
   * @param {number} abi
   * @returns {Settings}
   */
  #open(abi) {
    const { host, handle, ended } = this.#share;
    if (ended || !host.core.admits(abi >>> 0)) {
      return settings('off', 0);
    }
    const [memory, another] = this.#memories;
    if (memory && !another) {
      this.#share.map(memory);
      return settings('mapped', 0);
    }
    const region = host.core.open(handle);
    return region === 0 ? settings('off', 0) : settings('pushed', region);
  }

  /** @param {bigint} header */
  #attach(header) {
    const { host, handle, ended, memory } = this.#share;
    // A guest that was not asked for its memory has none to attach.
    if (!ended && memory) {
      host.core.attach(handle, BigInt.asUintN(64, BigInt(header)));
    }
  }

  /**
   * @param {Uint8Array} batch
   * @returns {Settings}
   */
  #flush(batch) {
    const { host, handle, ended, memory } = this.#share;
    if (memory) {
      this.#share.read();
    } else if (!ended) {
      const isBatch = batch instanceof Uint8Array && batch.length <= LARGEST_BATCH;
      host.core.push(handle, isBatch ? batch : NO_BATCH, host.now());
    }
    return this.#settings(0);
  }

  /**
   * @param {number} region
   * @returns {Settings}
   */
  #settings(region) {
    const { ended, memory } = this.#share;
    return settings(ended ? 'off' : memory ? 'mapped' : 'pushed', region);
  }

  /**
   * Does something on behalf of a guest, which must not suffer if it fails.
   *
   * @template R
   * @param {() => R} action
   * @returns {R | Settings}
   */
  #quietly(action) {
    try {
      return action();
    } catch (error) {
      this.#share.host.warn(error);
      return settings('off', 0);
    }
  }
}

/**
 * What a host answers that takes metrics only.
 *
 * @internal
 * @param {Settings['collection']} collection
 * @param {number} region
 * @returns {Settings}
 */
export function settings(collection, region) {
  return {
    collection,
    recordLevel: 'off',
    exportLevel: 'off',
    timestamps: 'cached',
    region,
    sampleRatio: 0,
    consumed: 0n,
    seed: 0n,
    time: 0n,
  };
}

/**
 * @param {any} value
 * @returns {value is Promise<any>}
 */
function isPromise(value) {
  return typeof value?.then === 'function';
}
