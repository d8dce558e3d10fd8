import { describe, expect, it } from "vitest";
import { AdapterError, describeAdapters, isSoftware, openAdapter } from "./adapter.ts";

const info = (fields: Partial<GPUAdapterInfo> & { readonly adapterType?: string }) =>
  ({
    vendor: "",
    architecture: "",
    device: "",
    description: "",
    isFallbackAdapter: false,
    ...fields,
  }) as GPUAdapterInfo;

describe("isSoftware", () => {
  it.each([
    ["SwiftShader", info({ description: "SwiftShader driver 5.0.0" })],
    ["llvmpipe", info({ description: "llvmpipe (LLVM 17.0.6, 256 bits)" })],
    ["a fallback adapter", info({ description: "anything", isFallbackAdapter: true })],
    ["a CPU by type", info({ description: "anything", adapterType: "CPU" })],
    ["Dawn's null device", info({ device: "null-backend" })],
    ["Windows' own", info({ description: "Microsoft Basic Render Driver" })],
  ])("takes %s for software", (_name, each) => {
    expect(isSoftware(each)).toBe(true);
  });

  it("takes a GPU for one", () => {
    expect(isSoftware(info({ vendor: "nvidia", description: "NVIDIA H200" }))).toBe(false);
  });
});

describe("openAdapter", () => {
  it("gives a software adapter several times, also at once, and leaves the environment", async (ctx) => {
    const names = ["VK_ICD_FILENAMES", "VK_DRIVER_FILES"];
    const before = names.map((name) => process.env[name]);
    const opened = await Promise.all([openAdapter("software"), openAdapter("software")]).catch(
      (error: unknown) => error,
    );
    expect(names.map((name) => process.env[name])).toEqual(before);
    if (opened instanceof AdapterError) return ctx.skip(opened.message);
    if (!Array.isArray(opened)) throw opened;
    expect(opened.map(({ info: { kind } }) => kind)).toEqual(["software", "software"]);
    expect(opened[0].adapter).not.toBe(opened[1].adapter);
    const devices = await Promise.all(opened.map(({ adapter }) => adapter.requestDevice()));
    for (const device of devices) device.destroy();
  });

  it("finds the same kind as describeAdapters says, or fails with the same attempts", async () => {
    const { chosen, attempts } = await describeAdapters();
    expect(attempts.map(({ kind }) => kind)).toContain("hardware");
    if (chosen === undefined) {
      await expect(openAdapter("auto")).rejects.toThrow(AdapterError);
    } else {
      expect((await openAdapter("auto")).info.kind).toBe(chosen.info.kind);
    }
    const hardware = attempts.find(({ kind }) => kind === "hardware")!;
    if (hardware.found !== undefined) return;
    const error = await openAdapter("hardware").catch((each: unknown) => each);
    expect(error).toBeInstanceOf(AdapterError);
    expect((error as Error).message).toContain(hardware.reason);
  });
});
