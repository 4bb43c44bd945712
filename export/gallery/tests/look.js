// A look at one entry: node tests/look.js GALLERY NAME OUT.png [phone] [dark]
import { launch, open, ready, serve } from "./page.js";
const [folder, name, out, ...options] = process.argv.slice(2);
const host = await serve(folder);
const browser = await launch();
const { page, wrong } = await open(browser, host.address, {
  size: options.includes("phone") ? "phone" : "desktop",
  dark: options.includes("dark"),
});
try {
  await page.goto(`${host.address}#${name}`);
  console.log("ready", await ready(page));
  if (options.includes("complete")) console.log("complete", await ready(page, "complete"));
  if (options.includes("warp")) await page.getByRole("slider", { name: "step" }).fill("4");
  await page.waitForTimeout(500);
} catch (error) {
  console.log(String(error));
}
await page.screenshot({ path: out, fullPage: true });
console.log(wrong, await page.locator(".side").textContent().catch(() => ""));
await browser.close();
host.close();
