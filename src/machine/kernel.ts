/**
 * A kernel: WGSL code with typed arguments, to be run many times. Pointers in it are the
 * program's own addresses.
 */
import { errnoName } from "../base/index.ts";
import type { KernelSource, LaunchOutcome, LaunchProgress } from "../driver/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { accessorsOf } from "./accessors.ts";
import { type ArgsLayout, type ArgsSchema, type ArgValues, argsOf } from "./args.ts";
import { errorCode, type HmmError, hmmError, invalid } from "./error.ts";
import { type PtrSchema, type Schema, targetOf } from "./schema.ts";
import type { Tasks } from "./tasks.ts";

export interface KernelOptions<Args extends ArgsSchema> {
  /** For messages. Default "kernel". */
  readonly name?: string;
  readonly args: Args;
  /** WGSL with a function `main(i: u32)`, called once for every i below the count. */
  readonly code: string;
  /** Structs whose accessors the code uses and no argument points to, directly or not. */
  readonly structs?: readonly Schema[];
}

/** What one run did. */
export interface LaunchReport {
  readonly invocations: number;
  /** Submissions until all invocations had finished. */
  readonly rounds: number;
  /** Faults of the device: distinct (page, access) pairs, summed over rounds. */
  readonly faults: number;
  readonly pagesToDevice: number;
  readonly pagesToHost: number;
  readonly bytesToDevice: number;
  readonly bytesToHost: number;
  /** Pages sent home, or copies thrown away, to make room. */
  readonly evictions: number;
  /** Most pages on the device at any time of the run. */
  readonly peakPages: number;
  readonly milliseconds: number;
}

export interface RunOptions {
  readonly signal?: AbortSignal;
  /** Called after each round. */
  readonly onProgress?: (progress: LaunchProgress) => void;
}

/** What a kernel needs of its machine. */
export interface KernelHost {
  readonly tasks: Tasks;
  /** Throws ENODEV when there is no device. */
  launch(request: {
    readonly source: KernelSource;
    readonly count: number;
    readonly args: ArrayBuffer;
    readonly onProgress?: (progress: LaunchProgress) => void;
    readonly isAborted: () => boolean;
  }): Sleeps<LaunchOutcome>;
}

const COUNT_MAX = 2 ** 32 - 1;

export class Kernel<Args extends ArgsSchema> {
  readonly name: string;
  readonly #host: KernelHost;
  readonly #args: ArgsLayout<Args>;
  readonly #source: KernelSource;

  constructor(host: KernelHost, options: KernelOptions<Args>) {
    this.name = options.name ?? "kernel";
    this.#host = host;
    if (typeof options.code !== "string" || options.code.trim() === "") {
      throw invalid("kernel", `code of ${this.name} must be WGSL text, got ${typeof options.code}`);
    }
    this.#args = argsOf(options.args);
    const schemas = [...pointees(options.args), ...(options.structs ?? [])];
    this.#source = {
      name: this.name,
      code: options.code,
      argsStruct: this.#args.wgsl,
      accessors: accessorsOf(schemas),
    };
  }

  /**
   * Runs `main(i)` for i from 0 to `count` - 1. Resolves when all have finished; each one's
   * stores have happened exactly once. Rejects with an `HmmError` that names the kernel, and for
   * a bad access its address and reason; then invocations that had finished have had their
   * effect, the others none.
   */
  async run(
    count: number,
    values: ArgValues<Args>,
    options: RunOptions = {},
  ): Promise<LaunchReport> {
    if (!Number.isInteger(count) || count <= 0 || count > COUNT_MAX) {
      throw invalid("run", `count must be an integer in 1..${COUNT_MAX}, got ${String(count)}`);
    }
    const args = new ArrayBuffer(Math.max(16, this.#args.bytes));
    this.#args.write(new DataView(args), values);
    const { signal, onProgress } = options;
    const started = performance.now();
    const outcome = await this.#host.tasks.run(
      `run ${this.name}`,
      this.#host.launch({
        source: this.#source,
        count,
        args,
        isAborted: () => signal?.aborted === true,
        ...(onProgress === undefined ? {} : { onProgress }),
      }),
    );
    if (outcome.result < 0) throw this.#errorOf(outcome, signal);
    return { ...outcome.stats, milliseconds: performance.now() - started };
  }

  #errorOf(outcome: LaunchOutcome, signal: AbortSignal | undefined): HmmError {
    const { refusal } = outcome;
    return hmmError({
      code: errorCode(outcome.result),
      call: "run",
      detail: refusal?.reason ?? errnoName(outcome.result),
      kernel: this.name,
      cause: outcome.cause ?? signal?.reason,
      ...(refusal?.address === undefined ? {} : { address: refusal.address }),
      ...(refusal?.write === undefined ? {} : { access: refusal.write ? "write" : "read" }),
      ...(refusal?.invocation === undefined ? {} : { invocation: refusal.invocation }),
    });
  }
}

/** The structs that the arguments point to; what those point to is found by the accessors. */
function pointees(args: ArgsSchema): Schema[] {
  return Object.values(args)
    .filter((schema): schema is PtrSchema => schema.kind === "ptr")
    .map(targetOf);
}
