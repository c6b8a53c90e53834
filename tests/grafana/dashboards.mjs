// Checks dashboards with Grafana's types:
//
//     node tests/grafana/dashboards.mjs FILE...
//
// Each dashboard becomes a constant of the type in `dashboard.ts`, which the TypeScript compiler
// checks: an unknown field, a missing one or one of another type is an error. Prints the compiler's
// lines and exits with 1 if there is an error.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'dashboards-'));
try {
  const type = JSON.stringify(join(here, 'dashboard.ts'));
  const files = process.argv.slice(2).map((path, index) => {
    // JSON is TypeScript, and a literal may only have the fields of its type.
    const text = `import type { Dashboard } from ${type};\nexport const dashboard: Dashboard = ${readFileSync(path, 'utf8').trim()};\n`;
    const file = `${index}-${basename(path, '.json')}.ts`;
    writeFileSync(join(scratch, file), text);
    return file;
  });
  const compilerOptions = {
    strict: true,
    noEmit: true,
    target: 'es2022',
    module: 'esnext',
    moduleResolution: 'bundler',
    allowImportingTsExtensions: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: true,
    types: [],
  };
  writeFileSync(join(scratch, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }));
  const compiler = join(here, 'node_modules/typescript/bin/tsc');
  try {
    execFileSync(process.execPath, [compiler, '--project', scratch, '--pretty', 'false'], { encoding: 'utf8', maxBuffer: 1 << 28 });
  } catch (error) {
    if (error.status === null || error.stdout === undefined) throw error;
    console.log(error.stdout.trim() || error.message);
    process.exitCode = 1;
  }
} finally {
  rmSync(scratch, { recursive: true });
}
