// Texts of guests: markup and words that no line can hold.

import { ensure, fits, isAccessible, settled, show, until } from '../check.mjs';
import { get, origin, read } from '../host.mjs';

/** The component of the guest `markup`: its own name has markup, too. */
const COMPONENT = 'markup<script>globalThis.isRun=1</script>';

/**
 * Sends requests to the guest that writes markup wherever it can, and returns the address of each
 * view that shows its texts.
 */
export async function sendTexts() {
  for (const path of ['/', '/', '/fail', '/panic']) await get(path, 'markup.localhost');
  const component = encodeURIComponent(COMPONENT);
  const trapped = await until('the trace of the panic', async () => {
    const { traces } = await read(`traces?component=${component}&reason=unreachable`);
    return traces[0];
  });
  const failed = await until('the trace of the failure', async () => {
    const { traces } = await read(`traces?component=${component}&status=500`);
    return traces.find((trace) => trace.reason === null);
  });
  const { spans } = await read(`traces/${failed.trace_id}`);
  const log = await until('a log', async () => (await read(`logs?component=${component}&level=error`)).logs[0]);
  await until('the metric', async () => (await read('metrics?text=markup_total')).metrics[0]?.is_kept);
  return {
    'text-overview': `#/overview?component=${component}`,
    'text-route': `#/overview?component=${component}&route=${encodeURIComponent(failed.route)}`,
    'text-metrics': '#/metrics?text=markup',
    'text-counter': '#/metrics/markup_total?by=text',
    'text-histogram': '#/metrics/markup_sizes?by=text',
    'text-logs': `#/logs?component=${component}`,
    'text-record': `#/logs/${log.id}?component=${component}`,
    'text-traces': `#/traces?component=${component}`,
    'text-trace': `#/traces/${trapped.trace_id}`,
    'text-span': `#/traces/${failed.trace_id}?span=${spans.at(-1).span_id}`,
    'text-traps': `#/traps?component=${component}`,
    'text-explain': `#/explain?component=${component}`,
  };
}

/** Fails if a text of a guest has become markup, or was run. */
export async function isOnlyText(page, what) {
  ensure((await page.evaluate(() => globalThis.isRun)) === undefined, `${what}: a text of the guest was run`);
  const markup = await page.locator('#page script, #page img[src="x"]').count();
  ensure(markup === 0, `${what}: a text of the guest has become markup`);
}

export const steps = {
  async 'texts of guests stay text'(page) {
    const found = await sendTexts();
    for (const [name, fragment] of Object.entries(found)) {
      await show(page, origin, fragment);
      await until(`the markup as text in ${name}`, async () =>
        /script|WWWW/.test(await page.locator('main').innerText()),
      );
      await fits(page, name);
      await isOnlyText(page, name);
    }
    // From the log to the trace, through texts that are 10 kB long.
    await show(page, origin, found['text-record']);
    await page.getByRole('link', { name: 'Open its trace' }).click();
    await settled(page);
    await until('the span', () => page.locator('.w-span', { hasText: 'script' }).count());
    await fits(page, 'its trace');
    await isAccessible(page, 'its trace');
  },
};
