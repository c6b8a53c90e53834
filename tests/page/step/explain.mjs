// Comparisons with normal requests.

import { ensure, selectArea, settled, show, until } from '../check.mjs';
import { lastSnapshot, origin, read } from '../host.mjs';

export const steps = {
  async 'three clicks lead from errors to their cause'(page, browser) {
    await show(page, origin, '#/overview');
    const clicks = await countClicks(page);
    const problem = page.locator('.wrong li.error', { hasText: 'storefront' }).filter({ hasText: 'requests failed' });
    await until('the errors', () => problem.count());
    await problem.first().getByRole('link', { name: 'Why?' }).click();
    // What they have in common, and the failing requests.
    await until('what they have in common', () => page.locator('.causes li').count());
    const causes = await page.locator('ol.causes').innerText();
    ensure(/unicorn|out of stock|light_fuse|boom/.test(causes), `the causes are ${causes}`);
    const requests = page.locator('table.traces tbody tr', { has: page.locator('.status.failed') });
    await until('a failing request', () => requests.count());
    await requests.first().locator('td[data-label="Request"] a').click();
    // Its trace, with its logs in place.
    await until('its trace', () => page.locator('.w-span').count());
    ensure(await page.locator('.w-log').count(), 'the trace has no logs in place');
    await page.getByRole('link', { name: 'Its logs' }).click();
    await until('its logs', () => page.locator('.live-lines .log-line').count());
    ensure(/#\/logs\?.*trace=[0-9a-f]{32}/.test(page.url()), `the logs are of ${page.url()}`);
    ensure((await clicks()) === 3, `that took ${await clicks()} clicks`);
    ensure(browser.faults.length === 0, `faults on the way: ${browser.faults}`);
  },

  async 'a selection is compared with normal requests'(page) {
    await show(page, origin, '#/traces?component=storefront');
    await selectArea(page, '#heatmap');
    ensure(/from=.*to=.*min=.*max=/.test(page.url()), `the area is ${page.url()}`);
    await page.getByRole('link', { name: 'Compare with normal' }).click();
    await until('the comparison', () => page.url().includes('#/explain'));
    await settled(page);
    const answer = await page.locator('.verdict .answer').innerText();
    ensure(answer.length > 10, 'the comparison has no answer');
    const sizes = await page.locator('.verdict .sub').innerText();
    const written = /^([\d\u2009]+) of ([\d\u2009]+) selected .* with ([\d\u2009]+) of ([\d\u2009]+) normal ones;/;
    const groups = (written.exec(sizes) ?? []).slice(1).map((count) => Number(count.replaceAll('\u2009', '')));
    ensure(groups.length === 4 && groups.every((count) => count > 0), `the sizes of both groups are ${sizes} at ${page.url()}`);
    const chosen = [...new URLSearchParams(page.url().split('#/explain?')[1])].filter(([key]) =>
      ['component', 'from', 'to', 'min', 'max'].includes(key),
    );
    const { selected, normal } = await read(`explain?${new URLSearchParams(chosen)}`);
    const [requests, of, normalRequests, normalOf] = groups;
    ensure(requests === selected.requests && of === selected.of, `${JSON.stringify(selected)} is shown as ${sizes}`);
    // Requests of the traffic may have been added since then.
    ensure(
      normalRequests <= normal.requests && normalOf <= normal.of,
      `${JSON.stringify(normal)} is shown as ${sizes}`,
    );
  },

  async 'an area beside other plots has its durations'(page) {
    for (const [fragment, plot] of [
      ['#/overview?component=storefront', '#latency'],
      ['#/metrics/wasm_http_request_duration_seconds?component=storefront', '#heatmap'],
    ]) {
      // Paused, so that no problem that is listed above moves the plots.
      await until('requests', async () => (await read('overview')).components.some(({ rate }) => rate > 0));
      await show(page, origin, `${fragment}&end=${Math.round(await lastSnapshot())}`);
      await selectArea(page, plot);
      ensure(/from=.*to=.*min=.*max=/.test(page.url()), `the area is ${page.url()}`);
      const places = await page
        .locator('.u-select')
        .evaluateAll((marks) => marks.map((mark) => mark.getBoundingClientRect().width));
      ensure(places.length === 2 && places.every((width) => width > 50), `the plots mark ${places} pixels`);
      const compare = await page.getByRole('link', { name: 'Compare with normal' }).getAttribute('href');
      ensure(/min=.*max=/.test(compare), `the comparison is of ${compare}`);
      await page.getByRole('button', { name: 'Clear selection' }).click();
      await until('no selection', () => !/from=|to=|min=|max=/.test(page.url()));
    }
  },

  async 'a time is compared by outcome'(page) {
    const last = Math.round(await until('a snapshot', lastSnapshot));
    const time = `from=${last - 120}&to=${last}`;
    await show(page, origin, `#/explain?component=storefront&${time}`);
    const lead = page.locator('.lead');
    await until('all requests', async () => (await lead.innerText()).startsWith('all requests of storefront'));
    const choices = page.getByRole('group', { name: 'Requests' });
    ensure((await choices.locator('[aria-current="true"]').innerText()) === 'All', 'another choice is made');
    await choices.getByRole('link', { name: 'Failed', exact: true }).click();
    await until('failed requests', async () => (await lead.innerText()).startsWith('failed requests of storefront'));
    ensure(page.url().endsWith(`${time}&outcome=failed`), `the choice is not in the address ${page.url()}`);
    ensure(/in the selected time$/.test(await lead.innerText()), `the time is lost: ${await lead.innerText()}`);
    await until('causes', () => page.locator('.verdict.causes').count());
    // Durations select requests whatever their outcome.
    await show(page, origin, `#/explain?component=storefront&${time}&min=0.1&outcome=failed`);
    await until('requests by duration', async () => (await lead.innerText()).startsWith('requests that took'));
    ensure((await choices.count()) === 0, 'a choice without an effect is shown');
    // The filter of a list goes on to the comparison.
    await show(page, origin, `#/traces?component=storefront&outcome=failed&${time}`);
    const compare = await page.getByRole('link', { name: 'Compare with normal' }).getAttribute('href');
    ensure(compare.endsWith(`${time}&outcome=failed`), `the comparison is of ${compare}`);
  },

  async 'failures are explained'(page) {
    await show(page, origin, '#/explain?component=storefront&outcome=failed');
    const verdict = page.locator('.verdict.causes');
    await until('causes', () => verdict.count());
    ensure(await page.locator('.causes li').count(), 'no cause is listed');
    ensure(await page.locator('.signs li', { hasText: 'status 500' }).count(), 'the status is no sign');
    ensure(await page.locator('table.traces tbody tr').count(), 'no example is listed');
  },
};

/** Counts a person's clicks and keys on a page, whatever view is shown. */
async function countClicks(page) {
  let clicks = 0;
  await page.exposeFunction('noteClick', () => {
    clicks += 1;
  });
  const listen = () => {
    for (const kind of ['click', 'keydown']) {
      addEventListener(kind, (event) => event.isTrusted && globalThis.noteClick(), { capture: true });
    }
  };
  await page.evaluate(listen);
  return async () => clicks;
}
