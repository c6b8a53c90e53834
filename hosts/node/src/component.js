import { Instance, Share } from './instance.js';

/** @import { Host } from './instance.js' */

/** What the names of exports begin with that give a region's header. See `crates/abi/FORMAT.md`, section 4. */
const PREFIX = 'wasmetry_region_';

/** The section that a binary declares its metrics in. */
const SECTION = 'wasmetry.v1';

/**
 * What {@link Registry.component} needs to know.
 *
 * @typedef {object} ComponentOptions
 * @property {string} name The component's name, which all its series carry.
 * @property {string} [version] Its version; give one, since two binaries that share an identity share their series.
 * @property {string} [tenant] Whose it is.
 * @property {Uint8Array | ArrayBuffer | WebAssembly.Module} wasm The binary, which declares its metrics: a component, a core
 *   module, or the core module `NAME.core.wasm` that jco takes out of a component.
 */

/** A registered component. */
export class Component {
  #host;
  #handle;

  /** @readonly The component's name. */
  name;
  /** @readonly The component's version, or an empty text. */
  version;
  /** @readonly The tenant, or an empty text. */
  tenant;

  /**
   * @internal
   * @param {Host} host
   * @param {ComponentOptions} options
   */
  constructor(host, { name, version = '', tenant = '', wasm }) {
    for (const [key, value] of Object.entries({ name, version, tenant })) {
      if (typeof value !== 'string') {
        throw new TypeError(`the component's \`${key}\` is no string: ${String(value)}`);
      }
    }
    this.name = name;
    this.version = version;
    this.tenant = tenant;
    this.#host = host;
    this.#handle = register(host, [name, version, tenant], wasm);
  }

  /**
   * What the author of the binary should know, a sentence each: declarations that were refused, names that clash with another
   * component's, a section that a tool has removed.
   *
   * @returns {string[]}
   */
  get warnings() {
    return this.#host.core.warnings(this.#handle);
  }

  /**
   * Starts an instance: one for each that you make of the component.
   *
   * @returns {Instance}
   */
  instance() {
    return new Instance(this.#start());
  }

  /**
   * Starts an instance for a core module, whose memory is read where it lies.
   *
   * Call it right after the module was instantiated: it calls the exports that say where the metrics are.
   *
   * @param {WebAssembly.Instance} instance
   * @returns {Instance}
   * @throws What the guest throws, as every call into it may trap.
   */
  attachModule(instance) {
    if (!(instance?.exports?.['memory'] instanceof WebAssembly.Memory)) {
      throw new TypeError('this is no instance of a module that exports its memory as `memory`');
    }
    const exports = Object.entries(instance.exports)
      .filter(([name, value]) => name.startsWith(PREFIX) && typeof value === 'function')
      .map(([, value]) => /** @type {() => unknown} */ (value));
    const addresses = exports.map((address) => address());
    const share = this.#start();
    share.map(instance.exports['memory'], exports);
    for (const address of addresses) {
      // An address of 32 bits comes signed, one of 64 is a bigint; whatever else there is, there is no region.
      const header = typeof address === 'number' ? BigInt(address >>> 0) : address;
      if (typeof header === 'bigint') {
        this.#host.core.attach(share.handle, BigInt.asUintN(64, header));
      }
    }
    return new Instance(share);
  }

  #start() {
    return new Share(this.#host, this.#host.core.start(this.#handle));
  }
}

/**
 * @param {Host} host
 * @param {string[]} identity
 * @param {ComponentOptions['wasm']} wasm
 * @returns {number} The component's handle.
 */
function register({ core }, identity, wasm) {
  if (wasm instanceof WebAssembly.Module) {
    const sections = WebAssembly.Module.customSections(wasm, SECTION).map((section) => new Uint8Array(section));
    // Without one it declares nothing, as an empty section does.
    const parts = sections.length === 0 ? [new Uint8Array()] : sections;
    return core.register(identity, parts, parts.length);
  }
  if (wasm instanceof ArrayBuffer) {
    return core.register(identity, [new Uint8Array(wasm)], 0);
  }
  if (wasm instanceof Uint8Array) {
    return core.register(identity, [wasm], 0);
  }
  throw new TypeError('the component\'s `wasm` is no Uint8Array, ArrayBuffer or WebAssembly.Module; read the file first');
}
