/** The panel of flows on tables. */

import { latest } from "../engine/client.ts";
import type { Shown } from "../plane/panel.ts";
import type { TableEntry } from "../types.ts";
import { h, problem, uniqueId } from "../ui/dom.ts";
import type { Opened } from "../ui/entry.ts";
import { facts } from "../ui/facts.ts";
import { count, fixed, nats, pValue } from "../ui/format.ts";
import { type Decision, TableFlow } from "./flow.ts";
import { parse, type Rows, write } from "./rows.ts";

/** Rows that are shown, and of those with the columns that make them. */
const MOST = 500;
const EXPLAINED = 40;
const COLUMNS = 3;

export function tablePanel(opened: Opened<TableEntry>): Shown {
  const { entry } = opened;
  const flow = new TableFlow(opened);
  const wrong = problem();
  let closed = false;
  const failed = (error: unknown) => {
    if (closed) return;
    result.replaceChildren();
    summary.textContent = "";
    wrong.show(error);
  };

  const id = uniqueId("rows");
  const text = h("textarea", {
    id,
    rows: 8,
    spellcheck: "false",
    wrap: "off",
    autocomplete: "off",
    oninput: () => later(),
  });
  const summary = h("p", { class: "verdict", "aria-live": "polite" });
  const result = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Scores" });
  let timer = 0;
  function later() {
    clearTimeout(timer);
    timer = window.setTimeout(() => void score().catch(failed), 250);
  }

  const score = latest(async () => {
    const rows = parse(text.value, flow.columns);
    if (rows.n > MOST) throw new Error(`There are ${count(rows.n)} rows; paste up to ${MOST} at a time.`);
    const decisions = await flow.decide(rows);
    if (closed) return;
    wrong.clear();
    const flagged = decisions.filter(({ flag }) => flag).length;
    summary.textContent =
      `${count(rows.n)} ${rows.n === 1 ? "row" : "rows"} scored` +
      (entry.calibration ? `, ${flagged} flagged.` : ". There is no calibration, so no p-value.");
    const cells = show(decisions);
    if (!entry.replacements) return;
    // The most unusual first: their columns take a run each.
    const order = decisions
      .map((_, i) => i)
      .filter((i) => !decisions[i].reason)
      .sort((a, b) => decisions[a].logProb - decisions[b].logProb)
      .slice(0, EXPLAINED);
    for (const i of order) {
      const added = await explain(rows, i);
      if (closed || !result.contains(cells[i])) return;
      cells[i].replaceChildren(added);
    }
    result.dataset.explained = String(order.length);
  });

  function show(decisions: Decision[]): HTMLElement[] {
    delete result.dataset.explained;
    const made = decisions.map(({ reason }) =>
      h("td", { class: "why" }, reason ?? (entry.replacements ? "…" : "not explained: the flow has a context")),
    );
    const rows = decisions.map(({ logProb, pValue: p, flag }, i) =>
      h(
        "tr",
        { class: flag ? "flagged" : "" },
        h("th", { scope: "row" }, String(i + 1)),
        h("td", {}, nats(logProb)),
        entry.calibration && h("td", {}, p === null ? "–" : pValue(p)),
        entry.calibration && h("td", {}, flag ? h("span", { class: "flag" }, "flagged") : ""),
        made[i],
      ),
    );
    const names = ["row", "log_prob, nats", ...(entry.calibration ? ["p-value", "flag"] : []), "columns that make it"];
    result.replaceChildren(
      h(
        "table",
        { class: "files decisions" },
        h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, ...rows),
      ),
    );
    return made;
  }

  async function explain(rows: Rows, i: number): Promise<HTMLElement> {
    const d = flow.event.length;
    const added = await flow.explain(rows.x.slice(i * d, (i + 1) * d));
    const order = added
      .map((value, j) => ({ value, name: flow.event[j].name }))
      .filter(({ value }) => value > 0.5)
      .sort((a, b) => b.value - a.value)
      .slice(0, COLUMNS);
    if (!order.length) return h("span", { class: "quiet" }, "none stands out");
    return h(
      "ul",
      { class: "columns-of" },
      ...order.map(({ value, name }) =>
        h(
          "li",
          {},
          h("span", { class: "bar", style: `width:${Math.min(6 + 6 * value, 84)}px` }),
          h("span", {}, name),
          h("span", { class: "quiet" }, `+${fixed(value, 1)} nats`),
        ),
      ),
    );
  }

  const element = h(
    "div",
    { class: "panel tables" },
    h(
      "section",
      { "aria-label": "Rows" },
      h(
        "div",
        { class: "row between" },
        h("label", { for: id, class: "strong" }, "Rows, as CSV, their columns named in the first line"),
        h(
          "button",
          {
            onclick: () => {
              text.value = write(entry.rows, flow.columns);
              void score().catch(failed);
            },
          },
          "Start again",
        ),
      ),
      text,
      h(
        "p",
        { class: "quiet" },
        "The rows to begin with are drawn from the flow, the last with one value of another row. " +
          "Change them, or paste your own: nothing leaves this page.",
      ),
      wrong.element,
      summary,
      result,
      entry.replacements &&
        h(
          "p",
          { class: "lead" },
          `A column's nats: by how much the row would be more probable if the column were drawn anew ` +
            `(the mean over ${entry.replacements.length} rows drawn from the flow). They do not sum to the ` +
            "score; where two columns are odd together, either explains the row.",
        ),
    ),
    facts(opened, entry.calibration),
  );
  text.value = write(entry.rows, flow.columns);
  async function begin() {
    await score();
    if (closed) return;
    element.dataset.ready = String(Math.round(performance.now()));
    // One row alone, for the latency of one example.
    const [names, row] = write(entry.rows, flow.columns).split("\n");
    await flow.decide(parse(`${names}\n${row}`, flow.columns));
  }
  void begin().catch(failed);

  return {
    element,
    repaint() {},
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}
