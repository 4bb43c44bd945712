/** The panel of flows on the plane. */

import { latest } from "../engine/client.ts";
import type { PlaneEntry } from "../types.ts";
import { h, numbers, problem } from "../ui/dom.ts";
import type { Opened } from "../ui/entry.ts";
import { facts } from "../ui/facts.ts";
import { count, nats, point } from "../ui/format.ts";
import { Random } from "../ui/random.ts";
import { Density } from "./density.ts";
import { eta } from "./eta.ts";
import { PlaneFlow, type Trace } from "./flow.ts";
import { paths } from "./inverse.ts";
import { Residuals } from "./residuals.ts";
import { Warp } from "./warp.ts";

/** Samples that stream in: so many, so many at a time. */
const SAMPLES = 1000;
const AT_A_TIME = 40;

export interface Shown {
  element: HTMLElement;
  /** Draws anew: the theme has changed. */
  repaint(): void;
  /** Ends what is running. */
  close(): void;
}

export function planePanel(opened: Opened<PlaneEntry>): Shown {
  const { entry } = opened;
  const flow = new PlaneFlow(opened);
  const wrong = problem();
  let closed = false;
  const stop = () => closed;
  const failed = (error: unknown) => {
    if (!closed) wrong.show(error);
  };

  const readout = numbers("log_prob", "data x", "latent z", "inverse");
  const inverts = opened.has("contractions");
  const residuals = inverts ? new Residuals(flow) : null;

  let dragged: "data" | "latent" = "data";
  let newest: Trace | null = null;
  const follow = latest(async (x: [number, number]) => {
    const trace = await flow.trace(x);
    if (closed) return;
    // What is dragged stays under the pointer, which is further on.
    density.place = dragged === "data" ? { ...density.place, z: trace.z } : { ...density.place, x };
    density.refresh();
    readout.set("log_prob", nats(trace.logProb), "nats");
    readout.set("data x", point(x));
    readout.set("latent z", point(trace.z));
    newest = trace;
    if (residuals) void invert(trace).catch(failed);
    else readout.set("inverse", "closed form");
  });
  const invert = latest(async (trace: Trace) => {
    const made = await paths(flow, trace, () => closed || trace !== newest);
    if (!made) return;
    residuals!.show(made);
    const total = made.reduce((sum, path) => sum + path.residuals.length, 0);
    const open = made.filter((path) => !path.converged).length;
    readout.set(
      "inverse",
      count(total),
      `fixed-point iterations in ${made.length} blocks${open ? `, ${open} not converged` : ""}`,
    );
  });
  const back = latest(async (z: [number, number]) => {
    const x = await flow.decode(z);
    if (closed) return;
    if (!x.every(Number.isFinite)) {
      throw new Error(`The inverse did not converge at z = ${point(z)}: there is no such point.`);
    }
    wrong.clear();
    void follow(x).catch(failed);
  });
  const density = new Density(
    flow,
    (x) => {
      dragged = "data";
      density.place = { ...density.place, x };
      density.data.refresh();
      void follow(x).catch(failed);
    },
    (z) => {
      dragged = "latent";
      density.place = { ...density.place, z };
      density.latent.refresh();
      void back(z).catch(failed);
    },
  );
  const warp = new Warp(flow);
  warp.onStep = (step) => {
    const block = entry.blocks.indexOf(Math.max(step, 1) - 1);
    if (block >= 0) residuals?.choose(block);
  };

  const random = new Random(7);
  let streaming = false;
  const streamed = h("span", { class: "quiet", "aria-live": "polite" });
  const sampleButton = h("button", { class: "primary", onclick: () => void stream().catch(failed) }, "Draw samples");
  async function stream() {
    streaming = !streaming;
    sampleButton.textContent = streaming ? "Stop" : "Draw samples";
    if (!streaming) return;
    density.samples = [];
    density.sampled = [];
    let lost = 0;
    try {
      while (streaming && !closed && density.sampled.length < 2 * SAMPLES) {
        const z = random.normal(2 * AT_A_TIME);
        const x = await flow.decodeAll(z);
        for (let i = 0; i < z.length; i += 2) {
          if (!Number.isFinite(x[i])) lost += 1;
          else {
            density.samples.push(x[i], x[i + 1]);
            density.sampled.push(z[i], z[i + 1]);
          }
        }
        streamed.textContent =
          `${count(density.samples.length / 2)} samples` +
          (lost ? `, ${lost} without a converged inverse` : "");
        density.refresh();
      }
    } finally {
      streaming = false;
      sampleButton.textContent = "Draw samples";
    }
  }
  const toggle = (key: "data" | "samples", text: string) =>
    h(
      "label",
      { class: `check ${key}` },
      h("input", {
        type: "checkbox",
        checked: true,
        onchange: (event: Event) => {
          density.shows[key] = (event.target as HTMLInputElement).checked;
          density.refresh();
        },
      }),
      h("span", {}, text),
    );

  const etaPlace = h("div");
  const showEta = () => entry.eta && etaPlace.replaceChildren(eta(entry.eta));
  showEta();
  const element = h(
    "div",
    { class: "panel plane" },
    wrong.element,
    h(
      "section",
      { class: "pair", "aria-label": "Density" },
      h(
        "figure",
        {},
        density.data.canvas,
        h("figcaption", {}, h("strong", {}, "Data space"), " and its density. Drag the point."),
      ),
      h(
        "figure",
        {},
        density.latent.canvas,
        h("figcaption", {}, h("strong", {}, "Latent space"), " is standard normal: circles at 1, 2 and 3 deviations."),
      ),
      h(
        "div",
        { class: "side" },
        h("div", { "aria-live": "polite", "aria-label": "Numbers at the point" }, readout.element),
        h("div", { class: "row" }, sampleButton, streamed),
        h(
          "div",
          { class: "row" },
          entry.points && toggle("data", `data (${entry.points_are})`),
          toggle("samples", "samples of the flow"),
        ),
        entry.missing && h("p", { class: "quiet" }, entry.missing),
      ),
    ),
    h(
      "section",
      { class: "two", "aria-label": "Step by step" },
      h(
        "div",
        {},
        h("h3", {}, "Block by block"),
        h(
          "p",
          { class: "lead" },
          `Encoding takes the data to a normal density in ${flow.steps} small steps. ` +
            "The grid shows how each of them bends the plane, and never folds it.",
        ),
        warp.element,
      ),
      residuals &&
        h(
          "div",
          {},
          h("h3", {}, "The way back"),
          h(
            "p",
            { class: "lead" },
            "A block x + g(x) = y has no inverse in closed form. Repeating x ← y − g(x) finds it, " +
              "because g is a contraction. decode.onnx takes Newton steps on the plane, and these " +
              "where one fails.",
          ),
          residuals.element,
        ),
    ),
    entry.eta &&
      h(
        "section",
        { "aria-label": "Concatenations" },
        h("h3", {}, "How much each layer keeps"),
        h(
          "p",
          { class: "lead" },
          "A Dense Layer concatenates its input with new channels, weighed by learned η̂₁ and η̂₂ " +
            "with η̂₁² + η̂₂² = 1, so that it cannot stretch.",
        ),
        etaPlace,
      ),
    facts(opened),
  );

  async function begin() {
    const start: [number, number] = entry.points?.[0] ?? [
      (entry.bounds[0] + entry.bounds[1]) / 2,
      (entry.bounds[2] + entry.bounds[3]) / 2,
    ];
    density.place = { x: start, z: [0, 0] };
    await follow(start);
    if (closed) return;
    element.dataset.ready = String(Math.round(performance.now()));
    await density.compute("coarse", stop);
    if (inverts) await opened.load("contractions");
    if (entry.points) density.batch = await flow.all(Float32Array.from(entry.points.flat()), stop);
    density.refresh();
    await warp.compute(density.batch, stop);
    element.dataset.warped = String(Math.round(performance.now()));
    await density.compute("fine", stop);
    element.dataset.complete = String(Math.round(performance.now()));
  }
  void begin().catch(failed);

  return {
    element,
    repaint() {
      density.paint();
      density.refresh();
      warp.view.refresh();
      residuals?.refresh();
      showEta();
    },
    close() {
      closed = true;
      warp.pause();
    },
  };
}

