/** Opening a window where something is refused: half an opening leaves nothing behind. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HostMemory, HostUnavailable, type Obstacle, probeHost } from "../../../src/cpu/index.ts";
import { wasmMemory } from "./host-world.ts";

const { obstacle } = probeHost();
const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const RLIMIT_NOFILE = 7;

/** Runs `act` while this process may open `count` more files, and no more. */
function withFiles<T>(count: number, act: () => T): T {
  const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi");
  const prlimit = koffi
    .load(null)
    .func("prlimit64", "int", ["int", "int", "const void *", "void *"]);
  const old = new BigUint64Array(2);
  expect(prlimit(0, RLIMIT_NOFILE, null, old)).toBe(0);
  const free = Array.from({ length: count + 1 }, () => openSync("/dev/null", "r"));
  for (const fd of free) closeSync(fd);
  const limited = new BigUint64Array([BigInt(free.at(-1)!), old[1]!]);
  expect(prlimit(0, RLIMIT_NOFILE, limited, null)).toBe(0);
  try {
    return act();
  } finally {
    expect(prlimit(0, RLIMIT_NOFILE, old, null)).toBe(0);
  }
}

function failureOf(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe.skipIf(obstacle)(`an opening that fails (${obstacle?.reason ?? "served here"})`, () => {
  it.each([
    [0, "memfd_create"],
    [1, "userfaultfd"],
    [2, "eventfd"],
  ])("after %i descriptors leaves the window as it was", (count, call) => {
    const wasm = wasmMemory(65_536);
    const bytes = new Uint8Array(wasm.buffer).fill(9);
    // Bindings are loaded at the first use, which opens files.
    HostMemory.open(wasmMemory(65_536).buffer).close();
    const files = readdirSync("/proc/self/fd").length;
    const error = withFiles(count, () => failureOf(() => HostMemory.open(wasm.buffer)));
    expect(error).toBeInstanceOf(HostUnavailable);
    const { reason, cure } = error as HostUnavailable;
    expect(reason).toBe(`${call} answers EMFILE (this process has too many open files)`);
    expect(cure).toContain("ulimit -n");
    expect(readdirSync("/proc/self/fd").length).toBe(files);
    expect(readFileSync("/proc/self/maps", "utf8")).not.toContain("memfd:onespace");
    expect(bytes.every((byte) => byte === 9)).toBe(true);
    bytes.fill(3);
    const memory = withFiles(3, () => HostMemory.open(wasm.buffer));
    expect(new Uint8Array(memory.bytes)[0]).toBe(0);
    memory.close();
  });
});

/** Runs in a process of its own: what it may do, and one fault from end to end. */
const CHILD = `
import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import { HostMemory } from "./src/cpu/host/host-memory.js";
import { probeHost } from "./src/cpu/host/probe.js";
const plain = ({ name, reason, cure }) => ({ name, reason, cure });
const wasm = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const u8 = new Uint8Array(wasm.buffer).fill(9);
const pretend = (name, value) => Object.defineProperty(process, name, { value });
if (process.argv.includes("darwin")) pretend("platform", "darwin");
if (process.argv.includes("mips")) pretend("arch", "mips");
if (process.argv.includes("forbid")) forbid(process.arch === "x64" ? 323 : 282);
const { obstacle, kernelFaults } = probeHost();
const how = kernelFaults.how ?? null;
const report = { uid: process.getuid(), how, obstacle: obstacle ? plain(obstacle) : null };
if (obstacle) {
  process.stdout.write(JSON.stringify(report));
  process.exit(0);
}
try {
  HostMemory.open(wasm.buffer, { kernelFaults: true }).close();
  report.refusal = null;
} catch (error) {
  report.refusal = plain(error);
}
report.kept = u8[5];
const memory = HostMemory.open(wasm.buffer);
const code = "new Uint32Array(require('node:worker_threads').workerData.buffer)[5] = 7";
const user = new Worker(code, { eval: true, workerData: wasm });
const exited = new Promise((resolve) => user.once("exit", resolve));
for (let served = 0; served === 0; await new Promise((resolve) => setTimeout(resolve, 1))) {
  served = memory.readFaults();
  if (served > 0) memory.install(memory.faultPage(0), memory.faultPage(0) + 1, true);
}
await exited;
report.word = new Uint32Array(memory.bytes)[5];
memory.close();
report.cleared = u8[20];
process.stdout.write(JSON.stringify(report));

/** As a container's seccomp profile does: one system call answers EPERM from now on. */
function forbid(number) {
  const koffi = createRequire(import.meta.url)("koffi");
  const types = ["int", "ulong", "uintptr_t", "ulong", "ulong"];
  const prctl = koffi.load(null).func("prctl", "int", types);
  const filter = new Uint32Array([
    0x20, 0, 0x15 | (1 << 24), number, 0x06, 0x00050001, 0x06, 0x7fff0000,
  ]);
  const program = new BigUint64Array([4n, koffi.address(new Uint8Array(filter.buffer))]);
  if (prctl(38, 1, 0, 0, 0) !== 0) throw new Error("PR_SET_NO_NEW_PRIVS");
  const at = Number(koffi.address(new Uint8Array(program.buffer)));
  if (prctl(22, 2, at, 0, 0) !== 0) throw new Error("PR_SET_SECCOMP");
}
`;

/** The mechanism, compiled into a folder of its own that everybody may read. */
function buildChild(folder: string): void {
  const module = ts.ModuleKind.ESNext;
  const target = ts.ScriptTarget.ES2022;
  const compilerOptions = { module, target, rewriteRelativeImportExtensions: true };
  for (const room of ["src/base", "src/cpu/host"]) {
    mkdirSync(join(folder, room), { recursive: true });
    for (const name of readdirSync(join(ROOT, room))) {
      if (!name.endsWith(".ts") || name.endsWith(".test.ts")) continue;
      const text = readFileSync(join(ROOT, room, name), "utf8");
      const { outputText } = ts.transpileModule(text, { compilerOptions });
      writeFileSync(join(folder, room, name.replace(/ts$/, "js")), outputText);
    }
  }
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  writeFileSync(join(folder, "child.js"), CHILD);
}

const folders = {
  complete: mkdtempSync(join(tmpdir(), "onespace-")),
  bare: mkdtempSync(join(tmpdir(), "onespace-")),
} as const;

beforeAll(() => {
  for (const folder of Object.values(folders)) {
    buildChild(folder);
    chmodSync(folder, 0o755);
  }
  symlinkSync(join(ROOT, "node_modules"), join(folders.complete, "node_modules"));
  const koffi = join(folders.bare, "node_modules/koffi");
  mkdirSync(koffi, { recursive: true });
  writeFileSync(join(koffi, "index.js"), "throw new Error('no native part for this machine');");
});

afterAll(() => {
  for (const folder of Object.values(folders)) rmSync(folder, { recursive: true });
});

interface Report {
  readonly obstacle: Obstacle | null;
  /** By what right faults of the kernel are served. */
  readonly how: string | null;
  readonly refusal: Obstacle | null;
}

function run(command: string, args: readonly string[]): Report {
  const limits = { encoding: "utf8", timeout: 60_000, killSignal: "SIGKILL" } as const;
  const { stdout, stderr } = spawnSync(command, args, limits);
  expect(stderr).toBe("");
  return JSON.parse(stdout) as Report;
}

describe("a machine that cannot", () => {
  it.each([
    ["darwin", folders.complete, /on Linux only \(this is darwin\)/, /access brackets/],
    ["mips", folders.complete, /on x64 and arm64 only \(this is mips\)/, /access brackets/],
    ["koffi", folders.bare, /koffi cannot be loaded \(no native part for/, /npm i koffi/],
  ])("loads everything and says why (%s)", (arg, folder, reason, cure) => {
    const { obstacle: found } = run(process.execPath, [join(folder, "child.js"), arg]);
    expect(found).toMatchObject({ name: "HostUnavailable" });
    expect(found?.reason).toMatch(reason);
    expect(found?.cure).toMatch(cure);
  });
});

function whyNoOtherUser(): string | undefined {
  if (obstacle !== undefined) return obstacle.reason;
  if (process.getuid?.() !== 0) return "only root can become another user";
  const found = spawnSync("setpriv", ["--version"]).error === undefined;
  return found ? undefined : "setpriv (util-linux) is not installed";
}

const noOtherUser = whyNoOtherUser();

describe.skipIf(noOtherUser)(`another process (${noOtherUser ?? "as root and user 1000"})`, () => {
  function runAs(uid: number, ...args: string[]): Report {
    const privileges = [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
    const child = join(folders.complete, "child.js");
    return run("setpriv", [...privileges, process.execPath, child, ...args]);
  }

  it("without privilege serves faults of user code, and is told what the kernel's need", () => {
    const report = runAs(1000);
    expect(report).toMatchObject({ uid: 1000, obstacle: null, kept: 9, word: 7, cleared: 0 });
    if (readFileSync("/proc/sys/vm/unprivileged_userfaultfd", "utf8").trim() === "1") {
      expect(report.how).toBe("vm.unprivileged_userfaultfd=1");
      return;
    }
    expect(report.how).toBeNull();
    expect(report.refusal).toMatchObject({ name: "HostUnavailable" });
    expect(report.refusal?.reason).toContain("EPERM");
    expect(report.refusal?.cure).toContain("vm.unprivileged_userfaultfd=1");
    expect(report.refusal?.cure).toContain("/dev/userfaultfd");
  });

  it("whose seccomp profile forbids the system call is told so", () => {
    const { obstacle: found } = runAs(1000, "forbid");
    expect(found?.reason).toContain("EPERM");
    expect(found?.cure).toContain("--security-opt seccomp=");
  });

  it.skipIf(!existsSync("/dev/userfaultfd"))("goes through the device file instead", () => {
    const report = runAs(0, "forbid");
    expect(report).toMatchObject({ obstacle: null, refusal: null, word: 7, cleared: 0 });
    expect(report.how).toBe("through /dev/userfaultfd");
  });
});
