/**
 * Runs guests for `tests/behaviour.rs`, which sends commands on standard input: a JSON object a
 * line, answered by one on standard output. The test passes the path of jco's output.
 */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { Script } from 'node:vm';

import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import { Registry } from '@wasmetry/node';

import { trapReason } from '../src/trap.js';

const wasi = new WASIShim().getImportObject();

/** Runs `limited.action`, with a timeout if one is given. */
const script = new Script('limited.action()');
const limited = { action: () => {} };
Object.assign(globalThis, { limited });

/** @type {Registry | undefined} The registry of the current guest; an adapted guest has none. */
let registry;
/** @type {() => Promise<Guest>} Makes an instance of the current guest. */
let instantiate;
/** @type {Map<string, Guest>} Its instances. */
const guests = new Map();

/**
 * @typedef {object} Guest
 * @property {(name: string, values: Value[]) => void} call
 * @property {import('@wasmetry/node').Instance} [instance]
 * @property {boolean} [hasEnded] `true` if a call has trapped or was ended.
 */

/** @typedef {bigint | number | string} Value */

const commands = {
  /** Begins with one guest and an empty registry. */
  async open({ name, way, wasm, transpiled }) {
    guests.clear();
    const bytes = await readFile(wasm);
    registry = way === 'adapted' ? undefined : await Registry.create({ process: false });
    const component = registry?.component({ name, wasm: bytes });
    const prepare = way === 'module' ? prepareModule : prepareComponent;
    instantiate = await prepare(component, way === 'module' ? bytes : transpiled, way === 'read');
    return {};
  },

  async instantiate({ on }) {
    guests.set(on, await instantiate());
    return {};
  },

  /** Calls a function; with `timeout` it ends the guest after so many milliseconds. */
  call({ on, name, values, timeout }) {
    const guest = /** @type {Guest} */ (guests.get(on));
    const { call, instance } = guest;
    const typed = values.map(typedValue);
    const action = () => call(name, typed);
    limited.action = action;
    const run = timeout === null ? action : () => script.runInThisContext({ timeout });
    try {
      instance ? instance.call(run) : run();
      return { ended: 'returned' };
    } catch (error) {
      guest.hasEnded = true;
      if (timeout !== null && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') {
        return { ended: 'killed' };
      }
      assert.ok(error instanceof WebAssembly.RuntimeError || error instanceof RangeError, error);
      return { ended: 'trapped', reason: registry ? trapReason(error) : undefined };
    }
  },

  /** Sets the guest's observed metrics for the next scrape. */
  collect({ on }) {
    observe(guests.get(on));
    return {};
  },

  end({ on }) {
    const guest = guests.get(on);
    observe(guest);
    guest?.instance?.end();
    guests.delete(on);
    return {};
  },

  /** Scrapes the metrics. The mark follows everything that guests wrote to standard error. */
  scrape({ mark }) {
    process.stderr.write(`${mark}\n`);
    return { text: registry?.metrics() ?? '' };
  },
};

/** @param {Guest | undefined} guest */
function observe(guest) {
  if (guest && !guest.hasEnded) {
    guest.instance?.observe();
  }
}

async function prepareComponent(component, transpiled, isRead) {
  const url = pathToFileURL(transpiled);
  const { instantiate } = await import(url.href);
  const modules = new Map();
  const module = (path) => {
    const compiled = modules.get(path) ?? readFile(new URL(path, url)).then((bytes) => WebAssembly.compile(bytes));
    modules.set(path, compiled);
    return compiled;
  };
  return async () => {
    const instance = component?.instance();
    const guest = await instantiate(module, { ...wasi, ...instance?.imports }, isRead ? instance.instantiateCore : undefined);
    const camel = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
    return { instance, call: (name, values) => guest[camel(name)](...values) };
  };
}

async function prepareModule(component, bytes) {
  const module = await WebAssembly.compile(bytes);
  return async () => {
    const { exports } = await WebAssembly.instantiate(module);
    const instance = component.attachModule({ exports });
    const call = (name, values) => {
      let free = exports['text-buffer']?.();
      const flat = values.flatMap((value) => {
        if (typeof value !== 'string') return [value];
        const text = Buffer.from(value);
        new Uint8Array(exports.memory.buffer).set(text, free);
        free += text.length;
        return [free - text.length, text.length];
      });
      exports[name](...flat);
    };
    return { instance, call };
  };
}

/** Converts a value to the type that is its key. */
function typedValue(value) {
  const [[type, given]] = Object.entries(value);
  return { u32: Number, f64: Number, u64: BigInt, s64: BigInt, string: String }[type](given);
}

for await (const line of createInterface({ input: process.stdin })) {
  const [[command, parameters]] = Object.entries(JSON.parse(line));
  let answer;
  try {
    answer = await commands[command](parameters);
  } catch (error) {
    answer = { error: error.stack };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
