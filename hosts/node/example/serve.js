/**
 * Serves a `wasi:http` component in Node, one instance for each request, and its metrics:
 *
 *     npx jco transpile shop.wasm --name shop --out-dir shop --instantiation sync
 *     node serve.js shop/shop.js shop.wasm
 */

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { basename } from 'node:path';
import { argv, env } from 'node:process';
import { pathToFileURL } from 'node:url';

import { HTTPServer, types } from '@bytecodealliance/preview2-shim/http';
import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import { Registry } from '@wasmetry/node';

const [script, binary] = argv.slice(2);
if (script === undefined || binary === undefined) {
  console.error('usage: node serve.js TRANSPILED.js COMPONENT.wasm');
  process.exit(2);
}

const registry = await Registry.create();
const component = registry.component({ name: basename(binary, '.wasm'), wasm: readFileSync(binary) });
component.warnings.forEach((warning) => console.error(`warning: ${warning}`));

const url = pathToFileURL(script);
const { instantiate } = await import(url.href);
const wasi = new WASIShim().getImportObject();

/** @type {Map<string, WebAssembly.Module>} */
const modules = new Map();
const getCoreModule = (/** @type {string} */ path) => {
  const module = modules.get(path) ?? new WebAssembly.Module(readFileSync(new URL(path, url)));
  modules.set(path, module);
  return module;
};

const service = new HTTPServer({
  handle(/** @type {any} */ request, /** @type {any} */ answer) {
    const instance = component.instance();
    try {
      const guest = instantiate(getCoreModule, { ...wasi, ...instance.imports }, instance.instantiateCore);
      instance.call(guest.incomingHandler.handle, request, answer);
    } catch (error) {
      console.error(error);
      fail(answer);
    } finally {
      instance.end();
    }
  },
});
service.listen(Number(env['PORT'] ?? 8080), '127.0.0.1');
console.error(`serving http://127.0.0.1:${service.address().port}`);

const telemetry = createServer(registry.handler());
telemetry.listen(Number(env['TELEMETRY_PORT'] ?? 9464), '127.0.0.1', () => {
  const address = /** @type {import('node:net').AddressInfo} */ (telemetry.address());
  console.error(`telemetry http://127.0.0.1:${address.port}/metrics`);
});

/** Answers 500 for a guest that trapped before it answered. */
function fail(/** @type {any} */ answer) {
  const response = new types.OutgoingResponse(new types.Fields());
  response.setStatusCode(500);
  const body = response.body();
  types.ResponseOutparam.set(answer, { tag: 'ok', val: response });
  types.OutgoingBody.finish(body, undefined);
}
