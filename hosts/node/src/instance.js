import { WasmetryError } from './error.js';
import { trapReason } from './trap.js';

/** @import { RegistryContext } from './registry.js' */

/**
 * A compiled module: `WebAssembly.Module`, or any object in a program whose types lack WebAssembly
 * (TypeScript has them in `lib.dom`).
 *
 * @typedef {typeof globalThis extends { WebAssembly: { Module: new (...all: any[]) => infer M } }
 *   ? M : object} WasmModule
 */

/**
 * An instance of a module: `WebAssembly.Instance`, or an object with its exports.
 *
 * @typedef {{ readonly exports: Record<string, any> }} WasmInstance
 */

/**
 * A module's memory: `WebAssembly.Memory`, or an object with its buffer.
 *
 * @internal
 * @typedef {{ readonly buffer: ArrayBuffer }} WasmMemory
 */

/** The limit of a batch in bytes, twice that of a region. The guest crate's batches have 8 KiB. */
const LARGEST_BATCH = 16 << 20;

/** An invalid batch, pushed in place of a value that is no batch, so that it is counted. */
const INVALID_BATCH = new Uint8Array();

/**
 * Keeps an instance's handle for as long as a key is reachable: the exports of its guest, which
 * every function of the guest refers to.
 *
 * @type {WeakMap<object, Instance>}
 */
const BY_EXPORTS = new WeakMap();

/**
 * The WIT record `settings`, which a guest receives.
 *
 * @typedef {object} Settings
 * @property {'off' | 'mapped' | 'pushed'} collection The way in which the guest is collected.
 * @property {'off'} recordLevel The finest level of logs to record.
 * @property {'off'} exportLevel The finest level of logs that is exported.
 * @property {'cached'} timestamps The source of a log record's time.
 * @property {number} region The number of the region, for its batches.
 * @property {number} sampleRatio The share of traces to sample.
 * @property {bigint} consumed The number of the guest's records that the host has read.
 * @property {bigint} seed A random number for the ids of spans; 0, as this host takes no spans.
 * @property {bigint} time The wall clock in nanoseconds for logs and spans; 0, as this host takes
 *   none.
 */

/**
 * The functions of the WIT interface `wasmetry:telemetry/region`. None of them throws, whatever a
 * guest passes.
 *
 * @typedef {object} Region
 * @property {(abi: number) => Settings} open Opens a region.
 * @property {(window: Uint8Array, base: bigint, header: bigint) => void} attach Lends the host the
 *   guest's memory.
 * @property {(batch: Uint8Array) => Settings} flush Pushes a batch.
 * @property {() => Settings} refresh Returns the current settings.
 */

/**
 * The part of an instance that outlives its handle: the registry reads the guest's memory by it.
 *
 * @internal
 */
export class InstanceState {
  /** `true` once the instance has ended. */
  ended = false;
  /** @type {WasmMemory | undefined} The memory with the guest's regions, if the host reads it. */
  memory;

  /**
   * @param {RegistryContext} context
   * @param {number} handle
   */
  constructor(context, handle) {
    this.context = context;
    this.handle = handle;
  }

  /** Collects the metrics in the guest's memory. */
  read() {
    if (!this.ended && this.memory) {
      this.context.core.read(this.handle, this.memory, this.context.now());
    }
  }

  /** Collects for the last time. */
  end() {
    if (!this.ended) {
      this.ended = true;
      this.context.mapped.delete(this);
      this.context.finalizer.unregister(this);
      this.context.core.end(this.handle, this.memory, this.context.now());
      this.memory = undefined;
    }
  }

  /**
   * Keeps the memory with the guest's regions.
   *
   * @param {WasmMemory} memory
   */
  map(memory) {
    this.memory = memory;
    this.context.mapped.add(this);
  }
}

/**
 * The handle of one instance of a component. Give its {@link imports} to the guest, {@link call}
 * the guest through it, and {@link end} it.
 *
 * An instance without `end` is ended when the garbage collector finds its guest.
 */
export class Instance {
  /** @type {InstanceState} */
  #state;
  /** @type {Set<WasmMemory>} The memories of the guest's core modules. */
  #memories = new Set();
  /** @type {(() => unknown)[]} The exports of a core module that return its regions' headers. */
  #headers;

  /**
   * @internal
   * @param {InstanceState} state
   * @param {{ exports: object, headers: (() => unknown)[] }} [module] An attached core module.
   */
  constructor(state, module) {
    this.#state = state;
    this.#headers = module?.headers ?? [];
    state.context.finalizer.register(this, state, state);
    if (module) {
      // The headers too, since `exports` may be an object of the caller's own.
      [module.exports, ...module.headers].forEach((key) => BY_EXPORTS.set(key, this));
    }

    /**
     * The functions of `wasmetry:telemetry/region`, for a module of your own that
     * `jco transpile --map` refers to.
     *
     * @readonly
     * @type {Region}
     */
    this.region = {
      open: (abi) => this.#guarded(() => this.#open(abi)),
      attach: (_window, _base, header) => void this.#guarded(() => this.#attach(header)),
      flush: (batch) => this.#guarded(() => this.#flush(batch)),
      refresh: () => this.#guarded(() => this.#settings(0)),
    };

    /**
     * The imports that a component transpiled with `--instantiation` needs beside WASI's: under the
     * name in jco's output, and under the one in its types.
     *
     * @readonly
     * @type {{ 'wasmetry:telemetry/region': Region, 'wasmetry:telemetry/region@0.1.0': Region }}
     */
    this.imports = {
      'wasmetry:telemetry/region': this.region,
      'wasmetry:telemetry/region@0.1.0': this.region,
    };

    /**
     * The third argument of jco's function `instantiate`.
     *
     * With it, the host reads the guest's memory in place: nothing is sent at the end of a
     * request, a scrape shows metrics that the guest has not sent yet, and a trap loses none.
     * Without it, and for a component with several memories, the guest pushes its metrics.
     *
     * @readonly
     * @type {(module: WasmModule, imports?: Record<string, any>) => WasmInstance}
     */
    this.instantiateCore = (module, imports) => {
      const instance = new WebAssembly.Instance(module, imports);
      BY_EXPORTS.set(instance.exports, this);
      for (const value of Object.values(instance.exports)) {
        if (value instanceof WebAssembly.Memory) {
          this.#memories.add(value);
        }
      }
      return instance;
    };
  }

  /**
   * Calls a function of the guest and counts a trap in `wasm_traps_total`. It returns and throws
   * what the function does. For a promise, it counts how the promise ends.
   *
   * @template {any[]} P
   * @template R
   * @param {(...parameters: P) => R} guest
   * @param {P} parameters
   * @returns {R}
   */
  call(guest, ...parameters) {
    if (this.#state.ended) {
      throw new WasmetryError('the instance has ended; make another one by `component.instance()`');
    }
    try {
      const result = guest(...parameters);
      if (!isPromise(result)) {
        return result;
      }
      return /** @type {any} */ (result.then(undefined, (error) => this.#failed(error)));
    } catch (error) {
      return this.#failed(error);
    }
  }

  /**
   * Sets the metrics that a core module observes (`observable_gauge!`) for the next scrape. Call it
   * before a scrape and before {@link end}, while no function of the guest runs and none has
   * trapped. Components observe by themselves.
   *
   * @throws The guest's error, since every call into a guest may trap.
   */
  observe() {
    this.call(() => this.#headers.forEach((header) => header()));
  }

  /** Collects the guest's metrics for the last time. A second call does nothing. */
  end() {
    this.#guarded(() => this.#state.end());
    this.#headers = [];
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
    const { context, handle, ended } = this.#state;
    const reason = trapReason(error);
    if (reason !== undefined && !ended) {
      this.#guarded(() => context.core.trapped(handle, reason));
    }
    throw error;
  }

  /**
   * @param {number} abi
   * @returns {Settings}
   */
  #open(abi) {
    const { context, handle, ended } = this.#state;
    if (ended || !context.core.admits(abi >>> 0)) {
      return settings('off', 0);
    }
    const [memory, another] = this.#memories;
    if (memory && !another) {
      this.#state.map(memory);
      return settings('mapped', 0);
    }
    const region = context.core.open(handle);
    return region === 0 ? settings('off', 0) : settings('pushed', region);
  }

  /** @param {bigint} header */
  #attach(header) {
    const { context, handle, ended, memory } = this.#state;
    // A guest that pushes has no memory to attach.
    if (!ended && memory) {
      context.core.attach(handle, BigInt.asUintN(64, BigInt(header)));
    }
  }

  /**
   * @param {Uint8Array} batch
   * @returns {Settings}
   */
  #flush(batch) {
    const { context, handle, ended, memory } = this.#state;
    if (memory) {
      this.#state.read();
    } else if (!ended) {
      const isBatch = batch instanceof Uint8Array && batch.length <= LARGEST_BATCH;
      context.core.push(handle, isBatch ? batch : INVALID_BATCH, context.now());
    }
    return this.#settings(0);
  }

  /**
   * @param {number} region
   * @returns {Settings}
   */
  #settings(region) {
    const { ended, memory } = this.#state;
    return settings(ended ? 'off' : memory ? 'mapped' : 'pushed', region);
  }

  /**
   * Runs an action on behalf of a guest. A failure is reported to the host and never reaches the
   * guest.
   *
   * @template R
   * @param {() => R} action
   * @returns {R | Settings}
   */
  #guarded(action) {
    try {
      return action();
    } catch (error) {
      this.#state.context.warn(error);
      return settings('off', 0);
    }
  }
}

/**
 * Returns the settings of a host that takes metrics only.
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
