/**
 * Which WebGPU adapter: a real GPU if there is one, else software. Says why, and when there is
 * none at all, what was tried and what would help.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { constants, tmpdir } from "node:os";
import { findSoftwareVulkan, type SoftwareVulkan } from "./software-vulkan.ts";

export type AdapterPreference = "auto" | "hardware" | "software";

export interface DeviceInfo {
  readonly kind: "hardware" | "software";
  /** What the adapter calls itself. */
  readonly adapter: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly why: string;
}

export interface OpenedAdapter {
  readonly adapter: GPUAdapter;
  readonly info: DeviceInfo;
}

/** What was tried on the way to an adapter, and how it went. */
export interface AdapterAttempt {
  readonly kind: "hardware" | "software";
  readonly found: string | undefined;
  readonly reason: string;
}

export class AdapterError extends Error {
  override readonly name = "AdapterError";
  readonly attempts: readonly AdapterAttempt[];

  constructor(attempts: readonly AdapterAttempt[]) {
    const tried = attempts.map(({ kind, reason }) => `${kind}: ${reason}`).join("; ");
    super(`no WebGPU adapter (${tried}); onespace doctor explains`);
    this.attempts = attempts;
  }
}

type Instance = { requestAdapter(options?: GPURequestAdapterOptions): Promise<GPUAdapter | null> };

/**
 * Dawn's objects must stay reachable for as long as the process lives: collecting an instance
 * while a device of it is alive corrupts memory (5 crashes of 5 without this list, none with it).
 */
const pinned: unknown[] = [];

export function pin<T>(object: T): T {
  pinned.push(object);
  return object;
}

/** The best adapter of the preferred kind. Throws `AdapterError`. */
export async function openAdapter(prefer: AdapterPreference): Promise<OpenedAdapter> {
  const attempts: AdapterAttempt[] = [];
  if (prefer !== "software") {
    const hardware = await tryHardware(attempts);
    if (hardware !== undefined) return hardware;
  }
  if (prefer !== "hardware") {
    const software = await trySoftware(attempts, prefer);
    if (software !== undefined) return software;
  }
  throw new AdapterError(attempts);
}

/** Tries every kind and says how it went; the first that was found is what "auto" takes. */
export async function describeAdapters(): Promise<{
  readonly attempts: readonly AdapterAttempt[];
  readonly chosen: OpenedAdapter | undefined;
  readonly webgpu: string;
  readonly softwarePackage: string;
}> {
  const attempts: AdapterAttempt[] = [];
  const hardware = await tryHardware(attempts);
  const software = await trySoftware(attempts, hardware === undefined ? "auto" : "software");
  let softwarePackage: string;
  try {
    softwarePackage = findSoftwareVulkan().package;
  } catch (error) {
    softwarePackage = (error as Error).message;
  }
  const chosen = hardware ?? software;
  return { attempts, chosen, webgpu: webgpuVersion(), softwarePackage };
}

function webgpuVersion(): string {
  const require = createRequire(import.meta.url);
  return String((require("webgpu/package.json") as { version: unknown }).version);
}

async function tryHardware(attempts: AdapterAttempt[]): Promise<OpenedAdapter | undefined> {
  if (!mayHaveHardware()) {
    const reason = "no Vulkan loader is installed and no GPU device node exists";
    attempts.push({ kind: "hardware", found: undefined, reason });
    return undefined;
  }
  const instance = await newInstance([]);
  const adapter = await instance.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) {
    attempts.push({ kind: "hardware", found: undefined, reason: "the system offers no adapter" });
    return undefined;
  }
  if (isSoftware(adapter)) {
    const reason = `the system's best is software (${adapter.info.description})`;
    attempts.push({ kind: "hardware", found: undefined, reason });
    return undefined;
  }
  attempts.push({ kind: "hardware", found: adapter.info.description, reason: "found" });
  return opened(adapter, "hardware", "it is a real GPU");
}

/** Loading Vulkan where there is neither loader nor device only prints warnings. */
function mayHaveHardware(): boolean {
  if (process.platform !== "linux") return true;
  const places = ["/dev/dri", "/dev/nvidia0", "/dev/dxg", "/dev/kfd"];
  const isNamed = process.env["VK_ICD_FILENAMES"] ?? process.env["VK_DRIVER_FILES"];
  return isNamed !== undefined || places.some((place) => existsSync(place));
}

async function trySoftware(
  attempts: AdapterAttempt[],
  prefer: "auto" | "software",
): Promise<OpenedAdapter | undefined> {
  let vulkan: SoftwareVulkan;
  try {
    vulkan = findSoftwareVulkan();
  } catch (error) {
    attempts.push({ kind: "software", found: undefined, reason: (error as Error).message });
    return undefined;
  }
  const adapter = await withSoftware(vulkan);
  if (adapter === null) {
    attempts.push({ kind: "software", found: undefined, reason: "SwiftShader gives no adapter" });
    return undefined;
  }
  attempts.push({ kind: "software", found: adapter.info.description, reason: "found" });
  const why = prefer === "software" ? "software was asked for" : "no real GPU was found";
  return opened(adapter, "software", `${why}; SwiftShader from ${vulkan.package}`);
}

/** The Vulkan loader reads its environment when an instance is made; it is restored at once. */
async function withSoftware(vulkan: SoftwareVulkan): Promise<GPUAdapter | null> {
  preload(vulkan.loader);
  const before = process.env["VK_ICD_FILENAMES"];
  const driversBefore = process.env["VK_DRIVER_FILES"];
  process.env["VK_ICD_FILENAMES"] = vulkan.icd;
  delete process.env["VK_DRIVER_FILES"];
  process.env["XDG_RUNTIME_DIR"] ??= tmpdir();
  try {
    const instance = await newInstance([]);
    return await instance.requestAdapter();
  } finally {
    restore("VK_ICD_FILENAMES", before);
    restore("VK_DRIVER_FILES", driversBefore);
  }
}

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}

/**
 * Dawn opens "libvulkan.so.1" by that name. Where the system has none, the one that comes with
 * the software device is loaded first: the name then finds it. It is no Node addon, which is
 * what the ignored error says; NODELETE keeps it in memory all the same.
 */
function preload(loader: string): void {
  const { RTLD_NOW, RTLD_GLOBAL } = constants.dlopen;
  const RTLD_NODELETE = 0x1000;
  try {
    process.dlopen({ exports: {} }, loader, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
  } catch (error) {
    if (!String(error).includes("did not self-register")) throw error;
  }
}

async function newInstance(flags: string[]): Promise<Instance> {
  const { create, globals } = await import("webgpu");
  for (const [name, value] of Object.entries(globals)) {
    if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value, writable: true });
  }
  return pin(create(flags) as unknown as Instance);
}

const isSoftware = (adapter: GPUAdapter): boolean =>
  (adapter.info as { isFallbackAdapter?: boolean }).isFallbackAdapter === true ||
  /swiftshader|llvmpipe|softpipe|basic render/i.test(
    `${adapter.info.description} ${adapter.info.device}`,
  );

function opened(adapter: GPUAdapter, kind: DeviceInfo["kind"], why: string): OpenedAdapter {
  const { description, vendor, architecture } = adapter.info;
  return {
    adapter: pin(adapter),
    info: { kind, adapter: description || vendor || "unnamed", vendor, architecture, why },
  };
}
