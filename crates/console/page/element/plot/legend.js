// The values of a plot at its cursor, as text.

import { clock } from '../../format.js';

/** @import {Spec} from './spec.js' */

/** The age of the end of a plot from which its last values are not those of now. */
const PAST_SECONDS = 60;

export class Legend {
  element = document.createElement('div');
  /** The same for screen readers, while the cursor is moved by keys. */
  spoken = document.createElement('div');

  constructor() {
    this.element.className = 'legend';
    this.spoken.className = 'hidden';
    this.spoken.setAttribute('aria-live', 'polite');
  }

  /**
   * Shows the values at the cursor, or the last ones.
   * @param {Spec} spec
   * @param {number | null | undefined} chosen The index of the time at the cursor.
   * @param {boolean} isSpoken
   */
  show(spec, chosen, isSpoken) {
    const isChosen = chosen !== null && chosen !== undefined;
    const index = isChosen ? chosen : spec.times.length - 1;
    const time = clock(spec.times[index]);
    const at = document.createElement('span');
    at.className = 'at';
    const isPast = spec.window[1] < Date.now() / 1000 - PAST_SECONDS;
    at.textContent = isChosen || isPast ? time : 'now';
    const keys = spec.lines.map((line) => {
      const key = document.createElement('span');
      const mark = document.createElement('i');
      mark.style.background = `var(${line.color})`;
      const label = document.createElement('span');
      label.textContent = line.label;
      label.title = line.label;
      const value = document.createElement('b');
      value.textContent = spec.format(line.values[index]);
      key.append(mark, label, value);
      return key;
    });
    this.element.replaceChildren(at, ...keys);
    if (isSpoken && isChosen) {
      const values = spec.lines.map((line) => `${line.label} ${spec.format(line.values[index])}`);
      this.speak(`${time}: ${values.join(', ')}`);
    }
  }

  /**
   * Sends a text to screen readers.
   * @param {string} text
   */
  speak(text) {
    this.spoken.textContent = text;
  }
}
