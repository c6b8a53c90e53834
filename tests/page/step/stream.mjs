// Event streams: more pages than streams, hidden pages, and what is dropped.

import { checkLooks, ensure, settled, show, until } from '../check.mjs';
import { get, lastSnapshot, origin, pictures, read, small } from '../host.mjs';

/** The streams that the pages of one browser share. */
const SHARED = 4;

/** The logs of one request to the guest `log-service`. */
const LINES = 300;

export const steps = {
  async 'eight pages of one browser are live or read again'(_, browser) {
    const first = await browser.open(origin);
    const pages = [first];
    while (pages.length < 8) pages.push(await browser.openIn(first.context(), origin));
    for (const page of pages) await show(page, origin, '#/logs?component=lines');
    const inState = async (state) => {
      const found = [];
      for (const page of pages) if (await page.locator(`.connection.${state}`).count()) found.push(page);
      return found;
    };
    await until('streams of some pages', async () => {
      const [live, polling] = [await inState('live'), await inState('polling')];
      return live.length === SHARED && polling.length === pages.length - SHARED;
    });
    const [seen] = await inState('polling');
    ensure(await seen.locator('.banner.warning', { hasText: 'every 5 s' }).count(), 'no page shows that it reads again');
    // A hidden page leaves its stream to another one, and continues when it is shown.
    const [hidden] = await inState('live');
    await setHidden(hidden, true);
    await until('the hidden page at rest', () => hidden.locator('.connection.connecting').count());
    await until('a stream of another page', async () => (await inState('live')).length === SHARED);
    await sendLines();
    for (const page of await inState('live')) await until('all lines', () => hasLines(page));
    for (const page of await inState('polling')) await until('all lines that are read', () => hasLines(page));
    ensure(!(await hasLines(hidden)), 'a hidden page has read logs');
    await setHidden(hidden, false);
    await until('all lines of the page that was hidden', () => hasLines(hidden));
    for (const page of pages) ensure((await page.locator('.notice').count()) === 0, 'a page shows that logs are lost');
    await first.context().close();
  },

  async 'a page without a stream misses no log'(_, browser) {
    const streams = await holdStreams();
    browser.expectsErrors = true;
    const page = await browser.open(origin);
    await show(page, origin, '#/logs?component=lines');
    await until('a page without a stream', () => page.locator('.connection.polling').count());
    await until('its slot for other pages', async () => (await slots(page)) === 0);
    await settled(page);
    await checkLooks(page, pictures, 'polling');
    await sendLines();
    await until('all lines', () => hasLines(page));
    ensure((await page.locator('.notice').count()) === 0, 'the page shows that logs are lost');
    await sendLines();
    for (const stream of streams) stream.abort();
    await until('the stream', () => page.locator('.connection.live').count());
    browser.expectsErrors = false;
    await until('the lines before the stream', () => hasLines(page));
    await sendLines();
    await until('the lines of the stream', () => hasLines(page));
    await page.context().close();
  },

  async 'a page that is hidden while it connects keeps no slot'(_, browser) {
    const page = await browser.open(origin);
    await holdSlots(page);
    await page.goto(`${origin}/#/overview`);
    await until('the request of a slot', () => page.evaluate(() => globalThis.held.length));
    // Hidden and shown again, while the slot of the first attempt is requested.
    let answer;
    const isAnswered = new Promise((resolve) => (answer = resolve));
    await page.route(/\/api\/v1\/status/, async (route) => {
      await isAnswered;
      await route.continue();
    });
    await setHidden(page, true);
    await setHidden(page, false);
    await page.evaluate(() => globalThis.continueSlots());
    await until('the release of that slot', () => page.evaluate(() => globalThis.released));
    answer();
    await until('a stream with a slot', async () => {
      const isLive = await page.locator('.connection.live').count();
      return isLive && (await slots(page)) === 1;
    });
    await setHidden(page, true);
    await until('no slot', async () => (await slots(page)) === 0);
    await page.context().close();
  },

  async 'a page that was lost opens the stream of another view'(_, browser) {
    browser.expectsErrors = true;
    const page = await browser.open(origin);
    await holdSlots(page);
    await page.route(/\/api\/v1\/status/, (route) => route.abort());
    await show(page, origin, '#/overview');
    await until('the banner', () => page.locator('.banner.error', { hasText: 'Connection lost' }).count());
    await page.unroute(/\/api\/v1\/status/);
    // Another view is opened while the slot is requested.
    await until('the request of a slot', () => page.evaluate(() => globalThis.held.length));
    await show(page, origin, '#/logs?component=storefront&text=recovered');
    await until('no log', () => page.locator('.empty', { hasText: 'No log matches' }).count());
    await page.evaluate(() => globalThis.continueSlots());
    await until('the stream', () => page.locator('.connection.live').count());
    browser.expectsErrors = false;
    ensure((await slots(page)) === 1, `the page has ${await slots(page)} slots`);
    await get('/checkout?item=recovered');
    await until('the log', () => page.locator('.live-lines .log-line', { hasText: 'recovered' }).count());
    await page.context().close();
  },

  async 'what is dropped is counted on the page'(_, browser) {
    const page = await browser.open(small.origin);
    await show(page, small.origin, '#/logs');
    await until('the stream', () => page.locator('.connection.live').count());
    const dropped = page.locator('.foot .warn', { hasText: /^Dropped .* logs \(memory\)$/ });
    ensure((await dropped.count()) === 0, 'logs were dropped before there were any');
    for (let count = 0; count < 20; count += 1) await get('/logs?from=0&count=1000', undefined, undefined, small.service);
    await until('the count', async () => {
      const status = await read('status', small.origin);
      const counted = status.dropped.find(({ what, reason }) => what === 'logs' && reason === 'memory')?.count ?? 0;
      const [text = ''] = await dropped.allInnerTexts();
      const isEqual = counted > 0 && text.replaceAll('\u2009', '') === `Dropped ${counted} logs (memory)`;
      if (!isEqual) throw new Error(`${counted} were dropped, and the page shows “${text}”`);
      return true;
    });
    await page.context().close();
  },
};

/** The number of the first line that was sent last. */
let begin = 0;

/** Sends a request that logs more lines than a page of logs has. */
async function sendLines() {
  begin += LINES;
  ensure((await get(`/logs?from=${begin}&count=${LINES}`, 'lines.localhost')) === 200, 'the service has failed');
}

/** Returns `true` if a page shows each of the lines that were sent last once. */
async function hasLines(page) {
  const messages = await page.locator('.live-lines .log-line .message').allTextContents();
  // Another step sends lines with other numbers.
  const isSent = (number) => number >= begin && number < begin + LINES;
  const numbers = messages.map((message) => Number(/line (\d+)/.exec(message)?.[1])).filter(isSent);
  return numbers.length === LINES && new Set(numbers).size === LINES;
}

/** Returns the number of slots for streams that the pages of a browser have. */
function slots(page) {
  return page.evaluate(async () => (await navigator.locks.query()).held.length);
}

/** Holds the requests of slots of a page that is to be opened, until it calls `continueSlots`. */
function holdSlots(page) {
  return page.addInitScript(() => {
    const request = navigator.locks.request.bind(navigator.locks);
    globalThis.held = [];
    globalThis.released = 0;
    const isContinued = new Promise((resolve) => (globalThis.continueSlots = resolve));
    navigator.locks.request = async (...parameters) => {
      globalThis.held.push(parameters[0]);
      await isContinued;
      await request(...parameters);
      globalThis.released += 1;
    };
  });
}

/** Shows or hides a page, as a browser does with those behind others. */
function setHidden(page, isHidden) {
  return page.evaluate((isHidden) => {
    Object.defineProperty(document, 'hidden', { value: isHidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, isHidden);
}

/** Opens streams until the host refuses one, and returns what ends them. */
async function holdStreams() {
  const held = [];
  const holdsOne = async () => {
    const controller = new AbortController();
    const response = await fetch(`${origin}/api/v1/events?kinds=step`, { signal: controller.signal });
    if (response.status === 429) return false;
    ensure(response.status === 200, `a stream is answered with ${response.status}`);
    // A response without a reference is ended.
    held.push({ response, abort: () => controller.abort() });
    return true;
  };
  // One that a page has left is open until the host has written to it, as it does at snapshots.
  do {
    while (await holdsOne());
    const last = await lastSnapshot();
    await until('two snapshots', async () => (await lastSnapshot()) > last + 7);
  } while (await holdsOne());
  return held;
}
