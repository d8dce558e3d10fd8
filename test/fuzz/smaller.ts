/** The smallest program that still fails: without what is not needed, with small numbers. */
import type { Program, ProgramOp } from "./program.ts";

type Fails = (program: Program) => boolean;

export function makeSmaller(program: Program, fails: Fails): Program {
  const test = (ops: readonly ProgramOp[]): boolean => fails({ ops });
  let { ops } = program;
  for (;;) {
    const before = ops;
    ops = withSmallerNumbers(withFewer(ops, test), test);
    if (ops === before) return { ops };
  }
}

type Test = (ops: readonly ProgramOp[]) => boolean;

/** Leaves out halves, then quarters, down to single operations. */
function withFewer(all: readonly ProgramOp[], test: Test): readonly ProgramOp[] {
  let ops = all;
  for (let size = Math.ceil(ops.length / 2); ; size = Math.ceil(size / 2)) {
    for (let i = 0; i < ops.length; ) {
      const fewer = ops.toSpliced(i, size);
      if (test(fewer)) ops = fewer;
      else i += size;
    }
    if (size <= 1) return ops;
  }
}

function withSmallerNumbers(all: readonly ProgramOp[], test: Test): readonly ProgramOp[] {
  let ops = all;
  for (let i = 0; i < ops.length; i++) {
    for (let arg = 0; arg < ops[i]!.args.length; arg++) {
      const value = ops[i]!.args[arg]!;
      if (typeof value === "string") continue;
      for (const smaller of [0, 1, 2, value >> 1, value - (value >> 2), value - 1]) {
        // a large number that matters is not worth a thousand steps
        if (smaller < 0 || smaller >= value || (value > 32 && smaller === value - 1)) continue;
        const changed = ops.with(i, {
          ...ops[i]!,
          args: ops[i]!.args.with(arg, smaller),
        });
        if (!test(changed)) continue;
        ops = changed;
        break;
      }
    }
  }
  return ops;
}
