// Judges custom resources, a JSON array of them in the file named first: each by its schema, which lets pass what it does
// not know, and all by the compiler, to which they are literals of the schemas' types: it refuses unknown fields, however
// deep. Prints what is wrong and exits with 1 then.

import { deepStrictEqual } from "node:assert";
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGES = {
  "istio.io": "@kubernetes-models/istio",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
};

const objects = JSON.parse(readFileSync(process.argv[2], "utf8"));
const literals = [];
const wrong = [];
for (const [at, object] of objects.entries()) {
  const [group, version] = object.apiVersion.split("/");
  const known = Object.keys(PACKAGES).find((suffix) => group === suffix || group.endsWith(`.${suffix}`));
  const path = `${PACKAGES[known]}/${group}/${version}/${object.kind}`;
  const name = `${object.kind} ${object.metadata.name}`;
  try {
    const Model = (await import(path))[object.kind];
    const model = new Model(object);
    model.validate();
    deepStrictEqual(JSON.parse(JSON.stringify(model)), object, "it is not the same after a round trip");
  } catch (error) {
    wrong.push(`${name}: ${error.message}`);
  }
  literals.push(`import type { I${object.kind} as Type${at} } from "${path}";`);
  literals.push(`export const object${at}: Type${at} = // ${name}`, `${JSON.stringify(object)};`);
}

const here = fileURLToPath(new URL(".", import.meta.url));
const source = join(here, `literals-${process.pid}.mts`);
writeFileSync(source, literals.join("\n"));
const compiler = join(here, "node_modules/.bin/tsc");
const flags = ["--noEmit", "--strict", "--module", "nodenext", "--skipLibCheck", "--pretty", "false"];
const compiled = spawnSync(compiler, [...flags, source], { encoding: "utf8" });
rmSync(source);
if (compiled.error) throw compiled.error;
if (compiled.status !== 0) wrong.push(compiled.stdout);

console.log(wrong.join("\n"));
process.exit(wrong.length === 0 ? 0 : 1);
