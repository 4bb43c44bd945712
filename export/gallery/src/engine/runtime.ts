/** Graphs in onnxruntime-web: loaded from bytes, run on named arrays. One thread, WebAssembly. */

import * as ort from "onnxruntime-web/wasm";
import type { Tensor, Tensors } from "../types.ts";

export interface Graph {
  run(inputs: Tensors): Promise<Tensors>;
}

/** The types of the arrays, by how ONNX calls those of their elements. */
const TYPES = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  bool: Uint8Array,
} as const;

export function configure(wasm?: string): void {
  // Threads would need headers that static hosts do not send.
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  if (wasm) ort.env.wasm.wasmPaths = { wasm };
}

/** Compiles the runtime, while the page still fetches its entry. */
export async function warm(): Promise<void> {
  // There is no call for it: the runtime is ready before a model that is none is refused.
  await ort.InferenceSession.create(new Uint8Array(1)).catch(() => undefined);
}

export async function open(bytes: Uint8Array): Promise<Graph> {
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: ["wasm"],
    // Optimizing takes longer than it saves in a visit: the graphs come as tf2onnx left them.
    graphOptimizationLevel: "disabled",
  });
  return {
    async run(inputs) {
      const feeds = Object.fromEntries(
        Object.entries(inputs).map(([name, { data, dims }]) => [
          name,
          new ort.Tensor(typeOf(data), data as never, dims),
        ]),
      );
      const made = await session.run(feeds);
      const outputs: Tensors = {};
      for (const [name, tensor] of Object.entries(made)) {
        const Kind = TYPES[tensor.type as keyof typeof TYPES];
        if (!Kind) throw new Error(`The output ${name} has the type ${tensor.type}.`);
        // A copy: the runtime may use the memory again.
        outputs[name] = { data: Kind.from(tensor.data as never), dims: [...tensor.dims] };
        tensor.dispose();
      }
      return outputs;
    },
  };
}

function typeOf(data: Tensor["data"]): ort.Tensor.Type {
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Float64Array) return "float64";
  return data instanceof Int32Array ? "int32" : "bool";
}
