// The libraries that the console's page contains: `node vendor.mjs` copies them from node_modules,
// whose bytes npm has compared with the hashes in package-lock.json; `node vendor.mjs --check`
// compares the copies with their record.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, 'node_modules');
const vendor = join(here, '../../crates/console/page/vendor');
const record = join(vendor, 'vendor.json');

/** The files of each library, and their names in the page. */
const LIBRARIES = {
  'lit-html': {
    LICENSE: 'LICENSE',
    'lit-html.js': 'lit-html.js',
    'lit-html.d.ts': 'lit-html.d.ts',
    'directive.js': 'directive.js',
    'directive.d.ts': 'directive.d.ts',
    'directive-helpers.js': 'directive-helpers.js',
    'directive-helpers.d.ts': 'directive-helpers.d.ts',
    'directives/repeat.js': 'directives/repeat.js',
    'directives/repeat.d.ts': 'directives/repeat.d.ts',
    'directives/live.js': 'directives/live.js',
    'directives/live.d.ts': 'directives/live.d.ts',
  },
  uplot: {
    LICENSE: 'LICENSE',
    'dist/uPlot.esm.js': 'uPlot.js',
    'dist/uPlot.d.ts': 'uPlot.d.ts',
    'dist/uPlot.min.css': 'uPlot.css',
  },
};

/** The licences that the page may contain: see deny.toml for those of crates. */
const LICENCES = ['MIT', 'BSD-3-Clause'];

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/**
 * Returns what is recorded of each library: its version, licence, the hash of its package, and
 * those of its files.
 */
function libraries() {
  const lock = JSON.parse(readFileSync(join(here, 'package-lock.json'), 'utf8'));
  return Object.entries(LIBRARIES).map(([name, names]) => {
    const manifest = JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8'));
    const locked = lock.packages[`node_modules/${name}`];
    if (manifest.version !== locked.version) {
      throw new Error(
        `${name} ${manifest.version} is installed, and ${locked.version} is locked: run \`cargo xtask page --vendor\``,
      );
    }
    if (!LICENCES.includes(manifest.license)) {
      throw new Error(`${name} has the licence ${manifest.license}; the page may contain ${LICENCES.join(' and ')}`);
    }
    const files = Object.fromEntries(
      Object.entries(names).map(([from, to]) => [
        to,
        { from, sha256: sha256(readFileSync(join(modules, name, from))) },
      ]),
    );
    return { name, version: manifest.version, licence: manifest.license, integrity: locked.integrity, files };
  });
}

/** Returns the files at and below a folder, relative to it. */
function list(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}

function copy() {
  rmSync(vendor, { recursive: true, force: true });
  const found = libraries();
  for (const { name, files } of found) {
    for (const [to, { from }] of Object.entries(files)) {
      const path = join(vendor, name, to);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, readFileSync(join(modules, name, from)));
    }
  }
  writeFileSync(record, JSON.stringify(found, null, 2) + '\n');
  console.log(found.map(({ name, version, licence }) => `${name} ${version} (${licence})`).join(', '));
}

function check() {
  const recorded = JSON.parse(readFileSync(record, 'utf8'));
  const expected = ['vendor.json'];
  for (const { name, files } of recorded) {
    for (const [path, { sha256: hash }] of Object.entries(files)) {
      const file = join(vendor, name, path);
      expected.push(join(name, path));
      if (!existsSync(file)) throw new Error(`${file} is missing: run \`cargo xtask page --vendor\``);
      const bytes = readFileSync(file);
      if (sha256(bytes) !== hash) throw new Error(`${file} was changed: run \`cargo xtask page --vendor\``);
      // A browser resolves relative names only: the page has no import map, which would be an
      // inline script.
      for (const [, from] of bytes.toString('utf8').matchAll(/\b(?:from|import)\s*["']([\w@./-]+)["']/g)) {
        if (path.endsWith('.js') && !from.startsWith('.'))
          throw new Error(`${file} imports ${from}, which no browser finds`);
      }
    }
  }
  const unknown = list(vendor).filter((file) => !expected.includes(file));
  if (unknown.length > 0) throw new Error(`vendor.json does not list ${unknown.join(', ')}`);
  if (JSON.stringify(libraries()) !== JSON.stringify(recorded)) {
    throw new Error('the vendored files are not those of package-lock.json: run `cargo xtask page --vendor`');
  }
  console.log(recorded.map(({ name, version, licence }) => `${name} ${version} (${licence}): unchanged`).join('\n'));
}

try {
  if (process.argv.includes('--check')) check();
  else copy();
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exit(1);
}
