// Requests: from plots, logs and traps to traces, and back.

import { createServer } from 'node:http';
import { ensure, settled, show, shown, until } from '../check.mjs';
import { get, origin, read } from '../host.mjs';

export const steps = {
  async 'a point of the latency plot opens the failed request'(page) {
    await show(page, origin, '#/overview?component=storefront');
    const [x, y] = await until('a point of a failed request', async () => {
      const { traces } = await read('traces?component=storefront&reason=unreachable&order=newest');
      return placeOfPoint(page, 'failed', traces);
    });
    await page.mouse.click(x, y);
    await until('the trace', () => page.url().includes('#/traces/'));
    await settled(page);
    ensure((await page.locator('.head .badge').first().innerText()).trim() !== 'normal', 'the request is normal');
    const trap = await page.locator('.w-trap').innerText();
    ensure(/unreachable|panic/.test(trap), `the trap is ${trap}`);
    const text = await page.locator('.trap-box').innerText();
    ensure(text.includes('blew up'), `the panic's message is missing: ${text}`);
    ensure(await page.locator('.w-span.critical').count(), 'no critical path is marked');
    ensure(await page.locator('.w-event', { hasText: 'exception' }).count(), 'the event of the panic is missing');
    // Where it lies among the others of its route.
    ensure(await page.locator('svg.distribution rect.this').count(), 'the distribution does not mark the request');
    const id = page.url().match(/[0-9a-f]{32}/)[0];
    const { distribution } = await read(`traces/${id}`);
    const place = await page.locator('.columns .panel', { has: page.locator('svg.distribution') }).innerText();
    ensure(
      place.includes(`of ${distribution.requests} requests`.replace(/\B(?=(\d{3})+ )/g, '\u2009')),
      `its place among ${distribution.requests} requests is: ${place}`,
    );
    // A span opens with its attributes.
    await page.locator('a.w-span').first().click();
    await until('attributes', async () => /http\.route/.test(await page.locator('.waterfall .record').innerText()));
  },

  async 'a point of the latency plot opens a normal request'(page) {
    await show(page, origin, '#/overview?component=storefront');
    const { traces } = await read('traces?component=storefront&outcome=normal,slow&order=newest&limit=500');
    const [x, y, id] = await until('a point of another request', () => placeOfPoint(page, 'plain', traces));
    await page.mouse.click(x, y);
    await until('its trace', () => page.url().includes(`#/traces/${id}`));
    await settled(page);
    ensure(await page.locator('.w-span').count(), 'the trace has no spans');
    const outcome = (await page.locator('.head .badge').first().innerText()).trim();
    ensure(outcome === traces.find(({ trace_id }) => trace_id === id).outcome, `the request is ${outcome}`);
  },

  async 'traps are grouped with an example'(page) {
    await show(page, origin, '#/traps?component=storefront');
    const group = page.locator('.trap', { hasText: 'blew up' }).first();
    await until('the group', () => group.count());
    await until('the count and the times of the API', async () => {
      const { traps } = await read('traps?component=storefront');
      const { count, place } = traps.find((trap) => trap.message.includes('blew up'));
      const text = (await group.innerText()).replaceAll('\u2009', '');
      return text.includes(`${count}\ntimes`) && text.includes(place) && /last (now|\d+ s ago), first /.test(text);
    });
    await group.getByRole('link', { name: 'Open an example' }).click();
    await until('the example', () => page.locator('.w-trap').count());
  },

  async 'failures lead the traces, which filters narrow'(page) {
    await show(page, origin, '#/traces');
    const rows = async () => {
      await settled(page);
      return page.locator('table.traces tbody tr').evaluateAll((rows) =>
        rows.map((row) => {
          const badge = row.querySelector('.badge');
          const cell = (label) => row.querySelector(`[data-label="${label}"]`)?.innerText.trim() ?? '';
          return { outcome: badge?.classList[1], status: cell('Status'), request: cell('Request'), duration: cell('Duration') };
        }),
      );
    };
    const all = await until('requests', async () => {
      const found = await rows();
      return found.length > 20 && found;
    });
    const order = ['failed', 'slow', 'normal'];
    const ranks = all.map(({ outcome }) => order.indexOf(outcome));
    ensure(
      ranks.every((rank, index) => rank >= (ranks[index - 1] ?? 0)),
      `the order of the outcomes is ${ranks}`,
    );
    ensure(ranks[0] === 0, 'no failed request comes first');
    await page.getByRole('link', { name: 'Slow', exact: true }).click();
    await until('the filter by outcome', () => page.url().includes('outcome=slow'));
    const slow = await until('slow requests', async () => {
      const found = await rows();
      return found.length > 0 && found.every(({ outcome }) => outcome === 'slow') && found;
    });
    ensure(
      slow.every(({ duration }) => /^(\d{3}(\.\d+)? ms|[\d.]+ s)/.test(duration)),
      `slow requests took ${slow.map(({ duration }) => duration)}`,
    );
    await page.getByRole('link', { name: 'All', exact: true }).click();
    await page.getByLabel('Status').selectOption('5xx');
    await until('the filter by status', async () => {
      const found = await rows();
      return page.url().includes('status=5xx') && found.length > 0 && found.every(({ status }) => /^5/.test(status));
    });
    await page.getByLabel('Status').selectOption('');
    await page.getByLabel('At least').selectOption('0.1');
    const lastAtLeast = async (more) => {
      const found = await rows();
      const isWanted = found.length > 0 && found.every(({ duration }) => shown(duration) >= 0.1);
      return isWanted && page.url().includes('least=0.1') && more.test(page.url());
    };
    await until('the filter by duration', () => lastAtLeast(/./));
    // It stays with another range, and with a selection and without.
    await page.getByRole('link', { name: '15 min' }).click();
    await until('the filter in another range', () => lastAtLeast(/range=900/));
    const ofRange = await page.getByRole('link', { name: 'Compare with normal' }).getAttribute('href');
    ensure(/from=\d+&to=\d+&min=0.1$/.test(ofRange), `the filtered requests are compared by ${ofRange}`);
    await page.locator('#heatmap .plot-frame').focus();
    await page.keyboard.press('End');
    for (let key = 0; key < 4; key += 1) await page.keyboard.press('Shift+ArrowLeft');
    await until('a selection', () => /from=/.test(page.url()));
    const ofSelection = await page.getByRole('link', { name: 'Compare with normal' }).getAttribute('href');
    ensure(/min=0.1/.test(ofSelection), `the selected requests are compared by ${ofSelection}`);
    await page.getByRole('button', { name: 'Clear selection' }).click();
    await until('no selection', () => !/from=/.test(page.url()));
    await until('the filter without a selection', () => lastAtLeast(/./));
    await page.getByRole('link', { name: '5 min', exact: true }).click();
    await page.getByLabel('At least').selectOption('');
    await page.getByRole('combobox', { name: 'Route' }).selectOption({ label: '/carts/{id}' });
    await until('the filter by route', async () => {
      const found = await rows();
      return found.length > 0 && found.every(({ request }) => request.includes('/carts/{id}'));
    });
  },

  async 'a trace shows its calls to other services'(page) {
    const { name, trace_id } = await callOthers();
    await show(page, origin, `#/traces/${trace_id}`);
    ensure((await page.locator('.w-span', { hasText: 'client' }).count()) === 2, 'the calls have no spans');
    const table = page.locator('.panel', { hasText: 'Calls between services' }).locator('tbody tr');
    const text = (await table.allInnerTexts()).join('; ').replaceAll(/\s+/g, ' ');
    ensure(new RegExp(`^relay ${name} 2 0 [\\d.]+ (µs|ms)$`).test(text), `the calls between services are ${text}`);
    const depths = await page
      .locator('.w-span .w-name')
      .evaluateAll((names) => names.map((name) => Number(name.style.getPropertyValue('--depth'))));
    ensure(depths[0] === 0 && Math.max(...depths) >= 3, `the depths are ${depths}`);
  },

  async 'a log opens its record and its trace'(page) {
    await show(page, origin, '#/logs?component=storefront&level=info&text=sold');
    const line = page.locator('.live-lines a.log-line').first();
    await until('a line', () => line.count());
    await line.focus();
    await page.keyboard.press('Enter');
    await until('the record', () => page.locator('.record', { hasText: 'Source' }).count());
    ensure(/main\.rs:\d+|lib\.rs:\d+/.test(await page.locator('.record').innerText()), 'the record has no source line');
    ensure(await page.locator('.record', { hasText: 'Other records' }).count(), 'the call site has no other records');
    await page.getByRole('link', { name: /of this call site/ }).click();
    await until('the filter by site', () => page.url().includes('site='));
    await settled(page);
    // Of a busy service, not every request's trace is kept.
    const { logs } = await read('logs?component=storefront&level=info&text=sold');
    const kept = await first(logs, async (log) => (await fetch(`${origin}/api/v1/traces/${log.trace_id}`)).ok);
    ensure(kept, 'no log has a trace that is kept');
    await show(page, origin, `#/logs/${kept.id}`);
    await page.getByRole('link', { name: 'Open its trace' }).click();
    await until('the trace', () => page.url().includes('#/traces/'));
    await until('the log in its place', () => page.locator('.w-log', { hasText: 'sold' }).count());
    // And back, from the log in its trace to its record, and on to the span that it is of.
    await page.locator('.w-log', { hasText: 'sold' }).first().click();
    await until('the record', () => page.locator('.record', { hasText: 'Source' }).count());
    ensure(page.url().includes(`trace=${kept.trace_id}`), `the logs are not those of the trace: ${page.url()}`);
    await page.getByRole('link', { name: 'Open its trace' }).click();
    await until('its span', () => page.locator('.waterfall .record').count());
    ensure(page.url().includes(`span=${kept.span_id}`), `the span of the log is not open: ${page.url()}`);
    await page.goBack();
    await page.goBack();
    await until('the trace again', () => page.url().includes(`#/traces/${kept.trace_id}`));
  },

  async 'older logs are all of those of one time'(_, browser) {
    ensure((await get('/logs?from=100000&count=150', 'lines.localhost')) === 200, 'the service has failed');
    const query = 'component=lines&text=line+100';
    const expected = await until('the logs', async () => {
      const { logs } = await read(`logs?${query}&limit=500`);
      return logs.length === 150 && logs;
    });
    const page = await browser.open(origin);
    // A burst of logs may have one time.
    const { time } = expected.at(-1);
    await page.route(/\/api\/v1\/logs\?/, async (route) => {
      const response = await route.fetch();
      const answer = await response.json();
      await route.fulfill({ response, json: { ...answer, logs: answer.logs.map((log) => ({ ...log, time })) } });
    });
    await show(page, origin, `#/logs?${query}`);
    const lines = page.locator('.live-lines a.log-line');
    await until('a page', async () => (await lines.count()) === 100);
    await page.getByRole('button', { name: 'Older logs' }).click();
    await until('all logs', async () => (await lines.count()) === 150);
    await until('the end', () => page.getByText('No older logs are kept').count());
    const { epoch } = await read('status');
    const found = await lines.evaluateAll((links) => links.map((link) => link.hash.split(/[/?]/)[2]));
    ensure(found.join() === expected.map(({ id }) => `${epoch}-${id}`).join(), `the records are ${found}`);
    await page.context().close();
  },

  async 'a filter by route shows its limit'(page) {
    await show(page, origin, '#/logs?route=/nothing');
    await until('no log', () => page.locator('.empty', { hasText: 'while the trace of its request is kept' }).count());
  },

  async 'a text is searched for once it is written'(page) {
    await show(page, origin, '#/logs');
    await until('the stream', () => page.locator('.connection.live').count());
    const requests = [];
    const note = (request) => /\/api\/v1\/(logs|events).*[?&]text=/.test(request.url()) && requests.push(request.url());
    page.on('request', note);
    const field = page.getByPlaceholder('Text in message or fields');
    await field.pressSequentially('out of stock', { delay: 30 });
    // Logs arrive and are drawn meanwhile; what is written stays.
    ensure((await field.inputValue()) === 'out of stock', `the field has ${await field.inputValue()}`);
    await until('the search', () => page.url().includes('text=out+of+stock'));
    await settled(page);
    await until('the stream of the search', () => page.locator('.connection.live').count());
    page.off('request', note);
    const wrong = requests.filter((url) => !url.includes('text=out+of+stock'));
    ensure(wrong.length === 0, `while a text was written, the page has sent ${wrong}`);
    ensure(requests.length <= 4, `for one text, the page has sent ${requests}`);
    await until('only what is searched for', async () => {
      const lines = await page.locator('.live-lines .log-line').allInnerTexts();
      return lines.length > 0 && lines.every((line) => line.includes('out of stock'));
    });
    await page.getByLabel('Level').selectOption('error');
    await until('the level', () => page.url().includes('level=error'));
    await until('no warning', () => page.locator('.empty', { hasText: 'No log matches' }).count());
    await field.fill('');
    await until('errors', async () => {
      const levels = await page.locator('.live-lines .log-line .level').allInnerTexts();
      return levels.length > 0 && levels.every((level) => level.toLowerCase() === 'error');
    });
  },

  async 'filters that the host refuses are named with the remedy'(page, browser) {
    browser.expectsErrors = true;
    await show(page, origin, '#/logs?level=wrong');
    const refusal = page.locator('.empty', { hasText: 'level: wrong cannot be read' });
    await until('the refusal', () => refusal.filter({ hasText: 'use one of error, warn' }).count());
    await until('the stream of steps', () => page.locator('.connection.live').count());
    ensure((await page.locator('.banners .banner').count()) === 0, 'a banner blames the connection');
    ensure((await page.locator('.loading').count()) === 0, 'the view loads for ever');
    browser.expectsErrors = false;
    await page.getByRole('link', { name: 'clear the filters' }).click();
    await until('all logs', () => page.locator('.live-lines .log-line').count());
    ensure(page.url().endsWith('#/logs'), `the filters are left: ${page.url()}`);
  },

  async 'components without a tenant are selected apart'(page) {
    await show(page, origin, '#/overview?tenant=');
    const rows = page.locator('tr.component');
    await until('the components without a tenant', () => rows.filter({ hasText: 'storefront' }).count());
    ensure((await rows.filter({ hasText: 'carts' }).count()) === 0, 'a component of a tenant is there, too');
    await show(page, origin, '#/overview');
    await rows.filter({ hasText: 'storefront' }).getByRole('link', { name: 'storefront' }).click();
    await until('its filters', () => /component=storefront&tenant=(&|$)/.test(page.url()));
    const tenant = page.getByRole('combobox', { name: 'Tenant' });
    await until('the choice of no tenant', async () => (await tenant.inputValue()) === '=');
  },

  async 'logs arrive while they are watched'(page) {
    await show(page, origin, '#/logs?text=watched');
    await until('no log', () => page.locator('.empty', { hasText: 'No log matches' }).count());
    // The stream is open as soon as the page is live.
    await until('the stream', () => page.locator('.connection.live').count());
    await get('/checkout?item=watched');
    await until('the log', () => page.locator('.live-lines .log-line', { hasText: 'watched' }).count());
  },
};

/**
 * Sends a request whose guest calls another service twice, and returns the name of that service and
 * the id of the trace.
 */
export async function callOthers() {
  const other = createServer((_, response) => response.end('in stock'));
  await new Promise((resolve) => other.listen(0, '127.0.0.1', resolve));
  const name = `127.0.0.1:${other.address().port}`;
  const calls = ['/stock', '/price'].map((path) => ({ url: `http://${name}${path}`, arguments: [] }));
  // Of a busy service, not every request's trace is kept.
  const trace = await until('its trace', async () => {
    ensure((await get('/', 'relay.localhost', JSON.stringify(calls))) === 200, 'the relay has failed');
    const { traces } = await read('traces?component=relay&order=newest');
    for (const { trace_id } of traces) {
      const { services } = await read(`traces/${trace_id}`);
      if (services.some(({ to }) => to === name)) return { name, trace_id };
    }
    return null;
  });
  other.close();
  return trace;
}

/**
 * Returns the place of a point of the latency plot that opens one of these traces, and the trace's
 * id. The pointer does not reach a point below another one.
 */
function placeOfPoint(page, kind, traces) {
  return page.evaluate(
    ([kind, wanted]) => {
      for (const point of document.querySelectorAll(`#latency .exemplars a.${kind}`)) {
        const { left, top, width, height } = point.getBoundingClientRect();
        const [x, y] = [left + width / 2, top + height / 2];
        const id = wanted.find((id) => point.getAttribute('href')?.includes(id));
        if (id && document.elementFromPoint(x, y) === point) return [x, y, id];
      }
      return null;
    },
    [kind, traces.map((trace) => trace.trace_id)],
  );
}

/**
 * Returns the first of the values that `isFound` holds for.
 * @template T
 * @param {T[]} values
 * @param {(value: T) => Promise<boolean>} isFound
 */
async function first(values, isFound) {
  for (const value of values) if (await isFound(value)) return value;
  return null;
}
