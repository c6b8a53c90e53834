// What a check of the page needs: a browser that reports everything unexpected, and waits that have
// an end.

import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

/** The longest wait for a condition; a shorter one while a step is written. */
const PATIENCE_MS = Number(process.env.PAGE_PATIENCE_MS) || 60_000;

/** The widths and colours in which each view is checked. */
export const LOOKS = {
  desktop: { viewport: { width: 1280, height: 860 }, colorScheme: 'light' },
  dark: { viewport: { width: 1280, height: 860 }, colorScheme: 'dark' },
  narrow: { viewport: { width: 360, height: 740 }, colorScheme: 'light' },
  'narrow-dark': { viewport: { width: 360, height: 740 }, colorScheme: 'dark' },
};

/** The paths that a page requests: its document, its files, the API, and the login. */
const PATHS = /^\/(page\/[\w./-]+|api\/v1\/.+|login)?$/;

/** Fails with a message if a condition does not hold. */
export function ensure(condition, message) {
  if (!condition) throw new Error(message);
}

/** Waits until a function returns something, and returns that. */
export async function until(what, read) {
  const end = Date.now() + PATIENCE_MS;
  let last;
  for (;;) {
    try {
      last = await read();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${PATIENCE_MS / 1000} s; the last: ${last}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A browser whose pages note what they must not do. */
export class Browser {
  /** Messages of pages, and their requests to other addresses. */
  faults = [];

  static async launch(program) {
    const browser = new Browser();
    browser.browser = await chromium.launch({ executablePath: program, args: ['--no-sandbox', '--disable-gpu'] });
    return browser;
  }

  /**
   * Opens a page of a look. While `expectsErrors` is set, errors of the network are none of the
   * page.
   */
  async open(origin, look = 'desktop') {
    const context = await this.browser.newContext({ ...LOOKS[look], reducedMotion: 'reduce', locale: 'en-GB' });
    if (process.env.PAGE_FILES) await serveFiles(context, origin);
    return this.openIn(context, origin, look);
  }

  /** Opens another page of a browser, which shares its connections and cookies. */
  async openIn(context, origin, look = 'desktop') {
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on('console', (message) => {
      const isNetwork = /Failed to load resource|ERR_CONNECTION|ERR_INCOMPLETE/.test(message.text());
      if (['error', 'warning'].includes(message.type()) && !(isNetwork && this.expectsErrors)) {
        this.faults.push(`${look} ${page.url()}: ${message.type()}: ${message.text()} ${message.location().url}`);
      }
    });
    page.on('pageerror', (error) => this.faults.push(`${look} ${page.url()}: ${error.stack}`));
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (url.protocol === 'data:') return;
      if (url.origin !== origin || !PATHS.test(url.pathname)) this.faults.push(`a request to ${request.url()}`);
    });
    page.on('dialog', (dialog) => {
      this.faults.push(`a dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    await page.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) => {
        console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
      });
    });
    return page;
  }

  /** Fails if a page has done what it must not. */
  done() {
    ensure(this.faults.length === 0, `faults of the page:\n${[...new Set(this.faults)].slice(0, 12).join('\n')}`);
  }

  close() {
    return this.browser.close();
  }
}

/** Serves the page's files from the folder, without a build, while they are written. */
async function serveFiles(context, origin) {
  const kinds = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml', html: 'text/html' };
  await context.route(new RegExp(`^${origin}/(page/.*)?$`), async (route) => {
    const path = new URL(route.request().url()).pathname.replace(/^\/page\//, '').replace(/^\/$/, 'index.html');
    const response = await route.fetch();
    if (path === 'index.html' && !response.ok()) return route.fulfill({ response });
    const headers = { ...response.headers(), 'content-type': kinds[path.split('.').at(-1)] };
    const body = readFileSync(new URL(`../../crates/console/page/${path}`, import.meta.url));
    return route.fulfill({ status: 200, headers, body });
  });
}

/** The units of values, as factors. */
const UNITS = {
  '': 1, '/s': 1, '%': 0.01, k: 1e3, M: 1e6, G: 1e9,
  ns: 1e-9, µs: 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600,
  B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3,
};

/** Reads the first value of a text, such as `94 ms` or `2.25 MiB`. */
export function shown(text) {
  const [, number, unit = ''] = /([\d.]+)\s*(%|\/s|[KMG]iB|[nµm]s|min|[BGMhks](?!\w))?/.exec(text) ?? [];
  ensure(number !== undefined, `there is no value in ${text}`);
  return Number(number) * UNITS[unit];
}

/** Opens a view, and waits until all its answers are there. */
export async function show(page, origin, fragment) {
  const isOpen = page.url().startsWith(`${origin}/#`) && (await page.locator('#main').count()) > 0;
  if (isOpen && new URL(page.url()).hash !== fragment) {
    // The page has drawn the view when this listener, which is later than its own, is done.
    await page.evaluate(
      (hash) =>
        new Promise((done) => {
          addEventListener('hashchange', () => setTimeout(() => setTimeout(done)), { once: true });
          location.hash = hash;
        }),
      fragment,
    );
  } else {
    await page.goto(`${origin}/${fragment}`);
  }
  await settled(page);
}

/** Waits until nothing of a view is missing any more. */
export async function settled(page) {
  await page.waitForFunction(
    () => document.querySelector('#main') && !document.querySelector('.boot, .loading, .stale'),
  );
}

/** Selects an area of a plot with the pointer: all but the quickest of the latest requests. */
export async function selectArea(page, plot) {
  const over = page.locator(`${plot} .u-over`);
  await until('the plot', () => over.count());
  await over.scrollIntoViewIfNeeded();
  const box = await over.boundingBox();
  await page.mouse.move(box.x + box.width * 0.35, box.y + 4);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + box.height * 0.3, { steps: 4 });
  // All but the quickest: on a slow machine, one request may stretch the axis.
  const [endX, endY] = [box.x + box.width * 0.995, box.y + box.height * 0.8];
  await page.mouse.move(endX, endY, { steps: 4 });
  // A plot reads the pointer with each frame. The latest requests are at its end.
  const width = async () => (await page.locator(`${plot} .u-select`).boundingBox())?.width ?? 0;
  await until('the whole selection', async () => {
    await page.mouse.move(endX, endY);
    return (await width()) > box.width * 0.63;
  });
  await page.mouse.up();
  await until('the selection', () => /from=/.test(page.url()));
}

/** The greatest height of a row, an item or a heading in pixels, however long its texts are. */
const HIGHEST = 400;

/**
 * Fails if the view is wider than the window, if a table of a wide window is wider than its frame,
 * if a row is high, or if a text has one letter a line.
 */
export async function fits(page, what) {
  const squeezed = await page.evaluate(() =>
    [...document.querySelectorAll('td, th, p, li, dd, .w-name, .badge')]
      .filter((element) => {
        const { width, height } = element.getBoundingClientRect();
        return width > 1 && width < 24 && height > 60 && !element.closest('.hidden');
      })
      .map((element) => element.outerHTML.slice(0, 120)),
  );
  ensure(squeezed.length === 0, `${what} has texts of one letter a line: ${squeezed[0]}`);
  // A record that is open has its whole text, which is scrolled; a cause has items of its own.
  const high = await page.evaluate(
    (most) =>
      [...document.querySelectorAll('tr, li:not(.open, :has(li)), h1, h2, h3')]
        .filter((element) => element.getBoundingClientRect().height > most)
        .map((element) => `${element.getBoundingClientRect().height} pixels: ${element.outerHTML.slice(0, 200)}`),
    HIGHEST,
  );
  ensure(high.length === 0, `${what} has a row of ${high[0]}`);
  const wide = await page.evaluate((width) => {
    if (innerWidth < width) return [];
    return [...document.querySelectorAll('.table-frame')]
      .filter((frame) => frame.scrollWidth > frame.clientWidth + 1)
      .map((frame) => `${frame.scrollWidth} pixels in ${frame.clientWidth}: ${frame.innerHTML.slice(0, 200)}`);
  }, LOOKS.desktop.viewport.width);
  ensure(wide.length === 0, `${what} has a table of ${wide[0]}`);
  const [over, widest] = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const beyond = [...document.querySelectorAll('body *')].filter(
      (element) =>
        element.getBoundingClientRect().right > width + 1 && !element.closest('.hidden, .views, .table-frame'),
    );
    return [
      document.documentElement.scrollWidth - width,
      beyond.slice(0, 3).map((element) => element.outerHTML.slice(0, 90)),
    ];
  });
  ensure(over <= 0, `${what} is ${over} pixels wider than its window: ${widest.join(' ')}`);
}

/** Fails if `axe-core` finds a violation. */
export async function isAccessible(page, what) {
  if (!(await page.evaluate(() => 'axe' in globalThis))) {
    // By the driver, since the policy of the page has no place for other scripts.
    await page.evaluate(readFileSync(axe, 'utf8'));
  }
  const violations = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'] });
    return violations.map(
      ({ id, help, nodes }) =>
        `${id}: ${help}: ${nodes
          .slice(0, 3)
          .map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary?.slice(0, 200)}`)
          .join(' | ')}`,
    );
  });
  ensure(violations.length === 0, `${what} has violations:\n${violations.join('\n')}`);
}

/** Fails if what a page shows does not fit or is not accessible in a look. Writes screenshots. */
export async function checkLooks(page, folder, name, looks = Object.keys(LOOKS)) {
  for (const look of looks) {
    await page.emulateMedia({ colorScheme: LOOKS[look].colorScheme });
    await page.setViewportSize(LOOKS[look].viewport);
    await picture(page, folder, `${name}-${look}`);
    await fits(page, `${name}, ${look}`);
    await isAccessible(page, `${name}, ${look}`);
  }
}

/** Writes a screenshot. */
export async function picture(page, folder, name) {
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: `${folder}/${name}.png` });
}
