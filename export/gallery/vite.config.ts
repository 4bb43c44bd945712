import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

/** What the built site is made of: a test compares it with the sources that are there. */
const SOURCES = ["index.html", "package-lock.json", "public", "src", "tsconfig.json", "vite.config.ts"];

function stamp(): Plugin {
  const files = SOURCES.flatMap((name) => [
    name,
    ...(name.includes(".") ? [] : (readdirSync(name, { recursive: true }) as string[]).map((f) => join(name, f))),
  ]);
  const hash = createHash("sha256");
  for (const file of files.filter((name) => name.includes(".")).sort()) {
    hash.update(`${file.replaceAll("\\", "/")}\n`).update(readFileSync(file));
  }
  const digest = hash.digest("hex");
  return {
    name: "stamp",
    writeBundle: ({ dir }) => writeFileSync(join(dir!, "sources.sha256"), `${digest}\n`),
  };
}

// Relative addresses: the site works in any folder of any static host. In the mode `node`, the
// comparison with Python as one file for Node.
export default defineConfig(({ mode }) =>
  mode === "node"
    ? {
        publicDir: false,
        ssr: { noExternal: true, target: "node" },
        build: { ssr: "src/node.ts", outDir: "compare", target: "node20", minify: true },
        plugins: [stamp()],
      }
    : {
        base: "./",
        build: { target: "es2022", assetsInlineLimit: 0, chunkSizeWarningLimit: 1500 },
        worker: { format: "es" },
        plugins: [stamp()],
      },
);
