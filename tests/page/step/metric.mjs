// Metrics: totals, kinds, splits.

import { ensure, settled, show, until } from '../check.mjs';
import { origin, scrape, sums } from '../host.mjs';

export const steps = {
  async 'totals equal those of a scrape'(page) {
    await show(page, origin, '#/metrics/wasm_http_requests_total?by=status');
    await until('equal totals', async () => {
      const rows = await page.locator('table.groups tbody tr').allInnerTexts();
      const shown = {};
      for (const row of rows) {
        const [status, ...others] = row.split(/[\t\n]+/).filter((text) => text.trim());
        shown[status.trim()] = Number(others.at(-1).replace(/[^\d.]/g, ''));
      }
      const scraped = Object.fromEntries(
        Object.entries(sums(await scrape(), 'wasm_http_requests_total', 'status')).filter(([, sum]) => sum > 0),
      );
      const isEqual = Object.entries(scraped).every(([status, sum]) => shown[status] === sum);
      if (!isEqual) throw new Error(`${JSON.stringify(shown)} on the page, ${JSON.stringify(scraped)} scraped`);
      return Object.keys(scraped).length > 2;
    });
  },

  async 'each metric of the registry is listed'(page) {
    const text = await (await fetch(`${origin}/metrics`)).text();
    const expected = Object.fromEntries(
      [...text.matchAll(/^# HELP (\S+) (.*)$/gm)].map(([, name, help]) => [name, help.replaceAll(/\\(.)/g, '$1').slice(0, 40)]),
    );
    await show(page, origin, '#/metrics');
    const shown = {};
    for (;;) {
      for (const card of await page.locator('.card').all()) {
        shown[await card.locator('.metric-name').innerText()] = (await card.locator('.help').innerText()).slice(0, 40);
      }
      const more = page.getByRole('link', { name: 'More metrics' });
      if ((await more.count()) === 0) break;
      const before = page.url();
      await more.click();
      await until('the next page', () => page.url() !== before);
      await settled(page);
    }
    const wrong = Object.entries(expected).filter(([name, help]) => shown[name] !== help);
    ensure(wrong.length === 0, `of ${Object.keys(expected).length} metrics, these are not shown: ${wrong.slice(0, 5)}`);
    // A gauge is a value with its unit, and not a rate.
    await show(page, origin, '#/metrics/process_resident_memory_bytes');
    const row = await page.locator('table.groups tbody tr').innerText();
    ensure(/\d MiB/.test(row) && !row.includes('/s'), `the gauge is ${row}`);
    // A point in time is a date, to the second.
    await show(page, origin, '#/metrics/process_start_time_seconds');
    const [start] = (await scrape()).filter(({ name }) => name === 'process_start_time_seconds');
    const date = await page.evaluate(async (time) => (await import('/page/format.js')).date(time), start.value);
    const time = await page.locator('table.groups tbody tr').innerText();
    ensure(time.includes(date), `the process has started on ${date}, and the page shows ${time}`);
  },

  async 'metrics are found, split and drawn by kind'(page) {
    await show(page, origin, '#/metrics');
    await page.getByPlaceholder('Search names and help').fill('items_sold');
    await until('the metric', async () => (await page.locator('.card').count()) === 1);
    ensure(page.url().includes('text=items_sold'), 'the search is not in the address');
    await page.locator('.card').click();
    await settled(page);
    await page.getByLabel('Split by').selectOption('item');
    await until('a group', () => page.locator('table.groups tr', { hasText: 'apple' }).count());
    await show(page, origin, '#/metrics/http_request_duration_seconds');
    await until('a heatmap', () => page.locator('#heatmap canvas').count());
    const legend = await page.locator('#heatmap .legend').innerText();
    ensure(/P50[\s\S]*P95[\s\S]*P99/.test(legend), `the legend of the heatmap is ${legend}`);
  },
};
