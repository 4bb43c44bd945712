/** The panel of flows on images. */

import { latest } from "../engine/client.ts";
import type { Shown } from "../plane/panel.ts";
import type { ImageEntry, Summary } from "../types.ts";
import { choice, h, problem, slider } from "../ui/dom.ts";
import { openEntry, type Opened } from "../ui/entry.ts";
import { facts } from "../ui/facts.ts";
import { fixed, title } from "../ui/format.ts";
import { Random } from "../ui/random.ts";
import { ImageFlow } from "./flow.ts";
import { picture, repaintPictures, replace } from "./picture.ts";
import { Result } from "./result.ts";
import { Sheet } from "./sheet.ts";

const SAMPLES = 12;
const FRAMES = 9;
/** Test images to choose from. */
const CHOICES = 12;

export function imagePanel(opened: Opened<ImageEntry>, own: Summary[]): Shown {
  const { entry } = opened;
  const flows = [new ImageFlow(opened)];
  const results = [new Result(flows[0])];
  const wrong = problem();
  let closed = false;
  const failed = (error: unknown) => {
    if (!closed) wrong.show(error);
  };

  const levels = (values: ArrayLike<number>) => ({ values, size: entry.size, highest: entry.highest });
  const sheet = new Sheet(entry.size, entry.highest);
  const score = latest(async (image: Float32Array) => {
    for (const [i, flow] of flows.entries()) {
      const made = await flow.score(image);
      if (closed) return;
      results[i]?.show(made);
    }
  });
  sheet.onChange = () => void score(sheet.levels()).catch(failed);

  const scores = h("div", { class: "scores" }, results[0].element);
  const rows = h("div", { class: "samples" });
  const walks = h("div", { class: "walks" });
  const factsPlace = h("div", {}, facts(opened, entry.calibration));

  // A second entry beside the first: of images of the same size and levels.
  const beside = choice(
    "Compare with",
    [
      { value: "", text: "no other flow" },
      ...own.filter(({ name }) => name !== entry.name).map(({ name }) => ({ value: name, text: title(name) })),
    ],
    (name) => void compare(name).catch(failed),
  );
  async function compare(name: string): Promise<void> {
    wrong.clear();
    flows.length = results.length = 1;
    scores.replaceChildren(results[0].element);
    factsPlace.replaceChildren(factsPlace.firstElementChild!);
    if (name) {
      const other = await openEntry<ImageEntry>(name, opened.engine);
      if (closed || beside.select.value !== name) return;
      if (other.entry.size.join() !== entry.size.join() || other.entry.levels !== entry.levels) {
        beside.select.value = "";
        throw new Error(
          `${title(name)} is on images of ${other.entry.size.join(" × ")} numbers and ` +
            `${other.entry.levels} levels, this flow on ${entry.size.join(" × ")} and ${entry.levels}: ` +
            "one drawing cannot be given to both.",
        );
      }
      flows.push(new ImageFlow(other));
      give(flows[0].label);
      results.push(new Result(flows[1]));
      scores.append(results[1].element);
      factsPlace.append(facts(other, other.entry.calibration));
    }
    rows.replaceChildren();
    walks.replaceChildren();
    await score(sheet.levels());
  }

  // The label that the flows are given, where one takes any.
  const label = choice(
    "Given the label",
    Array.from({ length: entry.labels ?? 0 }, (_, i) => ({ value: String(i), text: String(i) })),
    () => {
      give(Number(label.select.value));
      void score(sheet.levels()).catch(failed);
    },
  );
  function give(value: number): void {
    label.select.value = String(value);
    for (const flow of flows) if (value < (flow.opened.entry.labels ?? 0)) flow.label = value;
  }
  function take(i: number): void {
    if (entry.labels_of_images) give(entry.labels_of_images[i]);
    sheet.load(entry.images[i]);
  }

  const thumbnails = h(
    "div",
    { class: "thumbnails", role: "group", "aria-label": "Images to start from" },
    ...entry.images.slice(0, CHOICES).map((image, i) =>
      h(
        "button",
        { class: "thumbnail", onclick: () => take(i), "aria-label": `Take image ${i + 1}` },
        picture(levels(image), ""),
      ),
    ),
  );

  // Samples.
  let seed = 1;
  let temperature = 0.8;
  const heat = slider(
    "temperature",
    { min: 0, max: 1.2, step: 0.05, value: temperature },
    (value) => fixed(value, 2),
    (value) => (temperature = value),
  );
  const sampleButton = h(
    "button",
    { class: "primary", onclick: () => void sample().catch(failed) },
    `Draw ${SAMPLES} samples`,
  );
  async function sample(): Promise<void> {
    wrong.clear();
    sampleButton.disabled = true;
    seed += 1;
    try {
      const places = flows.map(() => h("div", { class: "tiles" }));
      rows.replaceChildren(...flows.map((flow, i) => labelled(flow, places[i], flows.length)));
      const blank = new Float32Array(flows[0].numbers);
      const tiles = places.map((place) =>
        Array.from({ length: SAMPLES }, (_, i) => {
          const tile = picture(levels(blank), `sample ${i + 1}`);
          place.append(tile);
          return tile;
        }),
      );
      const randoms = flows.map(() => new Random(seed));
      for (let i = 0; i < SAMPLES; i += 1) {
        for (const [j, flow] of [...flows].entries()) {
          const image = await flow.sample(temperature, randoms[j]);
          if (closed) return;
          replace(tiles[j][i], levels(image));
        }
      }
      rows.dataset.done = String(seed);
    } finally {
      sampleButton.disabled = false;
    }
  }

  // The walk.
  const ends = { from: 0, to: Math.min(1, entry.images.length - 1) };
  const end = (key: "from" | "to", text: string) => {
    const buttons = entry.images.slice(0, CHOICES).map((image, i) =>
      h(
        "button",
        {
          class: "thumbnail",
          "aria-label": `${text} image ${i + 1}`,
          "aria-pressed": String(i === ends[key]),
          onclick: () => {
            ends[key] = i;
            buttons.forEach((button, j) => button.setAttribute("aria-pressed", String(j === i)));
            void walk().catch(failed);
          },
        },
        picture(levels(image), ""),
      ),
    );
    return h(
      "div",
      { class: "row ends", role: "group", "aria-label": text },
      h("span", { class: "quiet" }, key),
      h("div", { class: "thumbnails" }, ...buttons),
    );
  };
  const walk = latest(async () => {
    wrong.clear();
    const places = flows.map(() => h("div", { class: "tiles frames" }));
    walks.replaceChildren(...flows.map((flow, i) => labelled(flow, places[i], flows.length)));
    for (const [j, flow] of [...flows].entries()) {
      const random = new Random(3);
      const a = await flow.encode(entry.images[ends.from], random);
      const b = await flow.encode(entry.images[ends.to], random);
      const noise = random.normal(flow.decodeNoise);
      for (let i = 0; i < FRAMES; i += 1) {
        if (closed) return;
        const t = i / (FRAMES - 1);
        const image = await flow.decode(flow.between(a, b, t), () => noise);
        places[j].append(picture(levels(image), `t = ${t.toFixed(3)}`));
      }
    }
    walks.dataset.done = `${ends.from}-${ends.to}`;
  });
  const walkButton = h("button", { class: "primary", onclick: () => void walk().catch(failed) }, "Walk");

  const element = h(
    "div",
    { class: "panel images" },
    wrong.element,
    h(
      "section",
      { class: "draw", "aria-label": "Draw" },
      h(
        "div",
        {},
        sheet.canvas,
        h(
          "div",
          { class: "row under" },
          h("button", { onclick: () => sheet.clear() }, "Clear"),
          sheet.brush,
          entry.labels !== null && label.element,
          own.length > 1 && beside.element,
        ),
        h("p", { class: "quiet" }, `Draw above, or take one of these (${entry.images_are}):`),
        thumbnails,
      ),
      scores,
    ),
    h(
      "section",
      { class: "sampling", "aria-label": "Samples" },
      h("h3", {}, "Samples"),
      h(
        "p",
        { class: "lead" },
        `The flow decodes ${entry.base.kind} noise. A lower temperature keeps closer to the mode of the base ` +
          "density: fewer odd images, less variety.",
      ),
      h("div", { class: "row" }, sampleButton, heat.element),
      rows,
    ),
    h(
      "section",
      { class: "walking", "aria-label": "A walk through latent space" },
      h("h3", {}, "From one image to another"),
      h(
        "p",
        { class: "lead" },
        "Both images are encoded, and points on the arc between their latents decoded. What lies " +
          "between is what the flow has learned.",
      ),
      end("from", "Start at"),
      end("to", "End at"),
      h("div", { class: "row" }, walkButton),
      walks,
    ),
    factsPlace,
  );

  async function begin(): Promise<void> {
    take(0);
    await score(sheet.levels());
    if (!closed) element.dataset.ready = String(Math.round(performance.now()));
  }
  void begin().catch(failed);

  return {
    element,
    repaint() {
      sheet.paint();
      repaintPictures();
      results.forEach((result) => result.refresh());
    },
    close() {
      closed = true;
    },
  };
}

function labelled(flow: ImageFlow, tiles: HTMLElement, of: number): HTMLElement {
  const name = title(flow.opened.entry.name);
  return h("div", { class: "labelled" }, of > 1 && h("p", { class: "quiet" }, name), tiles);
}
