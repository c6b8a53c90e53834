/**
 * The core: the Rust host crate as WebAssembly, which holds one registry. See `hosts/node/core` for
 * its exports.
 *
 * Nothing else in this package knows the core's functions or its memory.
 */

import { WasmetryError } from './error.js';

/** @import { WasmMemory, WasmModule } from './instance.js' */
/** @import { Description } from './metric.js' */

/**
 * The core's binary, `@wasmetry/node/core.wasm`: its bytes, the compiled module, or its URL.
 *
 * @typedef {Uint8Array | ArrayBuffer | WasmModule | URL} CoreSource
 */

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** @type {Promise<WasmModule> | undefined} The package's own core, compiled once. */
let compiled;

/** The core's number of each format. */
export const FORMATS = /** @type {const} */ ({ prometheus: 0, openmetrics: 1 });

/** The core's number of each way to record. */
export const OPERATIONS = /** @type {const} */ ({ add: 0, set: 1, raise: 2, observe: 3 });

/** The core's result of recording in a metric that it rejects. */
const REJECTED = 2;

/**
 * One instance of the core.
 *
 * @internal
 */
export class Core {
  /** @type {any} */
  #exports;
  /** @type {unknown} The error that ended the core, if it has failed. */
  #failure;
  /** @type {WasmMemory | undefined} The guest's memory that the core is reading. */
  #guest;

  /**
   * Loads the core.
   *
   * @param {CoreSource} [source] The core's binary; without it, the one in this package.
   * @returns {Promise<Core>}
   */
  static async create(source) {
    return new Core(await (source === undefined ? compileOwn() : compileGiven(source)));
  }

  /** @param {WasmModule} module */
  constructor(module) {
    const imports = { guest: { copy: this.#copy.bind(this) } };
    try {
      this.#exports = new WebAssembly.Instance(module, imports).exports;
    } catch (error) {
      throw new WasmetryError(`${NO_CORE}: ${error}`, { cause: error });
    }
    if (typeof this.#exports.register !== 'function') {
      throw new WasmetryError(NO_CORE);
    }
  }

  /**
   * Registers a component and returns its handle.
   *
   * @param {string[]} identity
   * @param {Uint8Array[]} parts The binary, or descriptor sections.
   * @param {number} sections The number of sections, or 0 for a binary.
   * @returns {number}
   */
  register(identity, parts, sections) {
    this.#write([...identity, ...parts]);
    return this.#call('register', sections);
  }

  /**
   * @param {number} component
   * @returns {string[]}
   */
  warnings(component) {
    this.#call('warnings', component);
    const output = this.#output();
    const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
    const texts = [];
    for (let at = 0; at < output.length; ) {
      const start = at + 4;
      at = start + view.getUint32(at, true);
      texts.push(decoder.decode(output.subarray(start, at)));
    }
    return texts;
  }

  /**
   * @param {number} component
   * @returns {number} The instance's handle.
   */
  start(component) {
    return this.#call('start_instance', component);
  }

  /**
   * @param {number} abi
   * @returns {boolean} `true` if the core reads regions of this version of the format.
   */
  admits(abi) {
    return this.#run('admit_version', abi) !== 0;
  }

  /**
   * @param {number} instance
   * @returns {number} The number of the region for the guest's batches, or 0 if it has too many.
   */
  open(instance) {
    return this.#run('open_region', instance);
  }

  /**
   * @param {number} instance
   * @param {Uint8Array} batch
   * @param {number} now
   */
  push(instance, batch, now) {
    this.#room(batch.length).set(batch);
    this.#call('push_batch', instance, now);
  }

  /**
   * @param {number} instance
   * @param {bigint} header
   */
  attach(instance, header) {
    this.#call('attach_region', instance, header);
  }

  /**
   * Reads a guest's regions in place.
   *
   * @param {number} instance
   * @param {WasmMemory} memory
   * @param {number} now
   */
  read(instance, memory, now) {
    this.#with(memory, () => {
      this.#call('set_memory', instance, memory.buffer.byteLength / 65536);
      this.#call('read_regions', instance, now);
    });
  }

  /**
   * @param {number} instance
   * @param {WasmMemory | undefined} memory
   * @param {number} now
   */
  end(instance, memory, now) {
    this.#with(memory, () => this.#call('end_instance', instance, now));
  }

  /**
   * @param {number} instance
   * @param {string} reason
   */
  trapped(instance, reason) {
    this.#write([reason]);
    this.#call('count_trap', instance);
  }

  /**
   * Records in a metric of the host.
   *
   * @param {number} operation
   * @param {Description} metric
   * @param {string[]} values The values of its labels.
   * @param {number} value
   * @returns {string | undefined} The reason if the metric is rejected, so that it is not exported.
   */
  record(operation, { name, help, keys, bounds }, values, value) {
    const parts = [name, help, ...keys, ...values];
    this.#write(bounds ? [...parts, new Uint8Array(bounds.buffer)] : parts);
    const isRejected = this.#call('record', operation, keys.length, value) === REJECTED;
    return isRejected ? decoder.decode(this.#output()) : undefined;
  }

  /**
   * @param {string} accept An `Accept` header.
   * @returns {number} The format's number.
   */
  negotiate(accept) {
    this.#writeAccept(accept);
    return this.#run('negotiate');
  }

  /**
   * @param {number} format
   * @param {string} accept The `Accept` header, whose parameters it repeats.
   * @returns {string} Its media type.
   */
  contentType(format, accept) {
    this.#writeAccept(accept);
    this.#call('content_type', format);
    return decoder.decode(this.#output());
  }

  /**
   * @param {number} format
   * @param {number} now
   * @returns {Uint8Array} The values of all series; a copy.
   */
  encode(format, now) {
    this.#call('encode', format, now);
    return this.#output().slice();
  }

  /**
   * Calls a function of the core that returns 0 on failure.
   *
   * @param {string} name
   * @param {...(number | bigint)} parameters
   * @returns {number}
   */
  #call(name, ...parameters) {
    const result = this.#run(name, ...parameters);
    if (result === 0) {
      throw new WasmetryError(decoder.decode(this.#output()) || this.#failed());
    }
    return result;
  }

  /**
   * @param {string} name
   * @param {...(number | bigint)} parameters
   * @returns {number}
   */
  #run(name, ...parameters) {
    if (this.#failure !== undefined) {
      throw new WasmetryError(this.#failed(), { cause: this.#failure });
    }
    try {
      return this.#exports[name](...parameters);
    } catch (error) {
      this.#failure = error;
      throw new WasmetryError(this.#failed(), { cause: error });
    }
  }

  #failed() {
    return 'the core of the registry has failed and its metrics are lost; make a new registry, and report this error';
  }

  /**
   * Writes the input: each part after its length.
   *
   * @param {(string | Uint8Array)[]} parts
   */
  #write(parts) {
    const bytes = parts.map((part) => (typeof part === 'string' ? encoder.encode(part) : part));
    const room = this.#room(bytes.reduce((sum, part) => sum + 4 + part.length, 0));
    const view = new DataView(room.buffer, room.byteOffset);
    let at = 0;
    for (const part of bytes) {
      view.setUint32(at, part.length, true);
      room.set(part, at + 4);
      at += 4 + part.length;
    }
  }

  /**
   * Reserves room for input in the core's memory.
   *
   * @param {number} length
   * @returns {Uint8Array}
   */
  #room(length) {
    // The core's pointers have 32 bits.
    const start = this.#call('input', Math.min(length, 0xffff_ffff)) >>> 0;
    return new Uint8Array(this.#exports.memory.buffer, start, length);
  }

  /** @param {string} accept An `Accept` header. */
  #writeAccept(accept) {
    const bytes = encoder.encode(accept);
    this.#room(bytes.length).set(bytes);
  }

  /** @returns {Uint8Array} The last call's output, valid until the next call. */
  #output() {
    const length = this.#run('output_len') >>> 0;
    return new Uint8Array(this.#exports.memory.buffer, length === 0 ? 0 : this.#run('output') >>> 0, length);
  }

  /**
   * @param {WasmMemory | undefined} memory
   * @param {() => void} read
   */
  #with(memory, read) {
    this.#guest = memory;
    try {
      read();
    } finally {
      this.#guest = undefined;
    }
  }

  /**
   * The core's import: copies bytes of the guest's memory into the core's.
   *
   * @param {number} address
   * @param {number} into
   * @param {number} length
   * @returns {0 | 1}
   */
  #copy(address, into, length) {
    const from = this.#guest?.buffer;
    if (!from || address + (length >>> 0) > from.byteLength) {
      return 0;
    }
    const bytes = new Uint8Array(from, address, length >>> 0);
    new Uint8Array(this.#exports.memory.buffer, into >>> 0).set(bytes);
    return 1;
  }
}

/** The error of a module that is not the core. */
const NO_CORE = 'the given core is not the one of this package; give the bytes of `@wasmetry/node/core.wasm`';

/**
 * Decodes the core that this package embeds as text, so that every bundler finds it.
 *
 * @param {string} base64
 * @returns {ArrayBuffer}
 */
export function decode(base64) {
  return Uint8Array.from(Buffer.from(base64, 'base64')).buffer;
}

/** @returns {Promise<WasmModule>} */
function compileOwn() {
  // An import on demand: a program that gives the core loads no second one.
  compiled ??= import('../dist/core-bytes.js')
    .then(({ default: base64 }) => WebAssembly.compile(decode(base64)))
    .catch((error) => {
      compiled = undefined;
      throw new WasmetryError(
        `the core cannot be loaded: ${error}; install the package again, build it by \`cargo xtask node\`, ` +
          'or give its bytes as `Registry.create({ core })`',
        { cause: error },
      );
    });
  return compiled;
}

/**
 * @param {CoreSource} source
 * @returns {Promise<WasmModule>}
 */
async function compileGiven(source) {
  if (source instanceof WebAssembly.Module) {
    return source;
  }
  if (!(source instanceof URL || source instanceof Uint8Array || source instanceof ArrayBuffer)) {
    throw new TypeError('`core` is no Uint8Array, ArrayBuffer, WebAssembly.Module or URL');
  }
  try {
    const bytes = source instanceof URL ? await read(source) : source;
    return await WebAssembly.compile(/** @type {BufferSource} */ (bytes));
  } catch (error) {
    const from = source instanceof URL ? ` from ${source}` : '';
    throw new WasmetryError(`the given core cannot be loaded${from}: ${error}`, { cause: error });
  }
}

/**
 * @param {URL} url
 * @returns {Promise<Uint8Array | ArrayBuffer>}
 */
async function read(url) {
  if (url.protocol === 'file:') {
    const { readFile } = await import('node:fs/promises');
    return readFile(url);
  }
  const response = await fetch(url);
  if (!response.ok) {
    throw new WasmetryError(`status ${response.status}`);
  }
  return response.arrayBuffer();
}
