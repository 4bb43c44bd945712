/** Chromium, a server of a gallery, and what the tests of its page share. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { extname, join, normalize } from "node:path";
import { after, before } from "node:test";
import { chromium } from "playwright-core";

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".woff2": "font/woff2",
};
const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** A plain static host: no special headers. */
export function serve(folder) {
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://host").pathname));
    try {
      const content = await readFile(join(folder, path.endsWith("/") ? `${path}index.html` : path));
      const type = TYPES[extname(path)] ?? (path.endsWith("/") ? "text/html" : "application/octet-stream");
      response.writeHead(200, { "Content-Type": type, "Cache-Control": "max-age=600" }).end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = `http://127.0.0.1:${server.address().port}/`;
      resolve({ address, close: () => server.close() });
    });
  });
}

export function launch() {
  const executablePath = process.env.CHROMIUM ?? PLACES.find(existsSync);
  if (!executablePath) throw new Error("There is no Chromium: apt install chromium, or set CHROMIUM.");
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
}

/** How many milliseconds a step may take. */
export const PATIENCE = Number(process.env.PATIENCE ?? 60_000);

export const SIZES = { desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } };

/** A page that fails the test where anything but its own host is asked, or an error is thrown. */
export async function open(browser, address, { size = "desktop", dark = false } = {}) {
  const context = await browser.newContext({
    viewport: SIZES[size],
    colorScheme: dark ? "dark" : "light",
    deviceScaleFactor: size === "phone" ? 2 : 1,
    hasTouch: size === "phone",
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("request", (request) => {
    const url = request.url();
    const own = [address, "data:", "blob:"].some((start) => url.startsWith(start));
    if (!own || request.method() !== "GET") wrong.push(`${request.method()} ${url}`);
  });
  return { page, wrong, close: () => context.close() };
}

/**
 * Serves a folder to a browser while the tests of a file run: `{ host, browser, visit }`.
 *
 * visit opens a page for some work; the test fails where it throws, or asks for what is not on its host.
 */
export function serving(folder) {
  const place = { host: null, browser: null, visit };
  before(async () => {
    place.host = await serve(folder);
    place.browser = await launch();
  });
  after(async () => {
    await place.browser?.close();
    place.host?.close();
  });
  async function visit(path, options, work) {
    const opened = await open(place.browser, place.host.address, options);
    try {
      await opened.page.goto(place.host.address + path);
      const result = await work(opened.page);
      assert.deepEqual(opened.wrong, []);
      return result;
    } finally {
      await opened.close();
    }
  }
  return place;
}

/** Whether a flow is so large that the page loads it only when it is asked to. */
export async function isLarge(page) {
  await page.waitForSelector(".panel, .ask");
  return (await page.locator(".ask").count()) > 0;
}

/** Waits until a panel has its first numbers; milliseconds since the navigation. */
export async function ready(page, state = "ready") {
  if (await isLarge(page)) await page.getByRole("button", { name: "Load the flow" }).click();
  await page.waitForSelector(`.panel[data-${state}]`);
  return Number(await page.locator(".panel").getAttribute(`data-${state}`));
}

/** The value of a number that a panel shows, as a number. */
export async function number(place, name) {
  const row = place.locator(".numbers > div", { has: place.page().getByText(name, { exact: true }) });
  return Number((await row.locator(".value").first().textContent()).replace("−", "-").replaceAll(",", ""));
}

/** The two coordinates of a point that a panel shows. */
export async function point(place, name) {
  const row = place.locator(".numbers > div", { has: place.page().getByText(name, { exact: true }) });
  const text = await row.locator(".value").first().textContent();
  return text.replaceAll("−", "-").match(/-?[\d.]+/g).map(Number);
}
