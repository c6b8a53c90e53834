// Checks LogQL with Grafana's parser:
//
//     node tests/grafana/logql.mjs < expressions.json
//
// Reads a JSON array of expressions and prints a line for each bad one, with its index. Exits with
// 1 if there is a bad one and with 2 if the input is no such array. Variables of Grafana, such as
// `$__auto`, are no LogQL: replace them by values first.
//
// Beside the syntax it checks Loki's own rule on selectors, which the parser does not have: a
// selector needs a matcher that does not match the empty text.

import { parser } from '@grafana/lezer-logql';
import { readFileSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Returns the text of a string literal of LogQL. */
function literal(text) {
  return text.startsWith('`') ? text.slice(1, -1) : JSON.parse(text);
}

/** Returns `true` if a matcher's regular expression (RE2) matches the empty text. */
function matchesEmpty(pattern) {
  // JavaScript has RE2's flags only beside the pattern.
  const flags = /^\(\?([ims]+)\)/.exec(pattern);
  return new RegExp(`^(?:${flags ? pattern.slice(flags[0].length) : pattern})$`, flags ? flags[1] : '').test('');
}

/** Returns an error of a selector, or `undefined`. */
function selectorError(selector, expression) {
  const matchers = [];
  selector.cursor().iterate((node) => {
    if (node.name !== 'Matcher') return;
    const [, operator, value] = children(node.node);
    matchers.push([operator.name, literal(expression.slice(value.from, value.to))]);
  });
  const isNarrow = ([operator, value]) => {
    switch (operator) {
      case 'Eq':
        return value !== '';
      case 'Neq':
        return value === '';
      case 'Re':
        return !matchesEmpty(value);
      default:
        return matchesEmpty(value);
    }
  };
  if (matchers.some(isNarrow)) return undefined;
  return 'the selector has no matcher that excludes the empty text, which Loki refuses';
}

function children(node) {
  const all = [];
  for (let child = node.firstChild; child; child = child.nextSibling) all.push(child);
  return all;
}

/** Returns the first error of an expression, or `undefined`. */
export function logqlError(expression) {
  let error;
  parser.parse(expression).iterate({
    enter(node) {
      if (error !== undefined) return false;
      if (node.type.isError) error = `syntax error at character ${node.from + 1}`;
      else if (node.name === 'Selector' && !hasError(node.node)) {
        try {
          error = selectorError(node.node, expression);
        } catch (cause) {
          error = `a matcher cannot be read: ${cause.message}`;
        }
      }
      return true;
    },
  });
  return error;
}

function hasError(node) {
  let found = false;
  node.cursor().iterate((inner) => {
    found ||= inner.type.isError;
  });
  return found;
}

/** Returns an array of strings, or exits. */
export function readStrings() {
  let value;
  try {
    value = JSON.parse(readFileSync(0, 'utf8'));
  } catch (error) {
    value = error.message;
  }
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
  console.error('the input is no JSON array of strings');
  process.exit(2);
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const expressions = readStrings();
  const bad = expressions.flatMap((expression, index) => {
    const error = logqlError(expression);
    return error === undefined ? [] : [`${index}: ${error}: ${expression}`];
  });
  for (const line of bad) console.log(line.replaceAll('\n', ' '));
  if (bad.length > 0) process.exit(1);
}
