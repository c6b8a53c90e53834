// A shop's service in JavaScript. Its metrics, logs and spans use the handle API without a library.
//
//     cargo xtask guests   # builds target/guests/js-guest.wasm; needs Node 20 or newer
//     wasmetry serve target/guests/js-guest.wasm
//     curl 'http://127.0.0.1:8080/checkout?item=pear'   # then open http://127.0.0.1:9464/metrics
//
// After that, `npm run build` in this folder builds it again, with the WIT in target/wit/js-guest.

import { Counter, Histogram } from 'wasmetry:telemetry/metrics@0.1.0';
import { emit } from 'wasmetry:telemetry/logs@0.1.0';
import { Span } from 'wasmetry:telemetry/spans@0.1.0';

addEventListener('fetch', (event) => event.respondWith(handle(event.request)));

// This code runs when the component is built, without a host; series are resolved on first use.
const REQUESTS = { name: 'js_requests_total', help: 'Requests by route and status.' };
const SOLD = { name: 'js_items_sold_total', help: 'Items sold.' };
const PRICE = { name: 'js_order_price_euros', help: 'What orders cost.', unit: 'euros' };
const PRICES = { pear: 0.5, melon: 3, truffle: 120 };

async function handle(request) {
  const { pathname, searchParams } = new URL(request.url);
  const route = ['/', '/checkout', '/boom'].includes(pathname) ? pathname : 'other';
  const span = Span.start('handle', 'internal', undefined, [text('route', route)]);
  log('debug', 'a request', [text('path', pathname)], span);
  try {
    const [status, body] = await answer(route, searchParams, span);
    count(route, status);
    return new Response(body, { status });
  } catch (error) {
    count(route, 500);
    span.setStatus({ tag: 'error', val: String(error) });
    log('error', 'a request failed', [text('error', String(error))], span);
    return new Response('That went wrong.\n', { status: 500 });
  } finally {
    span.end();
  }
}

async function answer(route, query, span) {
  switch (route) {
    case '/':
      return [200, 'Welcome.\n'];
    case '/checkout':
      return checkout(query.get('item') ?? 'pear', span);
    case '/boom':
      throw new Error('as it was asked to');
    default:
      return [404, 'There is nothing here.\n'];
  }
}

function checkout(item, parent) {
  const span = parent.child('checkout', 'internal', [text('item', item)]);
  try {
    const price = PRICES[item];
    if (price === undefined) {
      log('warn', 'no such item', [text('item', item)], span);
      return [404, 'We have none.\n'];
    }
    Counter.resolve(SOLD, [{ key: 'item', value: item }]).inc();
    Histogram.resolve(PRICE, [1, 10, 100], []).observe(price);
    log('info', 'sold', [text('item', item), double('price', price)], span);
    return [200, 'Thank you.\n'];
  } finally {
    span.end();
  }
}

function count(route, status) {
  const labels = [{ key: 'route', value: route }, { key: 'status', value: String(status) }];
  Counter.resolve(REQUESTS, labels).inc();
}

function log(level, message, attributes, span) {
  emit({ level, target: 'shop', message, attributes }, span);
}

const text = (key, val) => ({ key, value: { tag: 'string', val } });
const double = (key, val) => ({ key, value: { tag: 'double', val } });
