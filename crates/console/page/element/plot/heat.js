// The buckets of a heatmap: their places on the axis, and their colours.

/** @import uPlot from '../../vendor/uplot/uPlot.js' */
/** @import {Heat} from './spec.js' */

/**
 * The buckets of a heatmap that are drawn, and the function from a value to its place among them.
 */
export class Rows {
  /** @param {Heat} heat */
  constructor(heat) {
    this.bounds = heat.bounds;
    let first = Infinity;
    let last = -1;
    for (const cells of heat.cells) {
      cells?.forEach((count, row) => {
        if (count > 0) {
          first = Math.min(first, row);
          last = Math.max(last, row);
        }
      });
    }
    this.first = last < 0 ? 0 : Math.max(0, first - 1);
    this.last = last < 0 ? Math.min(4, heat.bounds.length) : Math.min(heat.bounds.length, last + 1);
  }

  /**
   * Returns the place of a value: `n` and a fraction for one in bucket `n`.
   * @param {number | null} value
   */
  place(value) {
    if (value === null) return null;
    let row = this.bounds.findIndex((bound) => value <= bound);
    if (row < 0) row = this.bounds.length;
    const low = this.bounds[row - 1] ?? 0;
    const high = this.bounds[row] ?? Math.max(low * 2, value);
    return row + (high > low ? (value - low) / (high - low) : 0.5);
  }

  /**
   * Returns the value at a place.
   * @param {number} place
   */
  value(place) {
    const row = Math.max(0, Math.min(this.bounds.length, Math.floor(place)));
    const low = this.bounds[row - 1] ?? 0;
    const high = this.bounds[row] ?? low * 2;
    return low + (high - low) * (place - row);
  }

  /** Returns the bounds of the buckets that are drawn. */
  levels() {
    return Array.from({ length: this.last - this.first + 2 }, (_, row) => this.value(this.first + row));
  }

  /** Returns the places of the axis that have a label. */
  splits() {
    const stride = Math.max(1, Math.ceil((this.last - this.first + 1) / 7));
    const splits = [];
    for (let row = this.first; row <= this.last + 1; row += stride) if (row <= this.bounds.length) splits.push(row);
    return splits;
  }

  /**
   * Draws the buckets.
   * @param {uPlot} plot
   * @param {Heat} heat
   * @param {number[]} times
   * @param {string} color
   */
  draw(plot, heat, times, color) {
    let greatest = 0;
    for (const cells of heat.cells) for (const count of cells ?? []) greatest = Math.max(greatest, count);
    const step = times.length > 1 ? (times[1] ?? 0) - (times[0] ?? 0) : 5;
    const { ctx } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
    ctx.clip();
    ctx.fillStyle = color;
    heat.cells.forEach((cells, index) => {
      const time = times[index];
      if (!cells || time === undefined) return;
      const left = plot.valToPos(time - step, 'x', true);
      const right = plot.valToPos(time, 'x', true);
      for (let row = this.first; row <= this.last; row += 1) {
        const count = cells[row] ?? 0;
        if (count === 0) continue;
        const top = plot.valToPos(row + 1, 'y', true);
        const bottom = plot.valToPos(row, 'y', true);
        ctx.globalAlpha = 0.14 + 0.86 * Math.sqrt(count / greatest);
        ctx.fillRect(left, top, Math.max(1, right - left - 1), Math.max(1, bottom - top - 1));
      }
    });
    ctx.restore();
  }
}
