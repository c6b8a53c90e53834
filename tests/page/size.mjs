// The size of the page as it is sent: `node size.mjs BUDGET` fails if its files take more bytes,
// compressed.

import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const page = fileURLToPath(new URL('../../crates/console/page', import.meta.url));
const budget = Number(process.argv[2]);

const files = readdirSync(page, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && /\.(html|js|css|svg)$/.test(entry.name))
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
let total = 0;
for (const file of files) {
  const size = gzipSync(readFileSync(file)).length;
  total += size;
  console.log(`${String(size).padStart(7)} ${relative(page, file)}`);
}
console.log(`${String(total).padStart(7)} of ${budget} bytes`);
if (!(total > 0 && total <= budget)) {
  console.error(`error: the page takes ${total} bytes, compressed, of ${budget}`);
  process.exit(1);
}
