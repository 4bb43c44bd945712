/** The worker: everything that takes long happens here, so that the page never stands still. */

import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import type { Reply, Request } from "./messages.ts";
import { configure, open, warm, type Graph } from "./runtime.ts";

configure(new URL(wasm, self.location.href).href);
const warmed = warm();

const graphs = new Map<string, Graph>();

self.onmessage = async ({ data }: MessageEvent<Request>) => {
  try {
    const reply = "load" in data ? await load(data.id, data.load) : await run(data);
    self.postMessage(reply);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    self.postMessage({ id: data.id, error: message } satisfies Reply);
  }
};

async function load(id: number, address: string): Promise<Reply> {
  const start = performance.now();
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address} could not be fetched: ${response.status}.`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const fetched = performance.now();
  await warmed;
  graphs.set(address, await open(bytes));
  const loaded = performance.now();
  return {
    id,
    loaded: { fetchMs: fetched - start, loadMs: loaded - fetched, bytes: bytes.length },
  };
}

async function run(request: Extract<Request, { run: string }>): Promise<Reply> {
  const graph = graphs.get(request.run);
  if (!graph) throw new Error(`${request.run} is not loaded.`);
  const start = performance.now();
  const outputs = await graph.run(request.inputs);
  return { id: request.id, outputs, ms: performance.now() - start };
}
