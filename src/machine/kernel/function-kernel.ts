/** A kernel whose code is a function: it runs on the device, or here as JavaScript. */
import { formatAddress } from "../../base/index.ts";
import { type ArgsLayout, type ArgsSchema, type ArgValues, argsOf } from "../args.ts";
import type { EnginePort } from "../engine/index.ts";
import { HmmError, hmmError, invalid } from "../error.ts";
import { checkOptions, show } from "../given.ts";
import {
  compileKernel,
  type KernelFunction,
  type KernelMemory,
  type RunHere,
} from "../lang/index.ts";
import type { MemoryAccess } from "../memory-access.ts";
import { type Count, gridOf } from "./grid.ts";
import { Kernel } from "./kernel.ts";

/** What a kernel's function is given besides its arguments. */
export type KernelUses = Readonly<Record<string, unknown>>;

/** Nothing else is handed over. */
export type NoUses = Readonly<Record<never, unknown>>;

export interface FunctionKernelOptions<Uses extends KernelUses = KernelUses> {
  /** For messages. Default: the function's own name, or "kernel". */
  readonly name?: string;
  /**
   * Numbers, booleans and functions that it may use: by these names, or from its third parameter
   * (where a minifier renames, only so).
   */
  readonly uses?: Uses;
}

interface Parts {
  readonly port: EnginePort;
  readonly memory: MemoryAccess;
}

export class FunctionKernel<Args extends ArgsSchema> extends Kernel<Args> {
  /** What the function became for the device. */
  readonly wgsl: string;
  readonly #port: EnginePort;
  readonly #layout: ArgsLayout<Args>;
  readonly #compiled: ReturnType<typeof compileKernel>;
  readonly #memory: KernelMemory;
  // Made at the first call of `runHere`.
  #runHere: RunHere | undefined;

  constructor(
    { port, memory }: Parts,
    args: Args,
    code: KernelFunction<Args> | undefined,
    options: FunctionKernelOptions = {},
  ) {
    if (typeof options === "object" && options !== null && "workgroupSize" in options) {
      throw invalid(
        "kernel",
        `workgroupSize is for kernels in WGSL; one in TypeScript has no groups`,
      );
    }
    checkOptions("kernel", options, ["name", "uses"]);
    const { uses = {} } = options;
    if (typeof uses !== "object" || uses === null) {
      throw invalid("kernel", `uses must be { name: value, … }, got ${show(uses)}`);
    }
    const name = options.name ?? (typeof code === "function" ? code.name || "kernel" : "kernel");
    const layout = argsOf(args);
    const compiled = compileKernel({ name: String(name), args, code, uses });
    super(port, { name, args, code: compiled.wgsl }, false);
    this.wgsl = compiled.wgsl;
    this.#port = port;
    this.#layout = layout;
    this.#compiled = compiled;
    this.#memory = { ...wordsOf(memory), need: (...access) => need(memory, ...access), outside };
  }

  /**
   * The same, here and now: for i from 0 on, as `run` counts, on this thread, in that order,
   * synchronous. Integers come out to the bit as on the device; floats as WGSL allows
   * (docs/kernels.md). Throws as views do, naming the invocation: EFAULT, and without page faults
   * EAGAIN for what is on the device (`populate` it first). Then what ran before has had its
   * effect, the one that failed a part of it. An endless loop is one.
   */
  runHere(count: Count, values: ArgValues<Args>): void {
    this.#port.check("runHere");
    const [x, y, z] = gridOf("runHere", count);
    const words = this.#layout.words(values, "runHere");
    this.#runHere ??= this.#compiled.runHere(this.#memory);
    this.#runHere(x * y * z, words, (error, invocation) => this.#failed(error, invocation));
  }

  #failed(error: unknown, invocation: number): unknown {
    if (!(error instanceof HmmError)) return error;
    const { cause } = error;
    return new HmmError({ ...error, call: "runHere", cause, kernel: this.name, invocation });
  }
}

const wordsOf = ({ u32, i32, f32 }: MemoryAccess): Omit<KernelMemory, "need" | "outside"> => ({
  u32,
  i32,
  f32,
});

function need(memory: MemoryAccess, address: number, bytes: number, write: boolean): void {
  if ((address & 3) !== 0) throw misaligned(address, write);
  memory.need(address, bytes, write);
}

function outside(index: number, length: number): never {
  const detail = `index ${index} is outside of an array of ${length} of the kernel's own`;
  throw hmmError({ code: "EFAULT", call: "runHere", detail });
}

function misaligned(address: number, write: boolean): HmmError {
  const detail = `${formatAddress(address)} is no multiple of 4`;
  const access = write ? "write" : "read";
  return hmmError({ code: "EFAULT", call: "runHere", detail, address, access });
}
