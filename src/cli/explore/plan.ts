/** From the words of the command line to what is to be done. */
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseSchedule, ScheduleError, type StrategyOptions } from "../../explore/index.ts";
import { choice, integer, UsageError } from "../usage.ts";
import type { Source } from "./workers/index.ts";

export const exploreArgs = {
  file: {
    type: "positional",
    required: false,
    description: "a JavaScript module that exports scenarios",
  },
  museum: { type: "boolean", default: false, description: "the historical bugs, all of them" },
  engine: { type: "boolean", default: false, description: "the races of HMM, with our engine" },
  list: { type: "boolean", default: false, description: "name the scenarios and do nothing" },
  scenario: { type: "string", description: "only this one (in the museum: B-01 for both sides)" },
  strategy: {
    type: "string",
    description: "dpor, dfs, pct or random (default: the scenario's own)",
  },
  preemptions: { type: "string", description: "dfs: at most so many (default: no limit)" },
  depth: { type: "string", description: "pct: points that decide the bug (default: 3)" },
  seed: { type: "string", description: "pct, random: where chance begins (default: 1)" },
  schedules: { type: "string", description: "at most so many of each scenario" },
  seconds: { type: "string", description: "at most so long, all together" },
  workers: { type: "string", description: "threads (default: one a core)" },
  replay: { type: "string", description: "run this schedule of --scenario and tell its story" },
  twice: { type: "boolean", default: false, description: "run every schedule twice and compare" },
  undeclared: {
    type: "boolean",
    default: false,
    description: "look for what tasks share without declaring it",
  },
  html: { type: "string", description: "write the stories of what failed to this page" },
  json: { type: "boolean", default: false, description: "print one JSON object on the last line" },
} as const;

export interface ExploreArgs {
  readonly file?: string | undefined;
  readonly museum: boolean;
  readonly engine: boolean;
  readonly list: boolean;
  readonly scenario?: string | undefined;
  readonly strategy?: string | undefined;
  readonly preemptions?: string | undefined;
  readonly depth?: string | undefined;
  readonly seed?: string | undefined;
  readonly schedules?: string | undefined;
  readonly seconds?: string | undefined;
  readonly workers?: string | undefined;
  readonly replay?: string | undefined;
  readonly twice: boolean;
  readonly undeclared: boolean;
  readonly html?: string | undefined;
  readonly json: boolean;
}

export interface Plan {
  readonly source: Source;
  readonly act: "list" | "replay" | "undeclared" | "explore";
  readonly scenario: string | undefined;
  /** Absent: each scenario's own, or dpor. */
  readonly options: StrategyOptions | undefined;
  readonly seed: number;
  readonly schedulesMax: number | undefined;
  readonly seconds: number | undefined;
  readonly workers: number;
  readonly schedule: readonly number[] | undefined;
  readonly isTwice: boolean;
  readonly html: string | undefined;
  readonly json: boolean;
  readonly onProgress: (text: string) => void;
}

const SEED_MAX = 2 ** 32 - 1;
const RARE = { min: 1, max: 1_000_000_000 };

export function planOf(args: ExploreArgs, onProgress: (text: string) => void): Plan {
  const source = sourceOf(args);
  const seed = integer("seed", args.seed ?? "1", { min: 0, max: SEED_MAX });
  const options = optionsOf(args, seed);
  const schedulesMax = optional("schedules", args.schedules, RARE);
  const seconds = optional("seconds", args.seconds, { min: 1, max: 86_400 });
  const isEndless = options?.strategy === "pct" || options?.strategy === "random";
  if (isEndless && schedulesMax === undefined && seconds === undefined) {
    throw new UsageError(`--strategy ${options.strategy} never ends: add --schedules or --seconds`);
  }
  if (args.replay !== undefined && args.scenario === undefined) {
    throw new UsageError("--replay needs --scenario: a schedule is of one scenario");
  }
  refuseUnused(args);
  const acts = [args.list, args.replay !== undefined, args.undeclared].filter(Boolean).length;
  if (acts > 1) throw new UsageError("--list, --replay and --undeclared exclude each other");
  return {
    source,
    act: args.list ? "list" : args.replay !== undefined ? "replay" : actOf(args),
    scenario: args.scenario,
    options,
    seed,
    schedulesMax,
    seconds,
    workers: optional("workers", args.workers, { min: 1, max: 256 }) ?? availableParallelism(),
    schedule: args.replay === undefined ? undefined : scheduleOf(args.replay),
    isTwice: args.twice,
    html: args.html === undefined ? undefined : pageAt(args.html),
    json: args.json,
    onProgress,
  };
}

/** Words that would change nothing are a mistake. */
function refuseUnused(args: ExploreArgs): void {
  const given = (["strategy", "schedules", "seconds"] as const).filter(
    (option) => args[option] !== undefined,
  );
  const isVisit = args.museum && args.strategy === undefined && !args.undeclared;
  if (args.replay !== undefined && given.length > 0) {
    throw new UsageError(`--${given[0]} does nothing with --replay`);
  }
  if (isVisit && (given.length > 0 || args.twice)) {
    const option = given[0] ?? "twice";
    throw new UsageError(`--${option} needs --strategy in the museum: a visit explores all of it`);
  }
}

const actOf = (args: ExploreArgs): "undeclared" | "explore" =>
  args.undeclared ? "undeclared" : "explore";

function sourceOf({ file, museum, engine }: ExploreArgs): Source {
  const count = [file !== undefined, museum, engine].filter(Boolean).length;
  if (count !== 1) {
    throw new UsageError("explore needs one of --museum, --engine and a file with scenarios");
  }
  if (museum) return { from: "museum" };
  return engine ? { from: "engine" } : { from: "file", url: pathToFileURL(resolve(file!)).href };
}

function optionsOf(args: ExploreArgs, seed: number): StrategyOptions | undefined {
  const { strategy, preemptions, depth } = args;
  const kind =
    strategy === undefined
      ? undefined
      : choice("strategy", strategy, ["dpor", "dfs", "pct", "random"]);
  if (preemptions !== undefined && kind !== "dfs") {
    throw new UsageError("--preemptions goes with --strategy dfs");
  }
  if (depth !== undefined && kind !== "pct")
    throw new UsageError("--depth goes with --strategy pct");
  switch (kind) {
    case undefined:
      return undefined;
    case "dpor":
      return { strategy: "dpor" };
    case "random":
      return { strategy: "random", seed };
    case "pct": {
      const points = optional("depth", depth, { min: 1, max: 20 });
      return points === undefined
        ? { strategy: "pct", seed }
        : { strategy: "pct", seed, depth: points };
    }
    case "dfs": {
      const most = optional("preemptions", preemptions, { min: 0, max: 1000 });
      return most === undefined ? { strategy: "dfs" } : { strategy: "dfs", preemptionsMax: most };
    }
  }
}

function optional(
  name: string,
  value: string | undefined,
  limits: { readonly min: number; readonly max: number },
): number | undefined {
  return value === undefined ? undefined : integer(name, value, limits);
}

/** Refused now and not after an hour of exploring. */
function pageAt(path: string): string {
  const folder = dirname(resolve(path));
  if (path !== "" && existsSync(folder)) return path;
  throw new UsageError(`--html needs a file in a folder that is there, got "${path}"`);
}

function scheduleOf(text: string): readonly number[] {
  try {
    return parseSchedule(text);
  } catch (error) {
    if (error instanceof ScheduleError) throw new UsageError(`--replay: ${error.message}`);
    throw error;
  }
}
