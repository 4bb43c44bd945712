/**
 * The site as a visitor uses it, in Chromium: `SITE=folder node --test scripts/site/site.test.js`.
 *
 * The browser is driven by what the gallery has installed.
 */

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { serving } from "../../export/gallery/tests/page.js";

const folder = process.env.SITE;
if (!folder) throw new Error("Set SITE to the folder of the built site.");
const shots = process.env.SHOTS ?? join(folder, "..", "site_screenshots");

const { visit } = serving(folder);
mkdirSync(shots, { recursive: true });

const cards = (page) => page.locator(".zoo-card:visible strong").allTextContents();

test("the filters of the zoo show what they say, and are in the address", async () => {
  await visit("zoo/", {}, async (page) => {
    const all = await cards(page);
    assert.ok(all.length > 20);
    const selects = page.locator(".zoo-filters select");
    for (let i = 0; i < (await selects.count()); i++) {
      const name = await selects.nth(i).getAttribute("name");
      let together = 0;
      for (const value of (await selects.nth(i).locator("option").allTextContents()).slice(1)) {
        await selects.nth(i).selectOption(value);
        const shown = await cards(page);
        const own = await page.locator(`.zoo-card[data-${name}="${value}"] strong`).allTextContents();
        assert.deepEqual(shown, own, `${name}: ${value}`);
        assert.ok(shown.length > 0);
        together += shown.length;
      }
      assert.equal(together, all.length, `${name}: every entry has one value`);
      await page.locator(".zoo-filters").getByRole("button", { name: "Clear" }).click();
      await page.waitForFunction((n) => document.querySelectorAll(".zoo-card:not([hidden])").length === n, all.length);
    }
    await page.locator(".zoo-filters").getByLabel("Search").fill("moons");
    const moons = await cards(page);
    assert.ok(moons.length > 1 && moons.length < all.length && moons.every((name) => name.includes("moons")));
    assert.equal(await page.locator(".zoo-count").textContent(), `${moons.length} entries`);
    await page.reload();
    assert.deepEqual(await cards(page), moons);
    await page.locator(".zoo-filters").getByLabel("Search").fill("no such flow");
    assert.deepEqual(await cards(page), []);
    assert.equal(await page.locator(".zoo-count").textContent(), "0 entries");
  });
});

test("from a card to the page of its entry", async () => {
  await visit("zoo/", {}, async (page) => {
    const name = (await cards(page))[0];
    await page.getByRole("link", { name }).first().click();
    await page.waitForURL(`**/zoo/${name}/`);
    assert.match(await page.locator("h1").textContent(), new RegExp(`^${name}`));
  });
});

test("what is searched for is found", async () => {
  await visit("", {}, async (page) => {
    await page.getByRole("textbox", { name: "Search" }).fill("conformal p-value");
    const found = page.locator(".md-search-result__link");
    await found.first().waitFor();
    assert.ok((await found.count()) > 2);
  });
});

for (const [path, name] of [
  ["", "start"],
  ["zoo/", "zoo"],
  ["tutorials/detection/", "tutorial"],
  ["explanation/images/", "explanation"],
]) {
  for (const options of [{}, { dark: true }, { size: "phone" }]) {
    const kind = options.dark ? "dark" : (options.size ?? "light");
    test(`${name}, ${kind}: nothing stands over the edge`, async () => {
      await visit(path, options, async (page) => {
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        assert.ok(wide <= 0, `${wide} pixels too wide`);
        await page.screenshot({ path: join(shots, `${name}_${kind}.png`) });
      });
    });
  }
}
