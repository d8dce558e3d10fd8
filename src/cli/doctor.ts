/**
 * What this machine offers, what will be used, and for what is missing: the reason and the cure.
 */
import { arch, cpus, platform, release, totalmem } from "node:os";
import pc from "picocolors";
import { describeAdapters } from "../driver/index.ts";
import { type HostProbe, probeHost } from "../machine/index.ts";

interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly found: string;
  /** What would help, when it is not ok. */
  readonly cure?: string;
}

export interface DoctorReport {
  readonly node: string;
  readonly system: string;
  readonly cpu: { readonly backend: "host" | "scoped"; readonly why: string };
  readonly device:
    | {
        readonly kind: string;
        readonly adapter: string;
        readonly why: string;
        readonly limits: Readonly<Record<string, number>>;
      }
    | undefined;
  readonly checks: readonly Check[];
}

const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupsPerDimension",
] as const;

export async function runDoctor(options: { readonly json: boolean }): Promise<DoctorReport> {
  const report = await examine();
  if (options.json) console.log(JSON.stringify(report));
  else print(report);
  if (report.device === undefined) process.exitCode = 1;
  return report;
}

async function examine(): Promise<DoctorReport> {
  const { attempts, chosen, webgpu, softwarePackage } = await describeAdapters();
  const adapters = attempts.map(
    ({ kind, found, reason }): Check => ({
      name: `${kind} adapter`,
      // A machine without a GPU is in order as long as there is something to run on.
      ok: found !== undefined || chosen !== undefined,
      found: found ?? reason,
      ...(found === undefined ? { cure: CURES[kind] } : {}),
    }),
  );
  const probe = probeHost();
  const core = cpus()[0]?.model ?? "unknown CPU";
  return {
    node: process.version,
    system: `${platform()} ${release()} ${arch()}, ${cpus().length} x ${core}, ${gib(totalmem())}`,
    cpu:
      probe.obstacle === undefined
        ? { backend: "host", why: "page faults (userfaultfd): any memory is touched at any time" }
        : { backend: "scoped", why: "memory is touched within access brackets" },
    device: chosen === undefined ? undefined : { ...chosen.info, limits: limitsOf(chosen.adapter) },
    checks: [
      nodeCheck(),
      { name: "webgpu package", ok: true, found: webgpu },
      { name: "software device package", ok: true, found: softwarePackage },
      ...adapters,
      ...pageFaultChecks(probe),
    ],
  };
}

const CURES = {
  hardware: "install the GPU's Vulkan driver and the Vulkan loader (libvulkan1)",
  software: "npm i @sparticuz/chromium (Linux on x64)",
} as const;

function nodeCheck(): Check {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const ok = major > 20 || (major === 20 && minor >= 19);
  const cure = ok ? {} : { cure: "use Node 20.19 or later" };
  return { name: "node", ok, found: process.version, ...cure };
}

/** A machine without page faults, or with those of user code only, is in order. */
function pageFaultChecks({ obstacle, kernelFaults }: HostProbe): Check[] {
  const name = "page faults";
  if (obstacle !== undefined) {
    return [{ name, ok: true, found: `none: ${obstacle.reason}`, cure: obstacle.cure }];
  }
  const inCalls = { name: "in system calls", ok: true } as const;
  return [
    { name, ok: true, found: "of user code, by userfaultfd; no privilege is needed" },
    "how" in kernelFaults
      ? { ...inCalls, found: `too, they wait for pages that are away: ${kernelFaults.how}` }
      : {
          ...inCalls,
          found: `no: they answer EFAULT on pages that a device has had: ${kernelFaults.reason}`,
          cure: kernelFaults.cure,
        },
  ];
}

function limitsOf(adapter: GPUAdapter): Record<string, number> {
  return Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
}

function print(report: DoctorReport): void {
  console.log(`${pc.bold("onespace doctor")}  ${report.system}\n`);
  for (const { name, ok, found, cure } of report.checks) {
    console.log(`${ok ? pc.green("ok  ") : pc.red("fail")} ${name.padEnd(24)} ${found}`);
    if (cure !== undefined) console.log(`     ${"".padEnd(24)} ${pc.dim(`to have it: ${cure}`)}`);
  }
  console.log(`\n${pc.bold("will be used")}`);
  console.log(`  cpu     ${report.cpu.backend}: ${report.cpu.why}`);
  const { device } = report;
  if (device === undefined) {
    console.log(
      `  device  ${pc.red("none")}: kernels cannot run here; Machine.create({ device: "none" })`,
    );
    return;
  }
  console.log(`  device  ${device.kind}: ${device.adapter} (${device.why})`);
  for (const [name, value] of Object.entries(device.limits)) {
    console.log(`          ${pc.dim(`${name} ${value}`)}`);
  }
}

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
