/**
 * # machine/lang: kernels written in TypeScript
 *
 * A function's own text becomes two texts: WGSL for the device, and JavaScript that computes the
 * same on this thread.
 *
 * **Nouns.** *Literal*: an integer of the text, or a name that holds only such; its use settles its
 * type. *Intermediate form* (`ir.ts`): a kernel with every type known; both texts are written from
 * it. *Tool*: what a kernel knows by name or from its third parameter. *Helper*: a function of
 * `uses`, lowered anew for each set of operand types. *Refusal*: what is not in the subset.
 *
 * **Invariants.**
 * - A text that is taken means what it means in JavaScript, as long as integers stay within the 32
 *   bits of their type; beyond, both sides wrap alike.
 * - WGSL that is written here compiles: what is constant is computed beforehand, by the rules of
 *   the JavaScript side.
 * - Nothing is loaded that the text would not load: what is not chosen, or stands behind `&&`.
 * - No name in the texts is one that the program chose without being looked at.
 *
 * **Locks.** None: a function in, text out.
 *
 * **Example.** `const { wgsl, runHere } = compileKernel({ name, args, code, uses });`
 *
 * **What it refuses.** What has no meaning on a GPU (objects, closures, text, exceptions), what
 * means two things (`==`, u32 mixed with i32), and free names that nobody handed over.
 */

import type { ArgsSchema } from "../args.ts";
import { hmmError } from "../error.ts";
import { refused } from "./call-site.ts";
import { lowerKernel } from "./lower.ts";
import { Refusal } from "./refusal.ts";
import {
  jsFunction,
  type KernelMemory,
  NESTING_MAX,
  nestingOf,
  type RunHere,
  wgslText,
} from "./text/index.ts";

export {
  atomicAdd,
  atomicAnd,
  atomicCompareExchange,
  atomicExchange,
  atomicLoad,
  atomicMax,
  atomicMin,
  atomicOr,
  atomicStore,
  atomicSub,
  atomicXor,
} from "./atomic-functions.ts";
export type { KernelMemory, RunHere } from "./text/index.ts";
export {
  type KernelFunction,
  type KernelPtr,
  type KernelValues,
  type KernelVector,
  type MakeVector,
  NULL,
  type Null,
  type Toolkit,
} from "./value-types.ts";

interface FunctionSource {
  /** For messages. */
  readonly name: string;
  readonly args: ArgsSchema;
  readonly code: unknown;
  /** Constants, and functions that the code calls. */
  readonly uses: Readonly<Record<string, unknown>>;
}

interface CompiledKernel {
  readonly wgsl: string;
  /** The same over `memory`. */
  runHere(memory: KernelMemory): RunHere;
}

/** Throws EINVAL, with file, line and column, for what is not in the subset. */
export function compileKernel({ name, args, code, uses }: FunctionSource): CompiledKernel {
  try {
    const program = lowerKernel(args, code, uses);
    const wgsl = wgslText(program);
    checkNesting(name, wgsl);
    return { wgsl, runHere: (memory) => jsFunction(program, memory) };
  } catch (error) {
    throw error instanceof Refusal ? refused(name, error) : error;
  }
}

function checkNesting(kernel: string, wgsl: string): void {
  const depth = nestingOf(wgsl);
  if (depth <= NESTING_MAX) return;
  const rule = `compilers for GPUs take ${NESTING_MAX}; name parts of it, or use functions`;
  const detail = `it is nested ${depth} deep, and ${rule}`;
  throw hmmError({ code: "EINVAL", call: "kernel", detail, kernel });
}
