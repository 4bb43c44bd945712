/**
 * The comparison with Python in Node: `node node.js WASM FOLDER…` runs the recorded inputs of
 * exported folders as the page does, and prints the rows as JSON. The exit code is 1 where one
 * differs.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as ort from "onnxruntime-web/wasm";
import { configure, open, type Graph } from "./engine/runtime.ts";
import { compare } from "./record/compare.ts";
import { readNpz } from "./record/npz.ts";
import type { Manifest } from "./types.ts";

const [wasm, ...folders] = process.argv.slice(2);
configure();
ort.env.wasm.wasmBinary = await readFile(wasm);

let wrong = false;
const rows: Record<string, unknown> = {};
for (const folder of folders) {
  const manifest = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8")) as Manifest;
  const graphs = new Map<string, Graph>();
  for (const [name, info] of Object.entries(manifest.graphs)) {
    graphs.set(name, await open(await readFile(join(folder, info.name))));
  }
  const record = await readNpz(await readFile(join(folder, "sample.npz")));
  const made = await compare(manifest, record, (name, inputs) => graphs.get(name)!.run(inputs));
  wrong ||= made.some((row) => !row.passed);
  rows[folder] = made;
}
console.log(JSON.stringify(rows));
process.exit(wrong ? 1 : 0);
