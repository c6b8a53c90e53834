// The way by keys alone, and what a person's system asks for.

import { ensure, settled, show, until } from '../check.mjs';
import { lastSnapshot, origin, read } from '../host.mjs';

export const steps = {
  async 'reduced motion stops all animations'(page) {
    await show(page, origin, '#/overview');
    await until('the mark of a live page', () => page.locator('.connection.live i').count());
    const animations = () => page.evaluate(() => document.getAnimations().length);
    await page.emulateMedia({ reducedMotion: 'no-preference' });
    await until('an animation', animations);
    await page.emulateMedia({ reducedMotion: 'reduce' });
    await until('no animation', async () => (await animations()) === 0);
  },

  async 'keys reach everything and the focus is visible'(page) {
    await show(page, origin, '#/overview');
    await until('what is wrong', () => page.locator('.wrong li').count());
    // A loaded page has its focus at its beginning.
    await page.reload();
    await settled(page);
    const reached = [];
    for (let index = 0; index < 60; index += 1) {
      await page.keyboard.press('Tab');
      const focused = await page.evaluate(() => {
        const element = document.activeElement;
        if (!element || element === document.body) return null;
        const style = getComputedStyle(element);
        return {
          text: (element.getAttribute('aria-label') ?? element.textContent ?? '').trim().slice(0, 30),
          outline: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0,
        };
      });
      if (!focused) continue;
      ensure(focused.outline, `the focus on ${focused.text} is not visible`);
      reached.push(focused.text);
    }
    for (const name of ['Skip to the view', 'Logs', 'Pause', 'Why?']) {
      ensure(
        reached.some((text) => text.includes(name)),
        `keys do not reach ${name}: ${reached}`,
      );
    }
    ensure(
      reached.some((text) => text.startsWith('Requests a second')),
      `keys do not reach the plots: ${reached}`,
    );
    const plot = page.locator('.plot-frame').first();
    await plot.focus();
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('Shift+ArrowLeft');
    await page.keyboard.press('Shift+ArrowLeft');
    await until('a selection by keys', () => /from=/.test(page.url()));
    await page.keyboard.press('Escape');
    await until('no selection', () => !/from=/.test(page.url()));
  },

  async 'keys select durations'(page) {
    for (const [fragment, plot] of [
      ['#/overview', '#latency'],
      ['#/traces', '#heatmap'],
    ]) {
      // Paused, so that the plot does not move below its cursor.
      await until('requests', async () => (await read('overview')).components.some(({ rate }) => rate > 0));
      await show(page, origin, `${fragment}?end=${Math.round(await lastSnapshot())}`);
      const frame = page.locator(`${plot} .plot-frame`);
      await until('the plot', () => frame.count());
      await frame.focus();
      await page.keyboard.press('End');
      for (const key of ['Left', 'Left', 'Left']) await page.keyboard.press(`Shift+Arrow${key}`);
      // Keys follow each other more quickly than the page is drawn.
      await until('a selection of time', () => parameters(page).to - parameters(page).from === 15);
      const { from, to } = parameters(page);
      for (const key of ['Down', 'Down']) await page.keyboard.press(`Shift+Arrow${key}`);
      await until('a selection of durations', () => /min=.*max=/.test(page.url()));
      const { min, max, ...time } = parameters(page);
      ensure(Number(max) > Number(min), `the durations are from ${min} to ${max}`);
      ensure(time.from === from && time.to === to, `the time has become ${page.url()}`);
      await page.keyboard.press('Shift+ArrowDown');
      await until('more durations', () => Number(parameters(page).min) < Number(min) && parameters(page).max === max);
      // The time goes on with the same durations.
      await page.keyboard.press('Shift+ArrowLeft');
      await until('more time', () => parameters(page).from < from && parameters(page).max === max);
      await page.keyboard.press('Escape');
      await until('no selection', () => !/from=|min=/.test(page.url()));
      // Without a time, of the whole range; keys alone move, and begin another selection.
      await page.keyboard.press('ArrowUp');
      await page.keyboard.press('Shift+ArrowUp');
      await until('durations of the whole range', () => /from=.*to=.*min=.*max=/.test(page.url()));
      await until('the drawn selection', () => page.locator('.selection').count());
      const whole = parameters(page);
      ensure(Math.abs(whole.to - whole.from - 300) < 1, `the whole range is ${page.url()}`);
      ensure(Number(whole.max) <= Number(max) && Number(whole.min) < Number(whole.max), `the durations are ${page.url()}`);
      await page.keyboard.press('Escape');
      await until('no selection', () => !/from=/.test(page.url()));
    }
  },

  async 'keys alone lead through all views'(page) {
    // While somebody works with keys, no other device does.
    await show(page, origin, '#/overview?component=storefront');
    await page.reload();
    await settled(page);
    await until('a point', () => page.locator('#latency .exemplars a').count());
    await tabTo(page, '#latency .exemplars a');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Enter');
    await until('a trace', () => page.locator('.w-span').count());
    await tabTo(page, 'a.w-span');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Enter');
    await until('a span', () => page.locator('.waterfall .record').count());

    await visit(page, 'Metrics');
    await tabTo(page, '.search input');
    await page.keyboard.type('items_sold');
    await until('the metric', async () => (await page.locator('.card').count()) === 1);
    await tabTo(page, 'a.card');
    await page.keyboard.press('Enter');
    await until('the split', () => page.getByLabel('Split by').count());
    await tabTo(page, '.filters.inline select');
    await page.keyboard.type('item');
    await until('the groups', () => page.locator('table.groups tr', { hasText: 'apple' }).count());

    await visit(page, 'Logs');
    await tabTo(page, '.search input');
    await page.keyboard.type('out of stock');
    await until('the search', () => page.url().includes('text=out'));
    await settled(page);
    await tabTo(page, '.live-lines a.log-line');
    await page.keyboard.press('Enter');
    await until('a record', () => page.locator('.record a.primary').count());
    await tabTo(page, '.record a.primary');
    await page.keyboard.press('Enter');
    await until('its trace', () => page.url().includes('#/traces/'));

    await visit(page, 'Traces');
    await tabTo(page, 'table.traces td a');
    await page.keyboard.press('Enter');
    await until('a trace of the list', () => page.locator('.w-span').count());

    await visit(page, 'Traps');
    await tabTo(page, '.trap a.primary');
    await page.keyboard.press('Enter');
    await until('the trap', () => page.locator('.w-trap').count());
    await tabTo(page, '.actions a.primary');
    await page.keyboard.press('Enter');
    await until('the comparison', () => page.locator('.verdict').count());

    await visit(page, 'Overview');
    await tabTo(page, '.pause', true);
    await page.keyboard.press('Enter');
    await until('the pause', () => page.locator('.connection.paused').count());
    await page.keyboard.press('Enter');
    await until('the resumed page', () => page.locator('.connection.live').count());
    await tabTo(page, '.wrong a');
    await page.keyboard.press('Enter');
    await until('why', () => page.url().includes('#/explain'));
  },
};

/** Returns the parameters of a view. */
const parameters = (page) => Object.fromEntries(new URLSearchParams(page.url().split('?')[1]));

/** Opens a view by the keys that reach its link. */
async function visit(page, name) {
  await tabTo(page, `.views a:text-is("${name}")`, true);
  await page.keyboard.press('Enter');
  await until(name, () => page.locator('.views [aria-current="page"]', { hasText: name }).count());
  await settled(page);
}

/** Presses Tab until an element has the focus. */
async function tabTo(page, selector, isBackwards = false) {
  const target = page.locator(selector);
  for (let index = 0; index < 150; index += 1) {
    await page.keyboard.press(isBackwards ? 'Shift+Tab' : 'Tab');
    if (await target.evaluateAll((found) => found.includes(document.activeElement))) return;
  }
  throw new Error(`Tab does not reach ${selector} of ${page.url()}`);
}
