/** The commands of `onespace`, their options and their help. */
import { defineCommand } from "citty";
import pc from "picocolors";
import { type HmmTestRow, runConformance, runHmmTests } from "../conformance/index.ts";
import { runDoctor } from "./doctor.ts";
import { exploreArgs, planOf, runPlan } from "./explore/index.ts";
import { choice, integer, refuseUnknown, UsageError } from "./usage.ts";

const json = {
  type: "boolean",
  description: "print one JSON object on the last line",
  default: false,
} as const;

const doctorArgs = { json } as const;

const doctor = defineCommand({
  meta: { name: "doctor", description: "what this machine offers, and what will be used" },
  args: doctorArgs,
  async run({ args }) {
    refuseUnknown(args, doctorArgs);
    await runDoctor({ json: args.json });
  },
});

const conformanceArgs = {
  traces: { type: "string", description: "folder with *.jsonl or *.jsonl.gz: replay them" },
  family: { type: "string", description: "only these families, as in A,B (default: all)" },
  tests: { type: "string", description: "hmm: the self tests of the kernel" },
  json,
} as const;

const conformance = defineCommand({
  meta: {
    name: "conformance",
    description: "replays recorded behaviour of Linux or runs its tests; status 1 on a difference",
  },
  args: conformanceArgs,
  run({ args }) {
    refuseUnknown(args, conformanceArgs);
    const { traces, tests, family } = args;
    if ((traces === undefined) === (tests === undefined)) {
      throw new UsageError("conformance needs either --traces <folder> or --tests hmm");
    }
    if (traces !== undefined) return replayTraces({ traces, family, json: args.json });
    choice("tests", tests!, ["hmm"]);
    if (family !== undefined) throw new UsageError("--family goes with --traces");
    runTests({ json: args.json });
  },
});

interface ReplayArgs {
  readonly traces: string;
  readonly family: string | undefined;
  readonly json: boolean;
}

function replayTraces({ traces, family, json }: ReplayArgs): void {
  const families = family?.split(",").map((each) => each.trim().toUpperCase());
  if (families?.some((each) => !/^[A-Z]$/.test(each))) {
    throw new UsageError(`--family must be letters with commas, got "${family}"`);
  }
  const report = runConformance({
    traces,
    ...(families === undefined ? {} : { families }),
    onTrace: (done, of) => progress(`${done}/${of} traces`),
  });
  progress("");
  if (!json) {
    for (const { trace, line, op, expected, got } of report.firstMismatches) {
      console.log(`${pc.red("mismatch")} ${trace}:${line} ${op}`);
      console.log(`  Linux ${JSON.stringify(expected)}\n  here  ${JSON.stringify(got)}`);
    }
    const { traces, ops, matched } = report;
    console.log(`${traces} traces, ${ops} operations, ${matched} answered as Linux did`);
  } else console.log(JSON.stringify(report));
  process.exitCode = report.matched === report.ops ? 0 : 1;
}

function runTests({ json }: { readonly json: boolean }): void {
  const report = runHmmTests(json ? {} : { onRow: printRow });
  const { tests, passed, failed, skipped } = report;
  if (json) console.log(JSON.stringify(report));
  else console.log(`${tests} tests, ${passed} passed, ${failed} failed, ${skipped} skipped`);
  process.exitCode = failed === 0 ? 0 : 1;
}

const COLORS = { pass: pc.green, fail: pc.red, skip: pc.yellow } as const;

function printRow({ result, name, device, ms, reason }: HmmTestRow): void {
  const took = `${Math.round(ms)} ms`.padStart(8);
  const why = reason === undefined ? "" : `  ${reason}`;
  console.log(`${COLORS[result](result)}  ${name.padEnd(28)} ${device.padEnd(8)} ${took}${why}`);
}

const dragonArgs = {
  size: { type: "string", description: "width and height in pixels", default: "384" },
  cpu: { type: "string", description: "auto, host or scoped", default: "auto" },
  device: {
    type: "string",
    description: "auto, hardware or software",
    default: "auto",
  },
  memory: { type: "string", description: "device memory in MiB", default: "256" },
  out: { type: "string", description: "where the picture goes", default: "out/dragon.png" },
  json,
} as const;

const dragon = defineCommand({
  meta: {
    name: "dragon",
    description: "the GPU renders a dragon by walking a tree that TypeScript built",
  },
  args: dragonArgs,
  async run({ args }) {
    refuseUnknown(args, dragonArgs);
    const { runDragonCommand } = await import("../demo/index.ts");
    await runDragonCommand({
      size: integer("size", args.size, { min: 16, max: 4096 }),
      cpu: choice("cpu", args.cpu, ["auto", "host", "scoped"]),
      device: choice("device", args.device, ["auto", "hardware", "software"]),
      deviceMemory: integer("memory", args.memory, { min: 1, max: 1000 }) * 2 ** 20,
      out: args.out,
      json: args.json,
      onProgress: progress,
    });
    progress("");
  },
});

const demo = defineCommand({
  meta: { name: "demo", description: "programs that show what this is for" },
  subCommands: { dragon },
});

const explore = defineCommand({
  meta: {
    name: "explore",
    description: "runs scenarios under all schedules that matter; status 1 when one fails",
  },
  args: exploreArgs,
  async run({ args }) {
    refuseUnknown(args, exploreArgs);
    await runPlan(planOf(args, progress));
  },
});

export const root = defineCommand({
  meta: {
    name: "onespace",
    description: "one address space for JavaScript, WebAssembly and the GPU",
  },
  subCommands: { doctor, demo, conformance, explore },
});

/** One line that overwrites itself, on a terminal only; an empty text removes it. */
function progress(text: string): void {
  if (!process.stderr.isTTY) return;
  process.stderr.write(`\r\u001b[K${text === "" ? "" : pc.dim(text)}`);
}
