/** The page: the panels that the gallery has entries for, and the entry that is shown. */

import "./style.css";
import { Engine } from "./engine/client.ts";
import { imagePanel } from "./images/panel.ts";
import { planePanel, type Shown } from "./plane/panel.ts";
import { tablePanel } from "./tables/panel.ts";
import type { Entry, ImageEntry, Index, PanelName, PlaneEntry, Summary, TableEntry } from "./types.ts";
import { isDark } from "./ui/colour.ts";
import { choice, h, problem } from "./ui/dom.ts";
import { json, openEntry, type Opened } from "./ui/entry.ts";
import { bytes, title } from "./ui/format.ts";

/** The format of the index that this page reads. */
const FORMAT = 1;

const PANELS: Record<PanelName, { tab: string; lead: string }> = {
  plane: {
    tab: "The plane",
    lead: "A flow bends a normal density into the shape of the data, one small invertible step at a time.",
  },
  images: {
    tab: "Images",
    lead: "Draw an image, and see how probable the flow finds it; sample some, or walk from one to another.",
  },
  tables: {
    tab: "Tables",
    lead: "Paste rows of a table, and see which are unusual, how sure that is, and which columns make them so.",
  },
};

/** A larger graph is loaded when the visitor asks for it. */
const MOST_BYTES = 4e6;

const engine = new Engine();
const main = h("main", { id: "main" });
const tabs = h("nav", { "aria-label": "Panels" });
const wrong = problem();
let shown: Shown | null = null;
let wanted = "";

function theme(): HTMLElement {
  const stored = localStorage.getItem("theme");
  if (stored) document.documentElement.dataset.theme = stored;
  const button = h("button", { class: "plain", onclick: () => turn() });
  const words = () => (button.textContent = isDark() ? "Light" : "Dark");
  function turn() {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem("theme", next);
    repaint();
  }
  function repaint() {
    words();
    shown?.repaint();
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  words();
  button.setAttribute("aria-label", "Change between light and dark");
  return button;
}

/** The address names the entry: `#idensenet_lc_two_moons`. */
async function show(entries: Summary[]): Promise<void> {
  const name = decodeURIComponent(location.hash.slice(1));
  const summary = entries.find((entry) => entry.name === name) ?? entries[0];
  wanted = summary.name;
  shown?.close();
  shown = null;
  engine.listeners.clear();
  wrong.clear();
  for (const link of tabs.querySelectorAll("a")) {
    if (link.dataset.panel === summary.panel) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const own = entries.filter((entry) => entry.panel === summary.panel);
  const pick = choice(
    "Flow",
    own.map((entry) => ({ value: entry.name, text: title(entry.name), group: entry.model })),
    (value) => (location.hash = value),
  );
  pick.select.value = summary.name;
  const place = h("div", { class: "place", "aria-busy": "true" }, h("p", { class: "quiet" }, "Loading…"));
  main.replaceChildren(
    h(
      "header",
      { class: "intro" },
      h("h2", {}, PANELS[summary.panel].tab),
      h("p", {}, PANELS[summary.panel].lead),
      pick.element,
    ),
    wrong.element,
    place,
  );
  document.title = `${title(summary.name)} · keras-flows gallery`;
  try {
    const made = await panel(summary, own, place);
    if (wanted !== summary.name) {
      made.close();
      return;
    }
    shown = made;
    place.replaceChildren(shown.element);
    place.removeAttribute("aria-busy");
  } catch (error) {
    place.replaceChildren();
    wrong.show(error);
  }
}

async function panel({ name, panel }: Summary, own: Summary[], place: HTMLElement): Promise<Shown> {
  const opened = await openEntry(name, engine);
  await agreed(opened, panel === "plane" ? "steps" : opened.scoring, place);
  if (panel === "plane") return planePanel(opened as Opened<PlaneEntry>);
  if (panel === "images") return imagePanel(opened as Opened<ImageEntry>, own);
  return tablePanel(opened as Opened<TableEntry>);
}

/** Waits, if the first graph of a panel is a large one, until the visitor wants it. */
async function agreed({ manifest }: Opened<Entry>, graph: string, place: HTMLElement): Promise<void> {
  const size = manifest.graphs[graph].cost.bytes;
  if (size < MOST_BYTES) return;
  await new Promise<void>((resolve) => {
    const loading = h("p", { class: "quiet" }, "Loading…");
    const load = () => {
      place.setAttribute("aria-busy", "true");
      place.replaceChildren(loading);
      resolve();
    };
    place.removeAttribute("aria-busy");
    place.replaceChildren(
      h(
        "div",
        { class: "ask" },
        h("p", {}, `This flow is a large one: its graph has ${bytes(size)}, which the page loads if you want it.`),
        h("button", { class: "primary", onclick: load }, "Load the flow"),
      ),
    );
  });
}

async function start(): Promise<void> {
  document.body.append(
    h("a", { class: "skip", href: "#main" }, "To the content"),
    h(
      "header",
      { class: "top" },
      h("h1", {}, "keras-flows ", h("span", {}, "gallery")),
      tabs,
      theme(),
    ),
    main,
    h(
      "footer",
      {},
      "The flows run in this page, by WebAssembly: nothing that you draw or paste leaves it. ",
      h("a", { href: "./licences.txt" }, "Licences"),
    ),
  );
  main.append(wrong.element);
  try {
    const index = await json<Index>(new URL("gallery.json", document.baseURI).href);
    if (index.format > FORMAT) {
      throw new Error(
        `This gallery is of format ${index.format}, and its page reads up to ${FORMAT}: write it ` +
          "anew with one version of keras-flows.",
      );
    }
    for (const panel of Object.keys(PANELS) as PanelName[]) {
      const own = index.entries.filter((entry) => entry.panel === panel);
      if (!own.length) continue;
      // What is there soonest.
      const first = own.reduce((a, b) => (b.first_ms < a.first_ms ? b : a));
      const { tab } = PANELS[panel];
      tabs.append(h("a", { href: `#${first.name}`, "data-panel": panel }, tab));
    }
    addEventListener("hashchange", () => location.hash !== "#main" && void show(index.entries));
    await show(index.entries);
  } catch (error) {
    wrong.show(error);
  }
}

void start();
