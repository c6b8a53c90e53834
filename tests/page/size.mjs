// The size of the page as it is sent: `node size.mjs BUDGET` fails if its files take more bytes.
// The host compresses them with gzip at its fastest level, and sends small files as they are: see
// `crates/export/src/scrape/content_encoding.rs`. Its library compresses less at that level than
// this one, so `browse.mjs` counts the bytes of a host.

import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const page = fileURLToPath(new URL('../../crates/console/page', import.meta.url));
const budget = Number(process.argv[2]);

/** The size from which the host compresses a file: `MIN_GZIP_BYTES` in its limits. */
const LEAST = 1024;

/** Returns the bytes that the host sends for a file. */
function sent(file) {
  const bytes = readFileSync(file);
  return bytes.length < LEAST ? bytes.length : gzipSync(bytes, { level: 1 }).length;
}

const files = readdirSync(page, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && /\.(html|js|css|svg)$/.test(entry.name))
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
let total = 0;
for (const file of files) {
  const size = sent(file);
  total += size;
  console.log(`${String(size).padStart(7)} ${relative(page, file)}`);
}
console.log(`${String(total).padStart(7)} of ${budget} bytes`);
if (!(total > 0 && total <= budget)) {
  console.error(`error: the page takes ${total} bytes, as it is sent, of ${budget}`);
  process.exit(1);
}
