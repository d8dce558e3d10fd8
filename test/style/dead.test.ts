/**
 * The rule that finds what is dead. A toy tree with the project's own configuration and one thing
 * of each kind that must be found, and those that must not.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { REPO_ROOT } from "./tree.ts";

const DOORS = ["src/driver-api.ts", "src/engine.ts", "src/explore/index.ts", "src/cli/main.ts"];
const THREADS = ["host/kernel-thread", "host/watchdog-thread"].map((x) => `src/machine/${x}.ts`);
const CODE: Readonly<Record<string, string>> = {
  "src/machine/index.ts": `export { used } from "./room/index.ts";\n`,
  "src/machine/room/index.ts": `export { used } from "./inner.ts";\nexport { aside } from "./inner.ts";\n`,
  "src/machine/room/inner.ts": `
    import { alive } from "./other.ts";
    export const used = alive;
    export const aside = 1;
    export const nobodysOwn = aside;
  `,
  "src/machine/room/other.ts": `
    export const alive = 1;
    export const ofTests = 2;
    /** @forTests */
    export const saysSo = 3;
    export const ofScripts = 4;
  `,
  "src/machine/room/lost.ts": "export const lost = 1;\n",
  "src/machine/room/other.test.ts": `import { ofTests, saysSo } from "./other.ts";\nofTests + saysSo;\n`,
  "scripts/by-hand.mjs": `import { ofScripts } from "../dist/machine/room/other.js";\nofScripts;\n`,
  // Only that it is there matters: the rule follows it to its source.
  "dist/machine/room/other.js": "",
  "bench/main.ts": "export {};\n",
  "src/cli/explore/workers/worker.ts": "export {};\n",
};

describe("the rule that finds what is dead", () => {
  const scratch = mkdtempSync(join(tmpdir(), "onespace-dead-"));
  let said = "";
  let status: number | null = null;

  beforeAll(() => {
    const empty = [...DOORS, ...THREADS].map((path) => [path, "export {};\n"]);
    for (const [path, text] of [...empty, ...Object.entries(CODE)] as [string, string][]) {
      mkdirSync(dirname(join(scratch, path)), { recursive: true });
      writeFileSync(join(scratch, path), text);
    }
    for (const name of [
      ".gitignore",
      "package.json",
      "knip.jsonc",
      "tsconfig.json",
      "tsconfig.build.json",
    ]) {
      copyFileSync(join(REPO_ROOT, name), join(scratch, name));
    }
    symlinkSync(join(REPO_ROOT, "node_modules"), join(scratch, "node_modules"));
    const script = join(REPO_ROOT, "scripts/dead.mjs");
    const run = spawnSync(process.execPath, [script], { cwd: scratch, encoding: "utf8" });
    said = run.stdout + run.stderr;
    status = run.status;
  });

  afterAll(() => rmSync(scratch, { recursive: true }));

  it("fails", () => {
    expect(status).toBe(1);
  });

  it.each([
    ["a file that nobody imports", /^src\/machine\/room\/lost[.]ts/m],
    ["an export that is used in its own file only", /^nobodysOwn .*inner[.]ts/m],
    ["what a door offers and nobody outside takes", /^aside .*room\/index[.]ts/m],
    ["an export that only tests use and that does not say so", /^ofTests .*other[.]ts/m],
  ])("finds %s", (_what, line) => {
    expect(said).toMatch(line);
  });

  it.each([
    ["what a package door offers", /^used /m],
    ["what another file uses", /^alive /m],
    ["what only tests use and says so", /^saysSo /m],
    ["what a script takes from dist", /^ofScripts /m],
  ])("leaves %s", (_what, line) => {
    expect(said).not.toMatch(line);
  });
});
