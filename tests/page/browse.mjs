// A person's way through the page, in Chromium, beside real traffic. `tests/page.rs` starts the
// servers, and restarts one when this program prints `restart`.

import { createInterface } from 'node:readline';
import { Browser, checkLooks, ensure, settled, show, until } from './check.mjs';
import { Traffic, get, lastSnapshot, origin, pictures, program, read, sentBytes } from './host.mjs';
import { steps as explain } from './step/explain.mjs';
import { isOnlyText, sendTexts, steps as guest } from './step/guest.mjs';
import { steps as key } from './step/key.mjs';
import { steps as login } from './step/login.mjs';
import { steps as metric } from './step/metric.mjs';
import { steps as overview } from './step/overview.mjs';
import { callOthers, steps as request } from './step/request.mjs';
import { steps as stream } from './step/stream.mjs';

const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** The first is without traffic; while totals are compared, the traffic rests. */
const steps = { ...overview, ...request, ...explain, ...metric, ...key, ...guest, ...stream, ...login };

/** Returns the address of each view, with a request that failed. */
async function views() {
  const failed = (await read('traces?component=storefront&reason=unreachable')).traces[0];
  const log = (await read('logs?component=storefront&text=sold')).logs[0];
  ensure(failed && log, 'no failed request or no log is kept');
  const { spans } = await read(`traces/${failed.trace_id}`);
  const { trace_id: calls } = await callOthers();
  const last = Math.round(await lastSnapshot());
  const time = `from=${last - 60}&to=${last - 5}`;
  return {
    overview: '#/overview',
    metrics: '#/metrics',
    heatmap: '#/metrics/wasm_http_request_duration_seconds',
    split: '#/metrics/wasm_http_requests_total?by=status',
    logs: '#/logs',
    record: `#/logs/${(await read('status')).epoch}-${log.id}?text=sold`,
    traces: '#/traces',
    trace: `#/traces/${failed.trace_id}`,
    span: `#/traces/${failed.trace_id}?span=${spans[0].span_id}`,
    calls: `#/traces/${calls}`,
    traps: '#/traps',
    explain: '#/explain?component=storefront&outcome=failed',
    'explain-time': `#/explain?component=storefront&outcome=failed&${time}`,
    'explain-area': `#/explain?component=storefront&${time}&min=0.05&max=2`,
    paused: `#/overview?end=${last}`,
    selection: `#/overview?${time}&min=0.0001&max=2&end=${last}`,
    'selection-logs': `#/logs?component=storefront&${time}`,
    gauge: '#/metrics/process_resident_memory_bytes',
    info: '#/metrics/planted_info?by=status',
    exponential: '#/metrics/planted_exponential',
    nothing: '#/overview?component=nothing',
    'no-metric': '#/metrics?text=nothing',
    'no-series': '#/metrics/wasm_http_requests_total?component=nothing',
    'no-log': '#/logs?text=nothing-has-this-text',
    'no-trace': '#/traces?component=nothing',
    'no-trap': '#/traps?component=nothing',
    'no-comparison': '#/explain?component=nothing',
    'no-view': '#/nothing',
    gone: '#/traces/00000000000000000000000000000001',
    'gone-log': '#/logs/999999999',
    'gone-metric': '#/metrics/nothing_total',
    wrong: '#/traces?status=wrong',
    'wrong-log': '#/logs?trace=wrong',
  };
}

/** The views whose answer is an error, which the browser logs. */
const ERRORS = ['gone', 'gone-log', 'gone-metric', 'wrong', 'wrong-log'];

async function lookAtViews(browser) {
  const found = { ...(await views()), ...(await sendTexts()) };
  for (const looks of [['desktop', 'dark'], ['narrow', 'narrow-dark']]) {
    const page = await browser.open(origin, looks[0]);
    await plantMetrics(page);
    for (const [name, fragment] of Object.entries(found)) {
      browser.expectsErrors = ERRORS.includes(name);
      await show(page, origin, fragment);
      await checkLooks(page, pictures, name, looks);
      await isOnlyText(page, `${name}, ${looks}`);
      await page.emulateMedia({ colorScheme: 'light' });
    }
    browser.expectsErrors = false;
    await page.context().close();
  }
}

/** Answers for metrics of kinds that no guest of this test has, with the series of another kind. */
async function plantMetrics(page) {
  for (const [name, kind, like] of [
    ['planted_info', 'info', 'wasm_http_requests_total'],
    ['planted_exponential', 'exponential_histogram', 'wasm_http_request_duration_seconds'],
  ]) {
    await page.route(new RegExp(`/api/v1/series\\?.*metric=${name}`), async (route) => {
      const response = await route.fetch({ url: route.request().url().replace(name, like) });
      const values = kind === 'info' ? { values: 'value' } : {};
      await route.fulfill({ response, json: { ...(await response.json()), metric: name, kind, ...values } });
    });
  }
}

async function recoversFromRestart(browser) {
  const page = await browser.open(origin);
  await show(page, origin, '#/overview');
  const logs = await browser.open(origin);
  await show(logs, origin, '#/logs?component=storefront&text=sold');
  await until('the logs of the old process', () => logs.locator('.live-lines .log-line').count());
  const { number, records } = await openRecords(browser);
  for (const open of [page, logs]) {
    await open.evaluate(() => {
      globalThis.isSamePage = true;
    });
  }
  browser.expectsErrors = true;
  console.log('restart');
  for (const open of [page, logs]) {
    await until('the banner', () => open.locator('.banner.error', { hasText: 'Connection lost' }).count());
  }
  await checkLooks(page, pictures, 'lost');
  console.log('stopped');
  ensure((await input.next()).value === 'restarted', 'the server was not restarted');
  for (const open of [page, logs]) await until('the connection', () => open.locator('.connection.live').count());
  await until('a log of the same number', async () => {
    await get('/logs?from=0&count=1000', 'lines.localhost');
    return (await read(`logs/${number}`)).id === number;
  });
  for (const open of records) {
    await until('that the record is gone', () => open.getByText('is not kept any more').count());
    await open.context().close();
  }
  browser.expectsErrors = false;
  ensure((await page.locator('.banner.error').count()) === 0, 'the banner stays');
  await get('/checkout?item=restarted');
  await until('a value of the new process', async () =>
    /[1-9].*\/s/.test(
      await page.locator('tr.component', { hasText: 'storefront' }).locator('td[data-label="Rate"]').innerText(),
    ),
  );
  // The logs of the old process are gone with it; those of the new one arrive once.
  await until('a log of the new process', () => logs.locator('.log-line', { hasText: 'restarted' }).count());
  const lines = await logs.locator('.log-line').allInnerTexts();
  ensure(lines.length === 1, `after the restart the logs are ${lines.join(' | ')}`);
  for (const open of [page, logs]) {
    ensure(await open.evaluate(() => globalThis.isSamePage), 'the page was loaded again');
  }
}

/** Opens the first log that is kept and a trace, neither of which another process has. */
async function openRecords(browser) {
  const [log] = (await read('logs?after=0&limit=1')).logs;
  const [trace] = (await read('traces?limit=1')).traces;
  const { epoch } = await read('status');
  const record = await browser.open(origin);
  await show(record, origin, `#/logs/${epoch}-${log.id}`);
  await until('the record', () => record.locator('.record', { hasText: 'Component' }).count());
  const spans = await browser.open(origin);
  await show(spans, origin, `#/traces/${trace.trace_id}`);
  await until('the trace', () => spans.locator('.w-span').count());
  return { number: log.id, records: [record, spans] };
}

/** Loads the page cold several times, and prints the medians. */
async function measure(browser) {
  const paints = [];
  const complete = [];
  for (let run = 0; run < 7; run += 1) {
    const page = await browser.open(origin);
    await page.goto(`${origin}/`);
    await settled(page);
    const [paint, whole] = await page.evaluate(() => [
      performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0,
      performance.now(),
    ]);
    paints.push(paint);
    complete.push(whole);
    await page.context().close();
  }
  const median = (values) => values.sort((left, right) => left - right)[Math.floor(values.length / 2)].toFixed(0);
  console.log(`measured: first paint ${median(paints)} ms, all values ${median(complete)} ms, medians of 7 cold loads`);
}

/** The bytes of the page and its libraries, as the host sends them. */
const PAGE_BYTES = 150_000;

/** Fails if the host sends more bytes for the page. */
async function fitsItsBudget() {
  const document = await (await fetch(`${origin}/`)).text();
  const files = [...document.matchAll(/(?:href|src)="(page\/[^"]+)"/g)].map(([, file]) => file);
  ensure(files.length > 30, `the document has the files ${files}`);
  let sent = await sentBytes('/');
  for (const file of files) sent += await sentBytes(`/${file}`);
  console.log(`measured: ${sent} of ${PAGE_BYTES} bytes are sent`);
  ensure(sent <= PAGE_BYTES, `the page takes ${sent} bytes, as it is sent, of ${PAGE_BYTES}`);
}

/** Selects steps by a part of their names, while one is written. */
const only = process.env.PAGE_STEP && new RegExp(process.env.PAGE_STEP);
const browser = await Browser.launch(program);
try {
  const page = await browser.open(origin);
  const [[first, begin], ...others] = Object.entries(steps);
  if (!only || only.test(first)) {
    await begin(page, browser);
    console.log(`ok: ${first}`);
  }
  let traffic = new Traffic();
  for (const [name, step] of others) {
    if (only && !only.test(name)) continue;
    const isAtRest = name.includes('equal');
    if (isAtRest) await traffic.stop();
    await step(page, browser);
    if (isAtRest) traffic = new Traffic();
    console.log(`ok: ${name}`);
  }
  await traffic.stop();
  await page.context().close();
  if (!only || only.test('views')) {
    await lookAtViews(browser);
    console.log('ok: each view fits and is accessible');
    await measure(browser);
  }
  if (!only || only.test('restart')) {
    await recoversFromRestart(browser);
    console.log('ok: the page recovers after a restart');
  }
  browser.done();
  if (!only || only.test('budget')) {
    await fitsItsBudget();
    console.log('ok: the page fits its budget');
  }
  console.log('done');
} catch (error) {
  console.error(`error: ${error.stack}`);
  for (const fault of browser.faults.slice(0, 10)) console.error(fault);
  process.exitCode = 1;
} finally {
  await browser.close();
  process.exit();
}
