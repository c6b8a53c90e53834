import { Instance, InstanceState } from './instance.js';

/** @import { WasmInstance, WasmModule } from './instance.js' */
/** @import { RegistryContext } from './registry.js' */

/** The prefix of exports that return a region's header: `crates/abi/FORMAT.md`, section 4. */
const PREFIX = 'wasmetry_region_';

/** The custom section with a binary's declarations. */
const SECTION = 'wasmetry.v1';

/**
 * The options of {@link Registry.component}.
 *
 * @typedef {object} ComponentOptions
 * @property {string} name The component's name, a label of all its series.
 * @property {string} [version] Its version. Give one: two binaries with the same identity share
 *   their series.
 * @property {string} [tenant] The tenant that it belongs to.
 * @property {Uint8Array | ArrayBuffer | WasmModule} wasm The binary, which declares its metrics: a
 *   component, a core module, or the core module `NAME.core.wasm` that jco extracts from a
 *   component.
 */

/** A registered component. */
export class Component {
  #context;
  #handle;

  /** @readonly The component's name. */
  name;
  /** @readonly The component's version, or an empty text. */
  version;
  /** @readonly The tenant, or an empty text. */
  tenant;

  /**
   * @internal
   * @param {RegistryContext} context
   * @param {ComponentOptions} options
   */
  constructor(context, { name, version = '', tenant = '', wasm }) {
    for (const [key, value] of Object.entries({ name, version, tenant })) {
      if (typeof value !== 'string') {
        throw new TypeError(`the component's \`${key}\` is no string: ${String(value)}`);
      }
    }
    this.name = name;
    this.version = version;
    this.tenant = tenant;
    this.#context = context;
    this.#handle = register(context, [name, version, tenant], wasm);
  }

  /**
   * Problems for the author of the binary, a sentence each: refused declarations, names that
   * conflict with another component's, a custom section that a tool has removed.
   *
   * @returns {string[]}
   */
  get warnings() {
    return this.#context.core.warnings(this.#handle);
  }

  /**
   * Starts an instance. Call it once for each instance that you make of the component.
   *
   * @returns {Instance}
   */
  instance() {
    return new Instance(this.#start());
  }

  /**
   * Starts an instance for a core module. The host reads the module's memory in place.
   *
   * Call it right after the module was instantiated: it calls the exports that return the addresses
   * of the metrics. The instance lives as long as the guest, even if you drop the handle that this
   * returns.
   *
   * @param {WasmInstance} instance
   * @returns {Instance}
   * @throws The guest's error, since every call into a guest may trap.
   */
  attachModule(instance) {
    const exports = /** @type {Record<string, unknown> | undefined} */ (instance?.exports);
    const memory = exports?.['memory'];
    if (!exports || !(memory instanceof WebAssembly.Memory)) {
      throw new TypeError('this is no instance of a module that exports its memory as `memory`');
    }
    const headers = Object.entries(exports)
      .filter(([name, value]) => name.startsWith(PREFIX) && typeof value === 'function')
      .map(([, value]) => /** @type {() => unknown} */ (value));
    const addresses = headers.map((header) => header());
    const state = this.#start();
    state.map(memory);
    for (const address of addresses) {
      // A 32-bit address is a signed number, a 64-bit one a bigint; other results are no addresses.
      const header = typeof address === 'number' ? BigInt(address >>> 0) : address;
      if (typeof header === 'bigint') {
        this.#context.core.attach(state.handle, BigInt.asUintN(64, header));
      }
    }
    return new Instance(state, { exports, headers });
  }

  #start() {
    return new InstanceState(this.#context, this.#context.core.start(this.#handle));
  }
}

/**
 * Registers a component in the core.
 *
 * @param {RegistryContext} context
 * @param {string[]} identity
 * @param {ComponentOptions['wasm']} wasm
 * @returns {number} The component's handle.
 */
function register({ core }, identity, wasm) {
  if (wasm instanceof WebAssembly.Module) {
    const found = WebAssembly.Module.customSections(wasm, SECTION);
    const sections = found.map((section) => new Uint8Array(section));
    // A module without the section declares nothing, as one with an empty section.
    const parts = sections.length === 0 ? [new Uint8Array()] : sections;
    return core.register(identity, parts, parts.length);
  }
  if (wasm instanceof ArrayBuffer) {
    return core.register(identity, [new Uint8Array(wasm)], 0);
  }
  if (wasm instanceof Uint8Array) {
    return core.register(identity, [wasm], 0);
  }
  throw new TypeError(
    'the component\'s `wasm` is no Uint8Array, ArrayBuffer or WebAssembly.Module; read the file first',
  );
}
