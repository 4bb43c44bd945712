/** The page's side of the worker: one request at a time, those of the pointer before all others. */

import type { Tensors } from "../types.ts";
import type { Reply, Request } from "./messages.ts";

export interface Loaded {
  fetchMs: number;
  loadMs: number;
  bytes: number;
}

export interface Timing extends Partial<Loaded> {
  /** Milliseconds of the latest runs on one example. */
  one: number[];
}

type Unnumbered = { load: string } | { run: string; inputs: Tensors };
interface Job {
  request: Unnumbered;
  urgent: boolean;
  resolve(reply: Reply): void;
  reject(error: Error): void;
}

export class Engine {
  private worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  private jobs: Job[] = [];
  private current: Job | null = null;
  private number = 0;
  private loads = new Map<string, Promise<Loaded>>();
  readonly timings = new Map<string, Timing>();
  /** Called whenever the timing of a graph changed, with its address. */
  readonly listeners = new Set<(address: string) => void>();

  constructor() {
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => this.finish(data);
    this.worker.onerror = (event) =>
      this.finish({ id: this.number, error: `The runtime did not start: ${event.message}` });
  }

  /** Loads a graph, once. */
  load(address: string): Promise<Loaded> {
    let promise = this.loads.get(address);
    if (!promise) {
      promise = this.ask({ load: address }, true).then((reply) => {
        const { loaded } = reply as Extract<Reply, { loaded: Loaded }>;
        Object.assign(this.timing(address), loaded);
        this.tell(address);
        return loaded;
      });
      promise.catch(() => this.loads.delete(address));
      this.loads.set(address, promise);
    }
    return promise;
  }

  /** Runs a graph, which is loaded first where it is not. */
  async run(address: string, inputs: Tensors, urgent = false): Promise<Tensors> {
    await this.load(address);
    const reply = await this.ask({ run: address, inputs }, urgent);
    const { outputs, ms } = reply as Extract<Reply, { outputs: Tensors }>;
    if (Object.values(inputs)[0].dims[0] === 1) {
      const { one } = this.timing(address);
      one.push(ms);
      if (one.length > 15) one.shift();
      this.tell(address);
    }
    return outputs;
  }

  private tell(address: string): void {
    for (const listener of this.listeners) listener(address);
  }

  private timing(address: string): Timing {
    let timing = this.timings.get(address);
    if (!timing) this.timings.set(address, (timing = { one: [] }));
    return timing;
  }

  private ask(request: Unnumbered, urgent: boolean): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const job = { request, urgent, resolve, reject };
      const place = urgent ? this.jobs.findIndex((other) => !other.urgent) : -1;
      if (place < 0) this.jobs.push(job);
      else this.jobs.splice(place, 0, job);
      this.next();
    });
  }

  private next(): void {
    if (this.current || !this.jobs.length) return;
    this.current = this.jobs.shift()!;
    this.number += 1;
    this.worker.postMessage({ id: this.number, ...this.current.request } as Request);
  }

  private finish(reply: Reply): void {
    const job = this.current;
    if (!job || reply.id !== this.number) return;
    this.current = null;
    if ("error" in reply) job.reject(new Error(reply.error));
    else job.resolve(reply);
    this.next();
  }
}

/** Runs the newest of many calls, and leaves out those that it overtook. */
export function latest<A extends unknown[]>(
  work: (...args: A) => Promise<void>,
): (...args: A) => Promise<void> {
  let running: Promise<void> | null = null;
  let waiting: A | null = null;
  async function loop(first: A): Promise<void> {
    let args: A | null = first;
    try {
      while (args) {
        await work(...args);
        args = waiting;
        waiting = null;
      }
    } finally {
      running = null;
      waiting = null;
    }
  }
  return (...args) => {
    if (running) {
      waiting = args;
      return running;
    }
    return (running = loop(args));
  };
}
