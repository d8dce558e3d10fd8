/** The commands of `onespace`, their options and their help. */
import { defineCommand } from "citty";
import pc from "picocolors";
import { runConformance } from "./conformance/index.ts";
import { runDoctor } from "./doctor.ts";
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
  traces: { type: "string", description: "folder with *.jsonl or *.jsonl.gz", required: true },
  family: { type: "string", description: "only these families, as in A,B (default: all)" },
  json,
} as const;

const conformance = defineCommand({
  meta: {
    name: "conformance",
    description: "replays recorded behaviour of Linux; status 1 on any mismatch",
  },
  args: conformanceArgs,
  run({ args }) {
    refuseUnknown(args, conformanceArgs);
    const families = args.family?.split(",").map((each) => each.trim().toUpperCase());
    if (families?.some((each) => !/^[A-Z]$/.test(each))) {
      throw new UsageError(`--family must be letters with commas, got "${args.family}"`);
    }
    const report = runConformance({
      traces: args.traces,
      ...(families === undefined ? {} : { families }),
      onTrace: (done, of) => progress(`${done}/${of} traces`),
    });
    progress("");
    if (!args.json) {
      for (const { trace, line, op, expected, got } of report.firstMismatches) {
        console.log(`${pc.red("mismatch")} ${trace}:${line} ${op}`);
        console.log(`  Linux ${JSON.stringify(expected)}\n  here  ${JSON.stringify(got)}`);
      }
      const { traces, ops, matched } = report;
      console.log(`${traces} traces, ${ops} operations, ${matched} answered as Linux did`);
    } else console.log(JSON.stringify(report));
    process.exitCode = report.matched === report.ops ? 0 : 1;
  },
});

const dragonArgs = {
  size: { type: "string", description: "width and height in pixels", default: "384" },
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
    const { runDragonCommand } = await import("./dragon/index.ts");
    await runDragonCommand({
      size: integer("size", args.size, { min: 16, max: 4096 }),
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

export const root = defineCommand({
  meta: {
    name: "onespace",
    description: "one address space for JavaScript, WebAssembly and the GPU",
  },
  subCommands: { doctor, demo, conformance },
});

/** One line that overwrites itself, on a terminal only; an empty text removes it. */
function progress(text: string): void {
  if (!process.stderr.isTTY) return;
  process.stderr.write(`\r\u001b[K${text === "" ? "" : pc.dim(text)}`);
}
