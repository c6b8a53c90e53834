// The overview: values, filters, time.

import { checkLooks, ensure, settled, show, shown, until } from '../check.mjs';
import { get, lastSnapshot, origin, pictures, read, scrape, service, sums } from '../host.mjs';

export const steps = {
  async 'a host without traffic proposes a request'(_, browser) {
    const page = await browser.open(origin);
    for (const view of ['overview', 'traces', 'explain', 'logs', 'traps']) {
      await show(page, origin, `#/${view}`);
      const proposal = page.locator('.empty', { hasText: 'No traffic yet' });
      await until(`the proposal in ${view}`, () => proposal.filter({ hasText: `curl ${service}/` }).count());
      ensure((await page.getByText(/clear the filters|longer range/i).count()) === 0, `${view} blames the filters`);
      await checkLooks(page, pictures, `no-traffic-${view}`);
    }
    await page.context().close();
  },

  async 'a host without components proposes to serve one'(_, browser) {
    const page = await browser.open(origin);
    await page.route(/\/api\/v1\/overview\?/, async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...(await response.json()), components: [], next: null } });
    });
    await show(page, origin, '#/overview');
    const proposal = page.locator('.empty', { hasText: 'Nothing is served yet' });
    await until('the proposal', () => proposal.filter({ hasText: 'wasmetry serve app.wasm' }).count());
    await checkLooks(page, pictures, 'nothing-served');
    await page.context().close();
  },

  async 'numbers and addresses are written and read'(page) {
    await show(page, origin, '#/overview');
    const written = await page.evaluate(async () => {
      const format = await import('/page/format.js');
      const { parse, href, changed } = await import('/page/address.js');
      const place = parse('#/logs/7?component=a%26b&text=%3Cb%3E&range=900');
      return {
        durations: [null, 0, 2.5e-7, 0.00231, 0.094, 1.5, 300, 90_000].map(format.duration),
        bytes: [0, 1023, 2359296, 67108864].map(format.bytes),
        percents: [0, 0.0002, 0.042, 0.5, 0.9999, 1].map(format.percent),
        numbers: [0, 0.0004, 0.12, 12, 12.34, 40210, 1.5e6].map(format.number),
        counts: [7, 40210, '9007199254740993'].map(format.count),
        place: [place.view, place.id, place.parameters.component, place.parameters.text],
        shared: href(place, 'traces', 'é/ü', { outcome: 'failed' }),
        same: changed(place, { text: null, level: 'warn' }),
        broken: parse('#/traces/%E0%A4%A?x').id,
      };
    });
    const expected = {
      durations: ['–', '0 ms', '250 ns', '2.31 ms', '94 ms', '1.50 s', '5 min', '25 h'],
      bytes: ['0 B', '1023 B', '2.25 MiB', '64 MiB'],
      percents: ['0%', '<0.1%', '4.2%', '50%', '>99.9%', '100%'],
      numbers: ['0', '4.0e−4', '0.120', '12', '12.3', '40.2k', '1.50M'],
      counts: ['7', '40\u2009210', '9\u2009007\u2009199\u2009254\u2009740\u2009993'],
      place: ['logs', '7', 'a&b', '<b>'],
      shared: '#/traces/%C3%A9%2F%C3%BC?range=900&component=a%26b&outcome=failed',
      same: '#/logs/7?component=a%26b&range=900&level=warn',
      broken: '%E0%A4%A',
    };
    for (const [name, value] of Object.entries(expected)) {
      ensure(JSON.stringify(written[name]) === JSON.stringify(value), `${name}: ${JSON.stringify(written[name])}`);
    }
  },

  async 'values change under load'(page) {
    await show(page, origin, '#/overview');
    const row = page.locator('tr.component', { hasText: 'storefront' }).locator('td[data-label="Rate"]');
    const first = await until('a rate', async () => (await row.innerText()).match(/[1-9].*\/s/)?.[0]);
    await until('another rate', async () => (await row.innerText()).trim() !== first);
    await until('what is wrong', () => page.locator('.wrong li.error').count());
    // What is wrong comes first: above the plots, and in the table.
    ensure(await page.locator('main section').first().evaluate((first) => first.matches('.wrong')), 'another section is first');
    const states = await page
      .locator('tr.component .state')
      .evaluateAll((marks) => marks.map((mark) => ['failing', 'degraded', 'ok', 'idle'].indexOf(mark.classList[1])));
    ensure(
      states.every((state, index) => state >= (states[index - 1] ?? 0)),
      `the order of the states is ${states}`,
    );
    const { before, total, after } = await totalBetweenScrapes(page);
    ensure(before <= total && total <= after, `the page shows ${total} requests, scrapes ${before} and ${after}`);
  },

  async 'each number equals a scrape'(page) {
    // The server is younger than the range, so the range has all of its requests.
    await show(page, origin, '#/overview?range=3600');
    for (const component of ['storefront', 'carts']) {
      await until(`the numbers of ${component}`, () => equalsScrape(page, component));
    }
  },

  async 'filters are in the address'(page, browser) {
    await show(page, origin, '#/overview');
    await page.getByRole('combobox', { name: 'Component' }).focus();
    await page.getByRole('combobox', { name: 'Tenant' }).selectOption({ label: 'acme' });
    await page.getByRole('combobox', { name: 'Component' }).selectOption({ label: 'carts' });
    await page.getByRole('combobox', { name: 'Route' }).selectOption({ label: '/carts/{id}' });
    await page.getByRole('link', { name: '15 min' }).click();
    await until('the filters', () => /tenant=acme&component=carts&route=%2Fcarts%2F%7Bid%7D&range=900/.test(page.url()));
    await settled(page);
    const names = await page.locator('tr.route th').allInnerTexts();
    ensure(names.length === 1 && names[0].includes('/carts/{id}'), `the filtered routes are ${names}`);
    // A colleague opens the same address.
    const other = await browser.open(origin);
    await other.goto(page.url());
    await settled(other);
    await until(
      'the colleague’s filters',
      async () => (await other.getByRole('combobox', { name: 'Route' }).inputValue()) === '=/carts/{id}',
    );
    ensure(
      (await other.getByRole('combobox', { name: 'Tenant' }).inputValue()) === '=acme',
      'the tenant of the address is not chosen',
    );
    ensure(
      (await other.getByRole('combobox', { name: 'Component' }).inputValue()) === '=carts',
      'the component of the address is not chosen',
    );
    ensure(
      (await other.locator('.segments [aria-current="true"]').first().innerText()) === '15 min',
      'the range is not chosen',
    );
    await other.close();
    // Each choice is a step of the history.
    await page.goBack();
    await until('the earlier range', () => !page.url().includes('range=900'));
    await page.goBack();
    await until(
      'the earlier route',
      async () => (await page.getByRole('combobox', { name: 'Route' }).inputValue()) === '',
    );
  },

  async 'filters name how many they leave out'(_, browser) {
    const page = await browser.open(origin);
    // More components than a list of names has.
    await page.route(/\/api\/v1\/overview\?limit=100/, async (route) => {
      const response = await route.fetch();
      const answer = await response.json();
      const components = answer.components.map((entry) => ({
        ...entry,
        routes_left_out: entry.component === 'storefront' ? 3 : 0,
      }));
      await route.fulfill({ response, json: { ...answer, components, components_left_out: 7 } });
    });
    for (const [fragment, name, expected] of [
      ['#/overview', 'Component', 'and 7 more'],
      ['#/overview', 'Tenant', 'and those of 7 more components'],
      ['#/overview?component=storefront', 'Route', 'and 3 more'],
      ['#/overview?component=carts', 'Route', ''],
      ['#/overview?component=nothing', 'Route', 'and those of 7 more components'],
    ]) {
      await show(page, origin, fragment);
      const rest = page.getByRole('combobox', { name }).locator('option:disabled');
      await until(`“${expected}” in ${name}`, async () => (await rest.allTextContents()).join() === expected);
    }
    await page.context().close();
  },

  async 'empty views name the filters and clear them'(page) {
    for (const [fragment, words, cleared] of [
      ['#/overview?component=nothing', 'Nothing matches the filters', '#/overview'],
      ['#/metrics?component=nothing', 'No metric matches the filters', '#/metrics'],
      ['#/metrics?text=nothing', 'No name or help text contains “nothing”', '#/metrics'],
      [
        '#/metrics/wasm_http_requests_total?component=nothing',
        'No series matches the filters',
        '#/metrics/wasm_http_requests_total',
      ],
      ['#/logs?component=nothing', 'No log matches the filters', '#/logs'],
      ['#/traces?component=nothing&outcome=failed', 'No request matches the filters', '#/traces'],
      ['#/traps?component=nothing', 'No trap matches the filters', '#/traps'],
      ['#/explain?component=nothing&outcome=failed', 'Choose a longer range, or clear the filters', '#/explain'],
    ]) {
      await show(page, origin, fragment);
      await until(words, () => page.locator('main', { hasText: words }).count());
      await page.getByRole('link', { name: 'clear the filters' }).click();
      await until(`${cleared} without filters`, () => page.url() === `${origin}/${cleared}`);
    }
  },

  async 'problems stay first on each page of components'(_, browser) {
    const page = await browser.open(origin);
    // Pages of one component, in place of 100.
    await page.route(/\/api\/v1\/overview\?(?!.*limit=)/, (route) =>
      route.continue({ url: `${route.request().url()}&limit=1` }),
    );
    const wrong = page.locator('.wrong li.error .who');
    await until('a problem', async () => {
      // Paused, so that the order of components stays the same.
      await show(page, origin, `#/overview?end=${Math.round(await lastSnapshot())}`);
      return wrong.count();
    });
    const names = page.locator('tr.component th a');
    const [worst] = await names.allInnerTexts();
    const seen = [worst];
    while (seen.length < 4) {
      await page.getByRole('link', { name: 'More components' }).click();
      await until(`page ${seen.length + 1}`, async () => !seen.includes((await names.allInnerTexts())[0]));
      await settled(page);
      seen.push(...(await names.allInnerTexts()));
      const found = await wrong.allInnerTexts();
      ensure(
        found.length > 0 && found.every((who) => who.startsWith(worst)),
        `beside ${seen.at(-1)}, the problems are of ${found}, and not of ${worst}`,
      );
    }
    ensure(new Set(seen).size === 4, `the pages have the components ${seen}`);
    ensure((await page.locator('.wrong.calm, .empty').count()) === 0, 'the last page shows that nothing is wrong');
    await page.context().close();
  },

  async 'logs are found by the id of their trace'(page, browser) {
    await show(page, origin, '#/logs');
    const { logs } = await read('logs?component=storefront&level=info&text=sold');
    const { trace_id: id } = logs[0];
    const field = page.getByLabel('Trace id');
    await field.pressSequentially(id.slice(0, 12));
    ensure(!page.url().includes('trace='), `a part of an id is searched for: ${page.url()}`);
    await field.pressSequentially(id.slice(12));
    await until('the id in the address', () => page.url().endsWith(`#/logs?trace=${id}`));
    await settled(page);
    const expected = (await read(`logs?trace=${id}`)).logs.map(({ message }) => message);
    await until('its logs', async () => {
      const lines = await page.locator('.live-lines .log-line .message').allInnerTexts();
      return lines.length === expected.length && lines.every((line, index) => line.startsWith(expected[index]));
    });
    // Another id is refused by the host, once it is written.
    await page.reload();
    await settled(page);
    ensure((await field.inputValue()) === id, `the field of the address has ${await field.inputValue()}`);
    browser.expectsErrors = true;
    await field.fill('7f3a');
    await field.press('Enter');
    await until('the refusal', () =>
      page.locator('.empty', { hasText: 'trace: 7f3a cannot be read; use 32 hexadecimal digits' }).count(),
    );
    ensure((await field.inputValue()) === '7f3a', `the field that was refused has ${await field.inputValue()}`);
    browser.expectsErrors = false;
    await field.fill('');
    await until('all logs', () => page.locator('.live-lines .log-line').count());
    ensure(page.url().endsWith('#/logs'), `the filter is left: ${page.url()}`);
  },

  async 'a paused page stays as it is'(page) {
    await staysPaused(page, '#/overview', /overview|series/);
    await staysPaused(page, '#/logs', /\/logs/);
  },
};

/**
 * Pauses a view, and fails if it changes or requests what it shows.
 * @param {import('playwright-core').Page} page
 * @param {string} fragment
 * @param {RegExp} answers The addresses of what it shows.
 */
async function staysPaused(page, fragment, answers) {
  await show(page, origin, fragment);
  await page.getByRole('button', { name: 'Pause' }).click();
  await until('the end in the address', () => page.url().includes('end='));
  await until('the pause', () => page.locator('.connection.paused').count());
  await settled(page);
  const requested = [];
  const note = (request) => requested.push(request.url());
  page.on('request', note);
  // Times since then go on.
  const shown = async () => (await page.locator('main').innerText()).replaceAll(/\S+ \S+ ago/g, 'ago');
  const before = await shown();
  // A request and two more snapshots, of which the page must not show anything.
  await get('/checkout?item=paused');
  const start = await lastSnapshot();
  await until('two snapshots', async () => (await lastSnapshot()) > start + 9);
  const after = await shown();
  ensure(after === before, `${fragment}, paused, has changed from ${before} to ${after}`);
  ensure(!requested.some((url) => answers.test(url)), `${fragment}, paused, has sent ${requested}`);
  page.off('request', note);
  await page.getByRole('button', { name: 'Resume' }).click();
  await until('the address without an end', () => !page.url().includes('end='));
}

/**
 * Reads a total that the page shows while requests arrive. It is that of a snapshot.
 * @returns {Promise<{ before: number, total: number, after: number }>} With the totals of a scrape
 * before that snapshot and one after it.
 */
async function totalBetweenScrapes(page) {
  await show(page, origin, '#/metrics/wasm_http_requests_total');
  const cell = page.locator('table.groups td.total');
  const scraped = async () => sums(await scrape(), 'wasm_http_requests_total', '')[''];
  return until('the total of a snapshot between two scrapes', async () => {
    const earlier = await lastSnapshot();
    const scrapes = [];
    let snapshot;
    do {
      scrapes.push({ total: await scraped(), end: Date.now() / 1000 });
      snapshot = await lastSnapshot();
    } while (snapshot === earlier);
    const before = scrapes.findLast(({ end }) => end < snapshot)?.total;
    const after = await scraped();
    // The page shows the total of the snapshot before until it has read this one.
    for (;;) {
      const total = Number((await cell.innerText()).replaceAll('\u2009', ''));
      if (before === undefined || (await lastSnapshot()) !== snapshot) return null;
      if (total >= before) return { before, total, after };
    }
  });
}

/** Interpolates a quantile of cumulative buckets, as Prometheus does. */
function quantile(rank, buckets) {
  const ordered = Object.entries(buckets)
    .map(([bound, count]) => [bound === '+Inf' ? Infinity : Number(bound), count])
    .sort(([left], [right]) => left - right);
  const wanted = rank * ordered.at(-1)[1];
  const at = ordered.findIndex(([, count]) => count >= wanted);
  const [low, before] = ordered[at - 1] ?? [0, 0];
  const [high, until] = ordered[at];
  return high === Infinity ? low : low + ((high - low) * (wanted - before)) / (until - before);
}

/**
 * Compares the numbers of a component and of its routes with `/metrics`. Throws while one differs.
 * @returns {Promise<boolean>} `true` if there was at least one route.
 */
async function equalsScrape(page, component) {
  const row = page.locator('tr.component', { hasText: component });
  const routes = page.locator('tbody', { has: row }).locator('tr.route');
  const names = await routes.locator('th a').allInnerTexts();
  const cellsOf = (of) =>
    of.evaluate((row) =>
      Object.fromEntries([...row.querySelectorAll('td[data-label]')].map((cell) => [cell.dataset.label, cell.innerText])),
    );
  const [samples, status, cells] = [await scrape(), await read('status'), await cellsOf(row)];
  const entry = (await read('overview?range=3600')).components.find((entry) => entry.component === component);
  const { seconds } = entry;
  // Rates are over the time that exists: a component may be younger than the process, and a route
  // younger than its component.
  const age = status.snapshots.last - status.start;
  ensure(seconds > 0 && seconds < age + 1, `${component} is ${seconds} s old, and the process ${age} s`);
  requests(samples, { component }, seconds, cells);
  for (const [index, name] of names.entries()) {
    const route = entry.routes.find(({ route }) => route === name.trim());
    ensure(route.seconds <= seconds, `the route ${name} is older than its component: ${route.seconds}`);
    requests(samples, { component, route: route.route }, route.seconds, await cellsOf(routes.nth(index)));
  }
  const sum = (name, filter = {}) => sums(samples, name, '', { component, ...filter })[''] ?? 0;
  equal('memory', shown(cells.Memory), sum('wasm_linear_memory_bytes'), 0.01);
  equal('the limit of memory', shown(cells.Memory.split(' of ')[1]), sum('wasm_linear_memory_limit_bytes'), 0.01);
  const peaks = sums(samples, 'wasm_instance_memory_peak_ratio_bucket', 'le', { component });
  const all = Math.max(...Object.values(peaks));
  const peak = Math.min(...Object.entries(peaks).flatMap(([bound, count]) => (count === all ? [bound === '+Inf' ? 1 : Number(bound)] : [])));
  equal('the peak of memory', shown(cells.Memory.split('peak ')[1]), peak, 0.01);
  equal('instances', shown(cells.Instances), sum('wasm_instances'));
  equal('the limit of instances', shown(cells.Instances.split('of ')[1]), sum('wasm_instances_limit'));
  between('busy', shown(cells.Busy), sum('wasm_guest_busy_seconds_total'), seconds);
  return names.length > 0;
}

/** Compares the numbers that routes have, too. */
function requests(samples, filter, seconds, cells) {
  const where = filter.route ?? filter.component;
  const by = (name, label) => sums(samples, name, label, filter);
  const statuses = by('wasm_http_requests_total', 'status');
  const count = Object.values(statuses).reduce((sum, value) => sum + value, 0);
  const failed = Object.entries(statuses).reduce((sum, [status, value]) => sum + (status >= '500' ? value : 0), 0);
  between(`${where}: the rate`, shown(cells.Rate), count, seconds);
  if (count === 0) {
    const known = ['Errors', 'P50', 'P95', 'P99'].filter((name) => cells[name].trim() !== '–');
    ensure(known.length === 0, `${where}: without requests, ${known} are shown`);
    return;
  }
  // Two digits are shown: 13% for an eighth.
  equal(`${where}: errors`, shown(cells.Errors), failed / count, 0.05);
  const buckets = by('wasm_http_request_duration_seconds_bucket', 'le');
  for (const [name, rank] of Object.entries({ P50: 0.5, P95: 0.95, P99: 0.99 })) {
    equal(`${where}: ${name}`, shown(cells[name]), quantile(rank, buckets), 0.02);
  }
  equal(`${where}: requests in flight`, shown(cells['In flight']), by('wasm_http_requests_in_flight', '')[''] ?? 0);
  const traps = Object.entries(by('wasm_traps_total', 'reason')).filter(([, value]) => value > 0);
  ensure(traps.length > 0 || !/\d/.test(cells.Traps), `${where}: traps are ${cells.Traps}`);
  for (const [reason, value] of traps) {
    const badge = new RegExp(`${reason} (\\d+)`).exec(cells.Traps)?.[1];
    equal(`${where}: traps of ${reason}`, Number(badge), value);
  }

}

/** The console's steps at both ends of a range, which count as whole ones, in seconds. */
const STEPS = 10;

/** Fails if a rate is not that of a counter in about these seconds. */
function between(name, shown, scraped, seconds) {
  const [least, most] = [(scraped / (seconds + STEPS)) * 0.99, (scraped / seconds) * 1.01];
  // Busy time below a thousandth is not shown in numbers.
  const isBetween = shown >= least && (shown <= most || shown === 0.001);
  ensure(isBetween, `${name}: ${shown} on the page, from ${least} to ${most} scraped`);
}

/** Fails if a value differs by more than a share. */
function equal(name, shown, scraped, share = 0) {
  const isEqual = Math.abs(shown - scraped) <= share * Math.abs(scraped);
  ensure(isEqual, `${name}: ${shown} on the page, ${scraped} scraped`);
}
