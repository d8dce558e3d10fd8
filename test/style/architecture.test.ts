/**
 * The house's layers and doors. A toy tree with one violation of every dependency rule is
 * cruised with the project's own configuration: a rule that nothing can break checks nothing.
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { REPO_ROOT } from "./tree.ts";

interface Finding {
  readonly rule: string;
  readonly from: string;
  readonly to: string;
}

const CONFIG = join(REPO_ROOT, ".dependency-cruiser.cjs");
const CRUISER = join(REPO_ROOT, "node_modules/dependency-cruiser/bin/dependency-cruise.mjs");
const config = createRequire(import.meta.url)(CONFIG) as { forbidden: { name: string }[] };

const LAYERS = [
  ...["base", "trace", "sync", "phys", "dma", "notifier", "mm", "check", "hmm", "devmem"],
  ...["device", "cpu", "driver", "machine", "explore"],
  ...["races", "museum", "conformance", "demo", "cli"],
];

/** A legal house: each room's door imports the door below; the free rooms use what they may. */
function legalTree(): Map<string, string> {
  const files = new Map<string, string>();
  for (const [i, layer] of LAYERS.entries()) {
    const below = LAYERS[i - 1];
    const imports = below === undefined ? "" : `import "../${below}/index.ts";\n`;
    files.set(`src/${layer}/index.ts`, `${imports}import "./inner.ts";\nexport const x = 1;\n`);
    files.set(`src/${layer}/inner.ts`, "export const inner = 1;\nexport type Inner = number;\n");
  }
  for (const room of ["cpu/soft", "cpu/host", "driver/dmirror", "driver/webgpu"]) {
    files.set(`src/${room}/index.ts`, 'import "./inner.ts";\nimport "../inner.ts";\n');
    files.set(`src/${room}/inner.ts`, "export const inner = 1;\n");
  }
  files.set("src/engine.ts", 'import "./mm/index.ts";\n');
  files.set("src/machine/best.ts", 'import "../driver/webgpu/index.ts";\n');
  files.set("src/driver/webgpu/dawn.ts", 'import "node:path";\nimport "webgpu";\n');
  files.set("src/cpu/host/fd.ts", 'import "node:fs";\n');
  files.set("src/cli/picture.ts", 'import "fast-png";\nimport "node:fs";\n');
  files.set("src/mm/a.ts", 'import type { B } from "./b.ts";\nexport type A = B;\n');
  files.set("src/mm/b.ts", 'import "./a.ts";\nexport type B = number;\n');
  files.set("src/mm/inner.test.ts", 'import "node:fs";\nimport "vitest";\nimport "./inner.ts";\n');
  files.set("test/x.ts", 'import "../src/mm/index.ts";\nexport const x = 1;\n');
  return files;
}

/** One planted violation: the file that breaks the rule, what it imports, where that leads. */
interface Plant extends Finding {
  readonly text: string;
}

function plant(rule: string, from: string, specifier: string, to: string): Plant {
  return { rule, from, to, text: `import "${specifier}";\n` };
}

function plants(): Plant[] {
  const upward = LAYERS.slice(0, -1).map((layer, i) => {
    const above = LAYERS[i + 1];
    const [from, to] = [`src/${layer}/upward.ts`, `src/${above}/index.ts`];
    return plant(`${layer}-knows-nothing-above`, from, `../${above}/index.ts`, to);
  });
  const typeOnly: Plant = {
    ...plant("mm-knows-nothing-above", "src/mm/type.ts", "", "src/cpu/index.ts"),
    text: 'import type { x } from "../cpu/index.ts";\nexport type X = typeof x;\n',
  };
  const cycle = plant("no-cycles", "src/phys/chain.ts", "./ring.ts", "src/phys/ring.ts");
  const [soft, dmirror] = ["src/cpu/soft/index.ts", "src/driver/dmirror/index.ts"];
  const node = "node-is-known-in-few-rooms";
  const shows = "no-door-leads-to-shows";
  return [
    ...upward,
    typeOnly,
    cycle,
    plant("cpu-siblings-are-strangers", "src/cpu/host/bad.ts", "../soft/index.ts", soft),
    plant(
      "driver-siblings-are-strangers",
      "src/driver/webgpu/bad.ts",
      "../dmirror/index.ts",
      dmirror,
    ),
    plant("enter-by-the-door", "src/mm/window.ts", "../phys/inner.ts", "src/phys/inner.ts"),
    plant(
      "enter-by-the-door",
      "src/cli/window.ts",
      "../cpu/soft/inner.ts",
      "src/cpu/soft/inner.ts",
    ),
    plant("enter-by-the-door-from-outside", "src/burglar.ts", "./mm/inner.ts", "src/mm/inner.ts"),
    plant(
      "enter-a-sub-room-by-its-door",
      "src/cpu/window.ts",
      "./soft/inner.ts",
      "src/cpu/soft/inner.ts",
    ),
    plant(shows, "src/driver-api.ts", "./museum/index.ts", "src/museum/index.ts"),
    // By the upward import that is planted there.
    plant(shows, "src/explore/index.ts", "./upward.ts", "src/races/index.ts"),
    plant("nobody-inside-uses-the-front-door", "src/cli/guest.ts", "../engine.ts", "src/engine.ts"),
    plant("core-is-portable", "src/mm/files.ts", "node:fs", "fs"),
    plant("core-is-portable", "src/devmem/gpu.ts", "webgpu", "webgpu"),
    plant("core-is-portable", "src/base/colors.ts", "picocolors", "picocolors"),
    plant("core-is-portable", "src/base/prop.ts", "fast-check", "fast-check"),
    plant(node, "src/cpu/soft/clock.ts", "node:perf_hooks", "perf_hooks"),
    plant(node, "src/machine/clock.ts", "node:fs", "fs"),
    plant(node, "src/driver/clock.ts", "node:fs", "fs"),
    plant("ship-what-you-import", "src/cli/bench.ts", "fast-check", "fast-check"),
    plant("no-unresolvable", "src/mm/lost.ts", "./nowhere.ts", "./nowhere.ts"),
    plant("src-stands-alone", "src/cli/tested.ts", "../../test/x.ts", "test/x.ts"),
    plant("tests-in-src-stand-alone", "src/mm/far.test.ts", "../../test/x.ts", "test/x.ts"),
    plant("tests-are-leaves", "src/mm/leaf.ts", "./inner.test.ts", "src/mm/inner.test.ts"),
  ];
}

function writeTree(root: string, files: Iterable<readonly [string, string]>): void {
  for (const [path, text] of files) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  for (const shared of ["node_modules", "package.json", "tsconfig.json"]) {
    symlinkSync(join(REPO_ROOT, shared), join(root, shared));
  }
}

/** Everything the project's rules find in the `src` below `root`. */
function cruise(root: string): Promise<Finding[]> {
  const args = [CRUISER, "src", "--config", CONFIG, "--output-type", "json"];
  const options = { cwd: root, maxBuffer: 64 * 1024 * 1024 };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, options, (_error, stdout, stderr) => {
      if (!stdout.startsWith("{")) return reject(new Error(`depcruise said: ${stdout}${stderr}`));
      const { violations } = JSON.parse(stdout).summary as {
        violations: { rule: { name: string }; from: string; to: string }[];
      };
      resolve(violations.map(({ rule, from, to }) => ({ rule: rule.name, from, to })));
    });
  });
}

describe("the dependency rules", () => {
  const scratch = mkdtempSync(join(tmpdir(), "onespace-architecture-"));
  const planted = plants();
  let legal: Finding[] = [];
  let found: Finding[] = [];

  beforeAll(async () => {
    const violations = new Map(planted.map(({ from, text }) => [from, text]));
    violations.set("src/phys/ring.ts", 'import "./chain.ts";\n');
    writeTree(join(scratch, "legal"), legalTree());
    writeTree(join(scratch, "planted"), new Map([...legalTree(), ...violations]));
    legal = await cruise(join(scratch, "legal"));
    found = await cruise(join(scratch, "planted"));
  });

  afterAll(() => rmSync(scratch, { recursive: true }));

  it("find nothing in a legal house", () => {
    expect(legal).toEqual([]);
  });

  it.each(planted)("$rule forbids $from -> $to", ({ rule, from, to }) => {
    const seen = found.filter((finding) => finding.rule === rule && finding.from === from);
    expect(seen.map((finding) => finding.to).join(" ")).toContain(to);
  });

  it("are each broken by a plant", () => {
    const broken = new Set(planted.map(({ rule }) => rule));
    expect(config.forbidden.map(({ name }) => name).filter((name) => !broken.has(name))).toEqual(
      [],
    );
  });

  it("hold in this repository", async () => {
    expect(await cruise(REPO_ROOT)).toEqual([]);
  });
});
