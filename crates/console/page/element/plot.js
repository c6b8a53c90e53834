// A plot over time as an element: lines or a heatmap, points that are links, and a selection.

import uPlot from '../vendor/uplot/uPlot.js';
import { putLinks, walkLinks } from './plot/exemplar.js';
import { Rows } from './plot/heat.js';
import { Legend } from './plot/legend.js';
import { options } from './plot/option.js';

/** @import {Drawn} from './plot/option.js' */
/** @import {Selection, Spec} from './plot/spec.js' */


/** The smallest selection in pixels. */
const SMALLEST = 6;

export class Plot extends HTMLElement {
  /** @type {Spec | null} */
  #spec = null;
  /** @type {uPlot | null} */
  #plot = null;
  /** @type {Drawn | null} */
  #content = null;
  #drawn = '';
  /** The points that are drawn. */
  #linked = '';
  /** @type {unknown} */
  #source = null;
  #frame = document.createElement('div');
  #legend = new Legend();
  #observer = new ResizeObserver(() => this.#resize());
  #theme = matchMedia('(prefers-color-scheme: dark)');
  #isChosenByKeys = false;
  /** `true` while the pointer selects, which no answer that arrives meanwhile ends. */
  #isDragging = false;
  /** @type {number | null} The time at which a selection by keys begins. */
  #anchor = null;
  /** @type {number | null} The value to which keys have moved. */
  #value = null;
  /** @type {number | null} The value at which a selection by keys begins. */
  #valueAnchor = null;

  /** @param {Spec} spec */
  set spec(spec) {
    this.#spec = spec;
    if (this.isConnected) this.#update();
  }

  connectedCallback() {
    this.#frame.className = 'plot-frame';
    this.#frame.tabIndex = 0;
    this.#frame.setAttribute('role', 'group');
    this.replaceChildren(this.#frame, this.#legend.element, this.#legend.spoken);
    this.#frame.addEventListener('keydown', this.#pressed);
    this.#frame.addEventListener('mousedown', this.#held);
    this.#observer.observe(this);
    this.#theme.addEventListener('change', this.#rebuild);
    this.#update();
  }

  disconnectedCallback() {
    this.#observer.disconnect();
    this.#theme.removeEventListener('change', this.#rebuild);
    this.#frame.removeEventListener('keydown', this.#pressed);
    this.#frame.removeEventListener('mousedown', this.#held);
    this.#plot?.destroy();
    this.#plot = null;
    this.#drawn = '';
  }

  #rebuild = () => {
    this.#drawn = '';
    this.#source = null;
    this.#update();
  };

  #update() {
    const spec = this.#spec;
    if (!spec) return;
    this.#content ??= { spec, rows: null };
    this.#content.spec = spec;
    const structure = [spec.key, spec.lines.map((line) => line.label + line.color).join('\n'), spec.scale].join('\n');
    const window = spec.window.join();
    const linked = (spec.points ?? []).map((point) => point.href + point.value).join();
    if (this.#plot && this.#drawn === structure && this.#source === spec.source && this.dataset.window === window) {
      this.#select();
      if (linked !== this.#linked) this.#link();
      this.#linked = linked;
      return;
    }
    this.#content.rows = spec.heat ? new Rows(spec.heat) : null;
    this.dataset.window = window;
    this.#linked = linked;
    this.#source = spec.source;
    if (!this.#plot || this.#drawn !== structure) {
      this.#plot?.destroy();
      this.#drawn = structure;
      const hooks = {
        setCursor: [() => this.#read()],
        setSelect: [() => this.#chosen()],
        setSize: [() => this.#link()],
      };
      this.#plot = new uPlot(options(this, this.#content, hooks), this.#data(spec), this.#frame);
      for (const canvas of this.#frame.querySelectorAll('canvas')) canvas.setAttribute('aria-hidden', 'true');
      const choose = spec.select ? '; Shift with them selects' : '';
      const axes = spec.selectsValues ? 'time and durations' : 'time';
      this.#frame.setAttribute('aria-label', `${spec.title}, plot: arrow keys move along ${axes}${choose}`);
    } else {
      this.#plot.setData(this.#data(spec), true);
    }
    this.#select();
    this.#link();
    this.#read();
  }

  /**
   * @param {Spec} spec
   * @returns {uPlot.AlignedData}
   */
  #data(spec) {
    const rows = this.#content?.rows;
    const values = spec.lines.map((line) => {
      if (rows) return line.values.map((value) => rows.place(value));
      return spec.scale === 'log'
        ? line.values.map((value) => (value !== null && value > 0 ? value : null))
        : line.values;
    });
    return [spec.times, ...values];
  }

  #link() {
    if (this.#plot && this.#content) putLinks(this.#plot, this.#content);
  }

  #read() {
    if (this.#plot && this.#spec) this.#legend.show(this.#spec, this.#plot.cursor.idx, this.#isChosenByKeys);
  }

  /** Shows the selection of the address. */
  #select() {
    const plot = this.#plot;
    const spec = this.#spec;
    if (!plot || !spec || this.#isDragging) return;
    const { selection } = spec;
    const none = { left: 0, top: 0, width: 0, height: 0 };
    if (!selection) {
      if (plot.select.width > 0) plot.setSelect(none, false);
      return;
    }
    const left = Math.max(0, plot.valToPos(selection.from, 'x'));
    const right = Math.min(plot.over.clientWidth, plot.valToPos(selection.to, 'x'));
    let top = 0;
    let bottom = plot.over.clientHeight;
    if (spec.selectsValues && selection.min !== undefined && selection.max !== undefined) {
      const rows = this.#content?.rows;
      const place = (/** @type {number} */ value) =>
        plot.valToPos((rows ? rows.place(value) : value) ?? 0, 'y');
      top = Math.max(0, place(selection.max));
      bottom = Math.min(bottom, place(selection.min));
      if (Number.isNaN(bottom)) bottom = plot.over.clientHeight;
    }
    if (right <= left) plot.setSelect(none, false);
    else plot.setSelect({ left, top, width: right - left, height: Math.max(1, bottom - top) }, false);
  }

  #held = (/** @type {MouseEvent} */ event) => {
    if (event.button !== 0 || event.target instanceof HTMLAnchorElement) return;
    this.#setDragging(true);
    document.addEventListener('mouseup', () => this.#setDragging(false), { once: true });
  };

  /** @param {boolean} isDragging */
  #setDragging(isDragging) {
    this.#isDragging = isDragging;
    this.#frame.classList.toggle('dragging', isDragging);
  }

  /** Reports a selection that the pointer made. */
  #chosen() {
    const plot = this.#plot;
    const spec = this.#spec;
    if (!plot || !spec?.select) return;
    const { left, top, width, height } = plot.select;
    if (width < SMALLEST) {
      if (!spec.selection && width > 0) plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      return;
    }
    /** @type {Selection} */
    const selection = { from: round(plot.posToVal(left, 'x')), to: round(plot.posToVal(left + width, 'x')) };
    if (spec.selectsValues && height < plot.over.clientHeight - 1) {
      const value = (/** @type {number} */ y) => {
        const place = plot.posToVal(y, 'y');
        return this.#content?.rows?.value(place) ?? place;
      };
      selection.min = Number(Math.max(0, value(top + height)).toPrecision(4));
      selection.max = Number(value(top).toPrecision(4));
    }
    this.#choose(selection);
  }

  /**
   * Reports a selection. A key that follows before the page is drawn again goes on from it.
   * @param {Selection | null} selection
   */
  #choose(selection) {
    if (!this.#spec) return;
    this.#spec.selection = selection;
    this.#spec.select?.(selection);
  }

  #pressed = (/** @type {KeyboardEvent} */ event) => {
    const plot = this.#plot;
    const spec = this.#spec;
    if (!plot || !spec) return;
    if (event.target instanceof HTMLAnchorElement) {
      walkLinks(event, event.target);
      return;
    }
    if (event.key === 'Escape' && spec.selection) {
      this.#anchor = null;
      this.#valueAnchor = null;
      this.#choose(null);
      event.preventDefault();
      return;
    }
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (step !== undefined && spec.select && spec.selectsValues) {
      event.preventDefault();
      this.#moveValue(plot, spec, step, event.shiftKey);
      return;
    }
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    const last = spec.times.length - 1;
    const from = plot.cursor.idx ?? last;
    const index = Math.max(0, Math.min(last, from + move));
    const time = spec.times[index];
    if (time === undefined) return;
    this.#isChosenByKeys = true;
    plot.setCursor({ left: plot.valToPos(time, 'x'), top: plot.over.clientHeight / 2 });
    if (event.shiftKey && spec.select) {
      this.#anchor ??= spec.times[from] ?? time;
      const [low, high] = [Math.min(this.#anchor, time), Math.max(this.#anchor, time)];
      if (high > low) this.#choose({ ...spec.selection, from: round(low), to: round(high) });
    } else {
      this.#anchor = null;
    }
  };

  /**
   * Moves along the axis of values, and selects those between.
   * @param {uPlot} plot
   * @param {Spec} spec
   * @param {number} step 1 upwards, −1 downwards.
   * @param {boolean} isSelecting
   */
  #moveValue(plot, spec, step, isSelecting) {
    const rows = this.#content?.rows;
    const levels = rows ? rows.levels() : decadeLevels(plot);
    // The first key begins at an end of the axis.
    const from = nearest(levels, this.#value ?? (step > 0 ? -Infinity : Infinity));
    const to = levels[Math.max(0, Math.min(levels.length - 1, from + step))];
    if (to === undefined) return;
    this.#value = to;
    const left = (plot.cursor.left ?? -1) >= 0 ? (plot.cursor.left ?? 0) : plot.valToPos(spec.times.at(-1) ?? 0, 'x');
    plot.setCursor({ left, top: plot.valToPos((rows ? rows.place(to) : to) ?? 0, 'y') });
    if (!isSelecting || !spec.select) {
      this.#valueAnchor = null;
      this.#legend.speak(spec.format(to));
      return;
    }
    this.#valueAnchor ??= levels[from] ?? to;
    const [min, max] = [Math.min(this.#valueAnchor, to), Math.max(this.#valueAnchor, to)];
    this.#legend.speak(`${spec.format(min)} to ${spec.format(max)}`);
    const [start, end] = spec.window;
    const { from: first, to: last } = spec.selection ?? { from: round(start), to: round(end) };
    if (max > min) this.#choose({ from: first, to: last, min, max });
  }

  #resize() {
    const width = this.clientWidth;
    if (this.#plot && width > 0 && width !== this.#plot.width) {
      this.#plot.setSize({ width, height: this.#spec?.height ?? 180 });
      this.#select();
    }
  }
}

/**
 * Returns the values of a logarithmic axis to which keys move: 1, 2 and 5 of each decade.
 * @param {uPlot} plot
 */
function decadeLevels(plot) {
  const { min, max } = plot.scales.y ?? {};
  const levels = [];
  for (let decade = Math.round(Math.log10(min || 0.001)); decade <= Math.round(Math.log10(max || 1)); decade += 1)
    for (const digit of [1, 2, 5]) levels.push(Number(`${digit}e${decade}`));
  return levels.filter((level) => level <= (max || 1));
}

/**
 * Returns the index of the level that is nearest to a value.
 * @param {number[]} levels They rise.
 * @param {number} value
 */
function nearest(levels, value) {
  const above = levels.findIndex((level) => level >= value);
  if (above <= 0) return above < 0 ? levels.length - 1 : 0;
  const [low = 0, high = 0] = levels.slice(above - 1, above + 1);
  return value - low < high - value ? above - 1 : above;
}

/** @param {number} time */
const round = (time) => Math.round(time * 1000) / 1000;

customElements.define('wm-plot', Plot);
