/** A component whose host has not called `observe`. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';

import { attach, flush, refresh, registry } from '@wasmetry/node/region';

import { GUESTS } from './guest.js';

// It works, and its metrics are not collected.
test('component without `observe` causes warning', async () => {
  const guest = await import(new URL('mapped/recorder.js', GUESTS).href);
  const warned = once(process, 'warning');
  guest.count(1n);
  assert.match((await warned)[0].message, /call `observe` of `@wasmetry\/node\/region` before its first event/);
  guest.publish();
  attach(new Uint8Array(), 0n, 0n);
  assert.deepEqual([flush(new Uint8Array()).collection, refresh().collection], ['off', 'off']);
  assert.doesNotMatch(registry.metrics(), /component=/);
});
