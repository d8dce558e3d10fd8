/**
 * Random programs that can be run again. Each has a name in `programs.json`, with the file and the
 * test that run it. What fails says `npm run replay -- NAME SEED`, which runs that test with that
 * one program: it passes ONESPACE_REPLAY, and the functions here obey.
 */
import { readFileSync } from "node:fs";
import fc from "fast-check";

/** Where a program is. */
export interface ReplayProgram {
  readonly file: string;
  /** Part of the name of the one test that runs it. */
  readonly test: string;
}

export const PROGRAMS: Readonly<Record<string, ReplayProgram>> = JSON.parse(
  readFileSync(new URL("./programs.json", import.meta.url), "utf8"),
);
/** Stands for every name: that each of them obeys is tested so. */
export const EVERY = "every";

/** The seed that this process was asked to run `name` with, as it was written. */
function askedSeed(name: string): string | undefined {
  if (PROGRAMS[name] === undefined) throw new Error(`programs.json has no ${name}`);
  const [asked, seed] = (process.env.ONESPACE_REPLAY ?? "").split(" ");
  if (asked !== name && asked !== EVERY) return undefined;
  process.stdout.write(`replaying ${name} with ${seed}\n`);
  return seed;
}

export const isReplay = (): boolean => process.env.ONESPACE_REPLAY !== undefined;

export const replayLine = (name: string, seed: string | number): string =>
  `To see it again: npm run replay -- ${name} ${seed}`;

/**
 * Runs `run` with the seeds from 1 to `count`, or with the one that is asked for. True when all
 * have run, so that what they reached together can be judged.
 */
export function eachSeed(name: string, count: number, run: (seed: number) => void): boolean {
  const asked = askedSeed(name);
  const seeds = asked === undefined ? count : 1;
  for (let i = 0; i < seeds; i++) {
    const seed = asked === undefined ? 1 + i : Number(asked);
    try {
      run(seed);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`seed ${seed}: ${reason}\n${replayLine(name, seed)}`, { cause: error });
    }
  }
  return asked === undefined;
}

/**
 * What `fc.assert` is to be given as its parameters: `parameters`, or those that run the program
 * that is asked for, as it was made smaller. Its seed is written `seed/path`.
 */
export function replayable<T>(name: string, parameters: fc.Parameters<T> = {}): fc.Parameters<T> {
  const asked = askedSeed(name)?.split("/");
  const own = asked === undefined ? {} : { seed: Number(asked[0]) };
  // A path is a place in the tree of smaller programs. Without one all programs run.
  const path = asked?.[1] === undefined ? {} : { path: asked[1], endOnFailure: true };
  return { ...parameters, ...own, ...path, reporter: (details) => reportOf(name, details) };
}

function reportOf<T>(name: string, details: fc.RunDetails<T>): void {
  if (!details.failed) return;
  const { seed, counterexamplePath, errorInstance } = details;
  const which = counterexamplePath === null ? `${seed}` : `${seed}/${counterexamplePath}`;
  const said = fc.defaultReportMessage(details) ?? "failed";
  const reason = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
  const message = [said, reason, replayLine(name, which)].join("\n");
  throw new Error(message, { cause: errorInstance });
}
