// A user's program on a server, without `lib.dom`: `package.test.js` checks it and does not run it.

import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { Registry } from '@wasmetry/node';
import type { Component, Instance, Settings } from '@wasmetry/node';
import { observe, registry as shared } from '@wasmetry/node/region';

declare const guest: { readonly exports: { readonly memory: object; look(number: number): number } };
declare const module: object;

const registry: Registry = await Registry.create({ core: new URL('https://example.org/core.wasm') });
const component: Component = registry.component({ name: 'shop', wasm: readFileSync('shop.wasm') });
const instance: Instance = component.attachModule(guest);
const doubled: number = instance.call(guest.exports.look, 7);
const settings: Settings = component.instance().region.open(1);
component.instance().instantiateCore(module, {}).exports['memory'];
observe({ name: 'shop', wasm: module }).end();
registry.histogram('wait_seconds', 'Wait.', [0.1, 1]).observe(0.5);
createServer(registry.handler()).listen(9464);
const text: string = shared.metrics();

export { doubled, settings, text };
