/**
 * Which WebGPU adapter: a real GPU if there is one, else software. Says why, and when there is
 * none at all, what was tried and what would help. Two instances at most, made once: one sees
 * the system's drivers, the other the software one only.
 */
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { constants, tmpdir } from "node:os";
import { isMainThread } from "node:worker_threads";
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
    super(`no WebGPU adapter (${tried}); onespace doctor says what would help`);
    this.attempts = attempts;
  }
}

type Instance = { requestAdapter(options?: GPURequestAdapterOptions): Promise<GPUAdapter | null> };

/**
 * Dawn's objects must stay reachable for as long as the process lives: collecting an instance
 * while a device of it is alive corrupts memory (5 crashes of 5 without this list, none with it).
 */
const pinned: unknown[] = [];

/** What the Vulkan loader takes its drivers from. */
const DRIVER_VARIABLES = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] as const;

let softwareTurn: Promise<unknown> = Promise.resolve();

export function pin<T>(object: T): T {
  pinned.push(object);
  return object;
}

/** The best adapter of the preferred kind. Throws `AdapterError`. */
export async function openAdapter(prefer: AdapterPreference): Promise<OpenedAdapter> {
  const attempts: AdapterAttempt[] = [];
  let systemSoftware: GPUAdapter | undefined;
  if (prefer !== "software" || isDriverNamed()) {
    const system = await tryHardware(prefer === "software" ? [] : attempts);
    if (system.hardware !== undefined && prefer !== "software") return system.hardware;
    systemSoftware = system.systemSoftware;
  }
  if (prefer !== "hardware") {
    const software = await trySoftware(attempts, prefer, systemSoftware);
    if (software !== undefined) return software;
  }
  throw new AdapterError(attempts);
}

/** Tries every kind and says how it went; `chosen` is what "auto" takes. */
export async function describeAdapters(): Promise<{
  readonly attempts: readonly AdapterAttempt[];
  readonly chosen: OpenedAdapter | undefined;
  readonly webgpu: string;
  readonly softwarePackage: string;
}> {
  const attempts: AdapterAttempt[] = [];
  const { hardware, systemSoftware } = await tryHardware(attempts);
  const prefer = hardware === undefined ? "auto" : "software";
  const software = await trySoftware(attempts, prefer, systemSoftware);
  let softwarePackage: string;
  try {
    const vulkan = findSoftwareVulkan();
    softwarePackage = `${vulkan.package} (${vulkan.icd})`;
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

interface Found {
  readonly adapter: GPUAdapter | undefined;
  readonly reason: string;
}

/** A real GPU; and if the system offers software instead, that. */
async function tryHardware(attempts: AdapterAttempt[]): Promise<{
  readonly hardware: OpenedAdapter | undefined;
  readonly systemSoftware: GPUAdapter | undefined;
}> {
  const { adapter, reason } = await systemAdapter();
  const isHardware = adapter !== undefined && !isSoftware(adapter.info);
  attempts.push({
    kind: "hardware",
    found: isHardware ? nameOf(adapter.info) : undefined,
    reason,
  });
  return isHardware
    ? { hardware: opened(adapter, "hardware", "it is a real GPU"), systemSoftware: undefined }
    : { hardware: undefined, systemSoftware: adapter };
}

async function systemAdapter(): Promise<Found> {
  if (!mayHaveHardware()) {
    return { adapter: undefined, reason: "there is no GPU device node and no Vulkan driver named" };
  }
  const instance = await systemInstance();
  const adapter = await instance.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) return { adapter: undefined, reason: "the system offers no adapter" };
  const reason = isSoftware(adapter.info)
    ? `the system's best is software (${nameOf(adapter.info)})`
    : "found";
  return { adapter, reason };
}

/** Loading Vulkan where there is neither driver nor device only prints warnings. */
function mayHaveHardware(): boolean {
  if (process.platform !== "linux" || isDriverNamed()) return true;
  const names = readdirSync("/dev");
  return names.some((name) => /^(?:dri|nvidia\w*|dxg|kfd|mali\d|kgsl|nvhost|nvgpu)/.test(name));
}

/** The user has chosen a Vulkan driver: that is the system then. */
const isDriverNamed = (): boolean =>
  DRIVER_VARIABLES.some((name) => (process.env[name] ?? "") !== "");

async function trySoftware(
  attempts: AdapterAttempt[],
  prefer: "auto" | "software",
  systemSoftware: GPUAdapter | undefined,
): Promise<OpenedAdapter | undefined> {
  const why = prefer === "software" ? "software was asked for" : "no real GPU was found";
  const found = (adapter: GPUAdapter, from: string): OpenedAdapter => {
    attempts.push({ kind: "software", found: nameOf(adapter.info), reason: "found" });
    return opened(adapter, "software", `${why}; ${from}`);
  };
  if (isDriverNamed() && systemSoftware !== undefined) {
    return found(systemSoftware, "the environment names its Vulkan driver");
  }
  const shipped = await shippedSoftware();
  if (typeof shipped !== "string")
    return found(shipped.adapter, `SwiftShader from ${shipped.from}`);
  if (systemSoftware !== undefined) return found(systemSoftware, `the system's own (${shipped})`);
  attempts.push({ kind: "software", found: undefined, reason: shipped });
  return undefined;
}

/** SwiftShader from its package, or why not. */
async function shippedSoftware(): Promise<
  { readonly adapter: GPUAdapter; readonly from: string } | string
> {
  let vulkan: SoftwareVulkan;
  try {
    vulkan = findSoftwareVulkan();
  } catch (error) {
    return (error as Error).message;
  }
  const instance = await softwareInstance();
  const adapter = await withSoftwareDriver(vulkan, () => instance.requestAdapter());
  if (adapter !== null) return { adapter, from: vulkan.package };
  if (isMainThread) return `SwiftShader from ${vulkan.package} gives no adapter`;
  return (
    "SwiftShader is found through the environment, which a worker thread with a copy of it " +
    "cannot set: start the worker with { env: SHARE_ENV }"
  );
}

/**
 * The Vulkan loader reads its environment when an instance first looks for adapters; it is
 * restored when that is over, so that a search for hardware still finds the system's drivers.
 * One at a time: two that overlap would take each other's environment for the user's.
 */
function withSoftwareDriver<T>(vulkan: SoftwareVulkan, body: () => Promise<T>): Promise<T> {
  const turn = softwareTurn.then(async () => {
    preload(vulkan.loader);
    const before = DRIVER_VARIABLES.map((name) => process.env[name]);
    for (const name of DRIVER_VARIABLES) delete process.env[name];
    process.env.VK_ICD_FILENAMES = vulkan.icd;
    try {
      return await body();
    } finally {
      for (const [i, name] of DRIVER_VARIABLES.entries()) restore(name, before[i]);
    }
  });
  softwareTurn = turn.catch(() => undefined);
  return turn;
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

/** Made once: every instance is kept for ever, and each loads the drivers again. */
const systemInstance = once(newInstance);
const softwareInstance = once(newInstance);

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

async function newInstance(): Promise<Instance> {
  const { create, globals } = await import("webgpu");
  // Without it the loader complains.
  if (process.platform === "linux") process.env.XDG_RUNTIME_DIR ??= tmpdir();
  for (const [name, value] of Object.entries(globals)) {
    if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value, writable: true });
  }
  return pin(create([]) as unknown as Instance);
}

/** True for anything that computes on the CPU, or not at all (Dawn's null device). @forTests */
export function isSoftware(info: GPUAdapterInfo): boolean {
  if (info.isFallbackAdapter) return true;
  if ((info as { readonly adapterType?: string }).adapterType?.toLowerCase() === "cpu") return true;
  const words = `${info.description} ${info.device} ${info.architecture}`;
  return /swiftshader|llvmpipe|lavapipe|softpipe|basic render|null-backend/i.test(words);
}

const nameOf = ({ description, device, vendor }: GPUAdapterInfo): string =>
  description || device || vendor || "unnamed";

function opened(adapter: GPUAdapter, kind: DeviceInfo["kind"], why: string): OpenedAdapter {
  const { vendor, architecture } = adapter.info;
  return {
    adapter: pin(adapter),
    info: { kind, adapter: nameOf(adapter.info), vendor, architecture, why },
  };
}

/** With limits raised to what `bytes` of frames need, and never below the default ones. */
export function requestDevice(adapter: GPUAdapter, bytes: number): Promise<GPUDevice> {
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  return adapter.requestDevice({
    requiredLimits: {
      maxStorageBufferBindingSize: Math.min(
        maxStorageBufferBindingSize,
        Math.max(bytes, 128 * 2 ** 20),
      ),
      maxBufferSize: Math.min(maxBufferSize, Math.max(bytes, 256 * 2 ** 20)),
    },
  });
}
