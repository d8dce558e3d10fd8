/**
 * A WASI command on the space's memory, run by Node's own `node:wasi`. That asks for a real
 * `WebAssembly.Memory`, which what stands in for a module's is not: it gets the space's own.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WASI } from "node:wasi";
import { describe, expect, it } from "vitest";
import { whyNotHost } from "../../src/cpu/index.ts";
import { Machine, type Space } from "../../src/machine/index.ts";
import { body, exported, I32, module, section, text, type } from "./module-builder.ts";

const FROM = text("wasi_snapshot_preview1");
const TEXT = [...new TextEncoder().encode("hello\n")];
type WasmExports = Readonly<Record<string, unknown>>;

/** Where the command has its text, and where it puts eight random bytes. */
const [TEXT_AT, RANDOM_AT] = [32, 64];

/** `random_get(RANDOM_AT, 8); fd_write(1, { TEXT_AT, 6 }, 1, 48)`. */
const COMMAND = module(
  section(1, type([I32, I32, I32, I32], [I32]), type([], []), type([I32, I32], [I32])),
  section(2, [...FROM, ...text("fd_write"), 0, 0], [...FROM, ...text("random_get"), 0, 2]),
  section(3, [1]),
  section(5, [1, 2, 16]),
  section(7, exported("memory", 2, 0), exported("_start", 0, 2)),
  section(
    10,
    body(
      ...[0x41, 0xc0, 0, 0x41, 8, 0x10, 1, 0x1a],
      ...[0x41, 1, 0x41, 16, 0x41, 1, 0x41, 48, 0x10, 0, 0x1a],
    ),
  ),
  section(
    11,
    [0, 0x41, 16, 0x0b, 8, TEXT_AT, 0, 0, 0, TEXT.length, 0, 0, 0],
    [0, 0x41, TEXT_AT, 0x0b, TEXT.length, ...TEXT],
  ),
);

describe.each(["scoped", "host"] as const)("a WASI command with CPU backend %s", (cpu) => {
  const why = (): string | undefined => (cpu === "host" ? whyNotHost()?.reason : undefined);

  /** The command, not yet started, and what it has written once it was. */
  async function withCommand(
    test: (wasi: WASI, exports: WasmExports, space: Space, written: () => string) => void,
  ): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), "onespace-wasi-"));
    const file = join(folder, "out");
    const stdout = openSync(file, "w+");
    const machine = await Machine.create({ cpu, device: "none" });
    try {
      const { space } = machine;
      const adoption = await space.adopt({ wasm: COMMAND });
      const wasi = new WASI({ version: "preview1", stdout });
      // On the portable backend a module's code runs within a bracket.
      const held = cpu === "scoped" ? await space.access(adoption.range, "write") : undefined;
      const { exports } = adoption.instantiate(COMMAND, wasi.getImportObject() as never);
      test(wasi, exports, space, () => readFileSync(file, "utf8"));
      held?.close();
      machine.check();
    } finally {
      await machine.close();
      closeSync(stdout);
      rmSync(folder, { recursive: true });
    }
  }

  it("runs on the space's own memory", async (ctx) => {
    if (why() !== undefined) return ctx.skip(why());
    await withCommand((wasi, exports, space, written) => {
      const code = wasi.start({ exports: { ...exports, memory: space.memory } });
      expect(code).toBe(0);
      expect(written()).toBe("hello\n");
      const random = new Uint8Array(space.window, RANDOM_AT, 8);
      expect(random.some((byte) => byte !== 0)).toBe(true);
    });
  });

  it("is refused with what stands in for the module's memory", async (ctx) => {
    if (why() !== undefined) return ctx.skip(why());
    await withCommand((wasi, exports) => {
      expect(() => wasi.start({ exports })).toThrow(/must be a WebAssembly.Memory/);
    });
  });
});
