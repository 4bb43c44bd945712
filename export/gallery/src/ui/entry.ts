/** An entry of the gallery as the page holds it: what it says of itself, and its graphs. */

import type { Engine } from "../engine/client.ts";
import type { Entry, Manifest, Tensors } from "../types.ts";

export class Opened<E extends Entry = Entry> {
  readonly entry: E;
  readonly manifest: Manifest;
  readonly engine: Engine;
  private readonly folder: string;

  constructor(entry: E, manifest: Manifest, engine: Engine, folder: string) {
    this.entry = entry;
    this.manifest = manifest;
    this.engine = engine;
    this.folder = folder;
  }

  /** Where a graph is. */
  address(graph: string): string {
    return `${this.folder}${this.manifest.graphs[graph].name}`;
  }

  has(graph: string): boolean {
    return graph in this.manifest.graphs;
  }

  /** The graph of log_prob that needs the data alone. */
  get scoring(): string {
    return ["score", "log_prob_fixed", "log_prob"].find((name) => this.has(name))!;
  }

  load(graph: string) {
    return this.engine.load(this.address(graph));
  }

  run(graph: string, inputs: Tensors, urgent = false): Promise<Tensors> {
    return this.engine.run(this.address(graph), inputs, urgent);
  }

  /** The bytes of the record of Python's numbers. */
  async record(): Promise<Uint8Array> {
    return new Uint8Array(await (await fetched(`${this.folder}sample.npz`)).arrayBuffer());
  }
}

export async function openEntry<E extends Entry>(name: string, engine: Engine): Promise<Opened<E>> {
  const folder = new URL(`entries/${name}/`, document.baseURI).href;
  const [entry, manifest] = await Promise.all([
    json<E>(`${folder}entry.json`),
    json<Manifest>(`${folder}manifest.json`),
  ]);
  return new Opened(entry, manifest, engine, folder);
}

export async function json<T>(address: string): Promise<T> {
  return (await fetched(address)).json() as Promise<T>;
}

async function fetched(address: string): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address);
  } catch {
    throw new Error(`${address} could not be fetched: is the gallery's host still there?`);
  }
  if (!response.ok) throw new Error(`${address} could not be fetched: the host says ${response.status}.`);
  return response;
}
