/** What the main thread asks of a worker and what it gets back: plain records only. */
import {
  type Exploration,
  type ExploreLimits,
  explore,
  type Failure,
  type Progress,
  type Scenario,
  type StrategyOptions,
} from "../../../explore/index.ts";
import { MUSEUM, scenarioOf, type Visit, visit } from "../../../museum/index.ts";
import { RACES } from "../../../races/index.ts";

/** Where a scenario comes from: the engine's, the museum's, or a module that exports it. */
export type Source =
  | { readonly from: "engine" }
  | { readonly from: "museum" }
  | { readonly from: "file"; readonly url: string };

export type Job =
  | { readonly kind: "visit"; readonly id: string }
  | {
      readonly kind: "explore";
      readonly source: Source;
      readonly scenario: string;
      readonly options: StrategyOptions;
      readonly schedulesMax?: number | undefined;
      readonly seconds?: number | undefined;
      readonly isTwice?: boolean;
    };

export type Answer =
  | { readonly kind: "visit"; readonly visit: Visit }
  | { readonly kind: "explore"; readonly exploration: Exploration };

/** Does a job on this thread. */
export async function runJob(job: Job, onProgress: (at: Progress) => void): Promise<Answer> {
  if (job.kind === "visit") {
    const exhibit = MUSEUM.find(({ id }) => id === job.id);
    if (exhibit === undefined) throw new Error(`the museum has no ${job.id}`);
    const seen = visit(exhibit);
    const bare = { ...seen, buggy: portable(seen.buggy), fixed: seen.fixed.map(portable) };
    return { kind: "visit", visit: bare };
  }
  const scenario = await findScenario(job.source, job.scenario);
  const now = (): number => performance.now();
  const limits: ExploreLimits = {
    now,
    onProgress,
    isTwice: job.isTwice === true,
    ...(job.schedulesMax === undefined ? {} : { schedulesMax: job.schedulesMax }),
    ...(job.seconds === undefined ? {} : { deadlineMs: now() + job.seconds * 1000 }),
  };
  return { kind: "explore", exploration: portable(explore(scenario, job.options, limits)) };
}

/** An error may hold what cannot cross a thread: its text goes instead. */
function portable(exploration: Exploration): Exploration {
  const found = exploration.failure;
  if (found === undefined) return exploration;
  const { error } = found.failure;
  const stack = error instanceof Error ? error.stack : undefined;
  const failure: Failure = { ...found.failure, error: stack };
  return { ...exploration, failure: { ...found, failure } };
}

export async function findScenario(source: Source, name: string): Promise<Scenario> {
  const scenarios = await scenariosOf(source);
  const found = scenarios.find((each) => each.name === name);
  if (found !== undefined) return found;
  const names = scenarios.map((each) => each.name).join(", ");
  throw new Error(`no scenario is called "${name}" (there are: ${names})`);
}

export async function scenariosOf(source: Source): Promise<readonly Scenario[]> {
  switch (source.from) {
    case "engine":
      return RACES;
    case "museum":
      return MUSEUM.flatMap((exhibit) =>
        [exhibit.buggy, ...exhibit.fixed].map((version) => scenarioOf(exhibit, version)),
      );
    case "file": {
      const module: Record<string, unknown> = await import(source.url);
      const scenarios = Object.values(module).flat().filter(isScenario);
      if (scenarios.length > 0) return scenarios;
      throw new Error(
        `${source.url} exports no scenario: an object with name, about and setUp(strategy)`,
      );
    }
  }
}

function isScenario(value: unknown): value is Scenario {
  if (typeof value !== "object" || value === null) return false;
  const { name, about, setUp } = value as Partial<Record<keyof Scenario, unknown>>;
  return typeof name === "string" && typeof about === "string" && typeof setUp === "function";
}
