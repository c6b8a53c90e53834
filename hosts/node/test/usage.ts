// What a user writes in TypeScript; `package.test.js` has it checked and does not run it.

import { createServer } from 'node:http';
import { Registry, WasmetryError } from '@wasmetry/node';
import type { Component, ComponentOptions, Format, Instance, Region, Settings } from '@wasmetry/node';
import { observe, open, registry as shared } from '@wasmetry/node/region';

declare const bytes: Uint8Array;
declare const module: WebAssembly.Module;

// As jco declares it for a component.
interface ImportObject {
  'wasmetry:telemetry/region@0.1.0': {
    open(abi: number): JcoSettings;
    attach(window: Uint8Array, base: bigint, header: bigint): void;
    flush(batch: Uint8Array): JcoSettings;
  };
}
type Level = 'off' | 'error' | 'warn' | 'info' | 'debug' | 'trace';
interface JcoSettings {
  collection: 'off' | 'mapped' | 'pushed';
  recordLevel: Level;
  exportLevel: Level;
  timestamps: 'cached' | 'fresh';
  region: number;
  sampleRatio: number;
  consumed: bigint;
}
interface Root {
  count(n: bigint): void;
  recurse(n: bigint): bigint;
  handle(path: string): Promise<number>;
}
declare function instantiate(
  getCoreModule: (path: string) => WebAssembly.Module | Promise<WebAssembly.Module>,
  imports: ImportObject,
  instantiateCore?: (module: WebAssembly.Module, imports: Record<string, any>) => WebAssembly.Instance | Promise<WebAssembly.Instance>,
): Root | Promise<Root>;

const registry: Registry = await Registry.create({ process: false });
const options: ComponentOptions = { name: 'shop', version: '1', tenant: 'acme', wasm: bytes };
const component: Component = registry.component(options);
const warnings: string[] = component.warnings;
const instance: Instance = component.instance();
const guest = await instantiate(() => module, { ...instance.imports }, instance.instantiateCore);
instance.call(guest.count, 1n);
const deep: bigint = instance.call(guest.recurse, 1n);
const status: number = await instance.call(guest.handle, '/');
instance.end();

const bare: Instance = registry.component({ name: 'bare', wasm: module }).attachModule(new WebAssembly.Instance(module));
bare.observe();
const region: Region = bare.region;
const settings: Settings = region.open(1);

const format: Format = 'openmetrics';
const text: string = registry.metrics(format);
registry.counter('jobs_total', 'Jobs.', ['queue']).inc('mail');
registry.gauge('depth', 'Depth.').set(3);
registry.histogram('wait_seconds', 'Wait.', [0.1, 1]).observe(0.5);
createServer(registry.handler({ path: null })).listen(9464);
const collection: 'off' | 'mapped' | 'pushed' = open(1).collection;
observe({ name: 'shop', wasm: module }).end();
shared.metrics();
const error: Error = new WasmetryError('x', { cause: warnings });

// @ts-expect-error: a name is needed.
registry.component({ wasm: bytes });
// @ts-expect-error: so is the binary.
registry.component({ name: 'shop' });
// @ts-expect-error: there is no such format.
registry.metrics('json');
// @ts-expect-error: parameters are the guest's.
instance.call(guest.count, 'one');
// @ts-expect-error: an instance is made by its component.
registry.instance();

export { collection, deep, error, settings, status, text };
