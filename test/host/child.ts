/** Programs that run in a process of their own, because they end it, or may. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const DOOR = new URL("../../dist/machine/index.js", import.meta.url).href;

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** It did not end by itself within the limit: it hung. */
  readonly hung: boolean;
}

/** The beginning of every program; `machine` has page faults and, if asked for, a device. */
const prelude = (device: boolean, kernelFaults: boolean | "auto"): string => `
  import { Machine, ptr, u32 } from ${JSON.stringify(DOOR)};
  import { Worker } from "node:worker_threads";
  const machine = await Machine.create(
    { cpu: "host", ${device ? "deviceMemory: 2 ** 22" : 'device: "none"'},
      kernelFaults: ${JSON.stringify(kernelFaults)} });
  const { space } = machine;
  const PAGE = 4096;
  /** A thread of the same machine that runs \`code\`. */
  const thread = (code, data = {}) => {
    const worker = new Worker(\`
      import("node:worker_threads").then(async ({ parentPort, workerData }) => {
        const { Machine, ptr, u32 } = await import(${JSON.stringify(DOOR)});
        const machine = Machine.attach(workerData.handle);
        const { space } = machine;
        \${code}
      });\`, { eval: true, workerData: { handle: machine.handle, ...data } });
    worker.ended = new Promise((resolve) => worker.once("exit", resolve));
    return worker;
  };
`;

/** Runs `code` after the prelude. */
export async function runProgram(
  code: string,
  options: {
    readonly device?: boolean;
    /** As `Machine.create` takes it. */
    readonly kernelFaults?: boolean;
    readonly limitMs?: number;
    /** In front of the command: what it runs under. */
    readonly under?: readonly string[];
    /** CommonJS that every thread of the process runs first. */
    readonly first?: string;
  } = {},
): Promise<Ended> {
  const folder = mkdtempSync(join(tmpdir(), "onespace-host-"));
  const file = join(folder, "program.mjs");
  writeFileSync(file, prelude(options.device ?? false, options.kernelFaults ?? "auto") + code);
  const first = join(folder, "first.cjs");
  writeFileSync(first, options.first ?? "");
  const node = [process.execPath, "--require", first];
  const [program, ...args] = [...(options.under ?? []), ...node, file];
  const child = spawn(program!, args, { stdio: ["ignore", "pipe", "pipe"] });
  const chunks = { stdout: "", stderr: "" };
  child.stdout.on("data", (data) => (chunks.stdout += data));
  child.stderr.on("data", (data) => (chunks.stderr += data));
  let hung = false;
  const timer = setTimeout(() => {
    hung = true;
    child.kill("SIGKILL");
  }, options.limitMs ?? 60_000);
  const [code2, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
    child.once("close", (...how) => resolve(how)),
  );
  clearTimeout(timer);
  rmSync(folder, { recursive: true });
  return { code: code2, signal, ...chunks, hung };
}
