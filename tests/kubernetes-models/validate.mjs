// Validates manifests with the schemas of Kubernetes and of the Prometheus operator:
//
//     node tests/kubernetes-models/validate.mjs FILE...
//
// Each file has one object. Prints a line for each problem, and exits with 1 if there is one, and
// with 2 without a file.

import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

/** The module of each API that a manifest can have. */
const MODULES = {
  v1: 'kubernetes-models/v1',
  'apps/v1': 'kubernetes-models/apps/v1',
  'autoscaling/v2': 'kubernetes-models/autoscaling/v2',
  'networking.k8s.io/v1': 'kubernetes-models/networking.k8s.io/v1',
  'policy/v1': 'kubernetes-models/policy/v1',
  'monitoring.coreos.com/v1': '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1',
};

const files = process.argv.slice(2);
if (files.length === 0) {
  console.error('usage: validate.mjs FILE...');
  process.exit(2);
}
let problems = 0;
for (const file of files) {
  try {
    // A key that occurs twice is an error of the parser.
    const object = parse(readFileSync(file, 'utf8'));
    const module = MODULES[object.apiVersion];
    if (module === undefined) throw new Error(`unknown apiVersion ${object.apiVersion}`);
    const Model = (await import(module))[object.kind];
    if (Model === undefined) throw new Error(`unknown kind ${object.kind}`);
    new Model(object).validate();
  } catch (error) {
    problems += 1;
    console.error(`${file}: ${error.message}`);
  }
}
console.log(`${files.length} files, ${problems} with problems`);
process.exit(problems === 0 ? 0 : 1);
