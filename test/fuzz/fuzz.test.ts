/**
 * Random programs on the engine against the model. `FUZZ_PROGRAMS` says how many (2,000), and
 * `FUZZ_SEED` which. A failure shows the smallest program that still fails, as trace lines, and
 * how to see it again.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isReplay, replayable, replayLine } from "../replay/replay.ts";
import { ClaimCount } from "./claim.ts";
import { type Program, programs } from "./program.ts";
import { type MakeStage, makeSession, runProgram, traceLines } from "./run-program.ts";
import { makeSmaller } from "./smaller.ts";

const SEED = Number(process.env.FUZZ_SEED ?? 1);
const PROGRAMS = Number(process.env.FUZZ_PROGRAMS ?? 2000);
/** A program takes some 30 ms, many more on a busy machine. */
const TIMEOUT = 300_000 + PROGRAMS * 200;

interface FuzzOptions {
  readonly programs: number;
  readonly count: ClaimCount;
  readonly makeStage?: MakeStage;
}

/** The report of the first failing program, made small; undefined when all is well. */
function fuzz({ programs: numRuns, count, makeStage }: FuzzOptions): string | undefined {
  const options = makeStage === undefined ? { count } : { count, makeStage };
  const isFine = (program: Program): boolean => runProgram(program, options) === undefined;
  const property = fc.property(programs, isFine);
  const parameters = { seed: SEED, numRuns, endOnFailure: true };
  const details = fc.check(property, replayable<[Program]>("fuzz", parameters));
  if (!details.failed) return undefined;
  const found = details.counterexample![0];
  const small = makeSmaller(found, (program) => !isFine(program));
  const failure = runProgram(small, options)!;
  const seed = `${details.seed}/${details.counterexamplePath}`;
  return `${traceLines(failure.ops)}\n${failure.reason}\n${replayLine("fuzz", seed)}`;
}

describe("random programs", () => {
  it(
    "see what the model says",
    () => {
      const count = new ClaimCount();
      expect(fuzz({ programs: PROGRAMS, count })).toBeUndefined();
      if (isReplay()) return;
      expect(count.codes).toBeGreaterThan(20 * PROGRAMS);
      expect(count.words).toBeGreaterThan(20 * PROGRAMS);
    },
    TIMEOUT,
  );
});

/** A session whose answers, or whose memory, a test has spoiled. */
type Spoil = (
  run: (actor: string, op: string, args: readonly (string | number)[]) => unknown,
) => typeof run;

describe("the fuzzer notices", () => {
  const report = (spoil: Spoil): string | undefined =>
    fuzz({
      programs: 300,
      count: new ClaimCount(),
      makeStage: (program) => {
        const session = makeSession(program);
        const run = spoil((actor, op, args) => session.run(actor, op, args));
        return {
          run: (actor, op, args) => run(actor, op, args) as ReturnType<typeof session.run>,
          check: () => session.check(),
          close: () => session.close(),
        };
      },
    });

  it("a load that gives something else", () => {
    const found = report((run) => (actor, op, args) => {
      const answer = run(actor, op, args) as { v?: string };
      return op === "load" && answer.v === "0" ? { ...answer, v: "1" } : answer;
    });
    expect(found).toContain('"op":"load"');
    expect(found).toContain("v[0] is 1, not 0");
  });

  it("a move to a device that changes what is read", () => {
    const found = report((run) => (actor, op, args) => {
      const answer = run(actor, op, args) as { r: string };
      if (op === "to_dev" && answer.r === "OK") run(actor, "store", [args[1]!, args[2]!, "bad"]);
      return answer;
    });
    expect(found).toContain('"op":"to_dev"');
    expect(found).toContain("is bad, not");
  });

  it("a store of the child that the parent sees", () => {
    const found = report((run) => (actor, op, args) => {
      if (actor === "C" && op === "store") run("P", op, args);
      return run(actor, op, args);
    });
    expect(found).toContain('"actor":"C","op":"store"');
  });

  it("an advice that does nothing", () => {
    const found = report(
      (run) => (actor, op, args) =>
        op === "madvise" && args[3] === "dontneed" ? { r: "OK" } : run(actor, op, args),
    );
    expect(found).toContain("dontneed");
  });

  it("a broken invariant", () => {
    const found = report((run) => (actor, op, args) => {
      if (op === "mprotect") throw new Error("an assertion");
      return run(actor, op, args);
    });
    expect(found).toContain("an assertion");
  });
});
