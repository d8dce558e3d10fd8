/**
 * A kernel: WGSL code with typed arguments, to be run many times. Pointers in it are the
 * program's own addresses.
 */
import { errnoName, SPACE_BYTES } from "../../base/index.ts";
import type {
  KernelSource,
  LaunchEnd,
  LaunchOutcome,
  LaunchProgress,
  LaunchStats,
} from "../../driver/index.ts";
import { accessorsOf } from "../accessors.ts";
import { type ArgsLayout, type ArgsSchema, type ArgValues, argsOf } from "../args.ts";
import type { Ask, CallOptions, EnginePort } from "../engine/index.ts";
import { errorCode, type HmmError, hmmError, invalid } from "../error.ts";
import { checkOptions, show } from "../given.ts";
import { ask, askSync, prefetchRange } from "../place/index.ts";
import { isSchema, type PtrSchema, type Schema, targetOf } from "../schema.ts";
import { type Count, gridOf, groupOf } from "./grid.ts";

export interface KernelOptions<Args extends ArgsSchema> {
  /** For messages. Default "kernel". */
  readonly name?: string;
  readonly args: Args;
  /**
   * WGSL with a function `main(i: u32)`, called once for every i below the count; it may take
   * WGSL's builtins as well (docs/kernels-wgsl.md).
   */
  readonly code: string;
  /** Structs whose accessors the code uses and no argument points to, directly or not. */
  readonly structs?: readonly Schema[];
  /**
   * Invocations in x, y and z that share `var<workgroup>` and barriers; all of a group have had no
   * effect when one of them has to run again. Default: each runs alone.
   */
  readonly workgroupSize?: number | readonly [x: number, y?: number, z?: number];
}

/** What one run did. */
export interface LaunchReport extends LaunchStats {
  /** From the call to the answer. */
  readonly milliseconds: number;
}

export interface LimitOptions {
  /** ETIMEDOUT when it has not finished so many milliseconds after its turn has come. */
  readonly timeLimit?: number;
}

export interface RunOptions extends LimitOptions {
  /** Ends the run with EINTR. */
  readonly signal?: AbortSignal;
  /** Called after each round. If it throws, the run is aborted, and rejects with that as cause. */
  readonly onProgress?: (progress: LaunchProgress) => void;
}

export class Kernel<Args extends ArgsSchema> {
  readonly name: string;
  readonly #port: EnginePort;
  readonly #args: ArgsLayout<Args>;
  readonly #source: KernelSource;
  // What the engine calls this kernel, once it knows it.
  #number: number | undefined;

  /** `hasAccessors`: the code may call `Node_key(p)` and its like. */
  constructor(port: EnginePort, options: KernelOptions<Args>, hasAccessors = true) {
    checkOptions("kernel", options, ["name", "args", "code", "structs", "workgroupSize"]);
    const { name = "kernel", code, structs = [] } = options;
    if (typeof name !== "string") throw invalid("kernel", `name must be text, got ${show(name)}`);
    this.name = name;
    this.#port = port;
    if (typeof code !== "string" || code.trim() === "") {
      throw invalid("kernel", `code of ${name} must be WGSL text, got ${show(code)}`);
    }
    this.#args = argsOf(options.args);
    if (!Array.isArray(structs) || !structs.every(isSchema)) {
      throw invalid("kernel", `structs must be an array of schemas, got ${show(structs)}`);
    }
    const group = groupOf(options.workgroupSize);
    const schemas = [...pointees(options.args), ...structs];
    this.#source = {
      name: this.name,
      code,
      argsStruct: this.#args.wgsl,
      accessors: hasAccessors ? accessorsOf(schemas) : "",
      ...(group === undefined ? {} : { group }),
    };
  }

  /**
   * Runs `main(i)` for i from 0 to `count` - 1, or for all places of a grid. Resolves when all
   * have finished; each one's stores have happened exactly once. Rejects with an `HmmError` that
   * names the kernel, and for a bad access its address and reason; then invocations that had
   * finished have had their effect, the others none (but for their atomics). An invocation that
   * takes longer than 1.5 s by itself (or than `timeLimit`, if that is more) ends the run with
   * ETIMEDOUT: nothing can stop a GPU. So an abort and a time limit take effect when the round
   * that runs is over: after 0.6 s at most, or longer where the cores of a software device have
   * other things to do.
   */
  async run(
    count: Count,
    values: ArgValues<Args>,
    options: RunOptions = {},
  ): Promise<LaunchReport> {
    this.#port.check("run");
    checkOptions("run", options, ["timeLimit", "signal", "onProgress"]);
    const guard = new ProgressGuard(options);
    const what = this.#askOf("run", count, values, options);
    const started = performance.now();
    const outcome = await ask({ port: this.#port, call: "run" }, "run", what, guard.callOptions);
    this.#number = outcome.kernel;
    guard.check(this.name);
    return this.#reportOf("run", outcome, started, options.signal);
  }

  /**
   * The same for code that cannot await: blocks this thread. Throws EAGAIN where the engine, and
   * with it the device, lives on this thread.
   */
  runSync(count: Count, values: ArgValues<Args>, options: LimitOptions = {}): LaunchReport {
    this.#port.check("runSync");
    checkOptions("runSync", options, ["timeLimit"]);
    const what = this.#askOf("runSync", count, values, options);
    const started = performance.now();
    if (!this.#port.canBlock) {
      const detail = "it has to wait, and this thread would wait for itself; await run(…)";
      throw hmmError({ code: "EAGAIN", call: "runSync", detail, kernel: this.name });
    }
    const outcome = askSync({ port: this.#port, call: "runSync" }, "run", what);
    this.#number = outcome.kernel;
    return this.#reportOf("runSync", outcome, started);
  }

  /**
   * Compiles it, and brings the arrays and structs among `values` to the device as copies to read:
   * what the first run would do otherwise. Never needed. Rejects with EINVAL for bad code and
   * arguments, ENODEV without a device.
   */
  async prepare(values?: ArgValues<Args>): Promise<void> {
    this.#port.check("prepare");
    const places = values === undefined ? [] : this.#args.places(values, "prepare");
    const outcome = await this.#port.call("prepare", { kernel: this.#number ?? this.#source });
    this.#number = outcome.kernel;
    if (outcome.result < 0) throw this.#errorOf("prepare", outcome, undefined);
    for (const place of places.filter(({ isView }) => isView)) {
      await prefetchRange({ port: this.#port, call: "prepare" }, place, "device", false);
    }
  }

  #askOf(
    call: string,
    invocations: Count,
    values: ArgValues<Args>,
    { timeLimit }: LimitOptions,
  ): Ask<"run"> {
    const grid = gridOf(call, invocations, this.#source.group);
    const count = grid[0] * grid[1] * grid[2];
    const isLimit = typeof timeLimit === "number" && timeLimit > 0;
    if (timeLimit !== undefined && !isLimit) {
      throw invalid(call, `timeLimit must be a number above 0, got ${show(timeLimit)}`);
    }
    const args = new ArrayBuffer(Math.max(16, this.#args.bytes));
    this.#args.write(new DataView(args), values, call);
    const kernel = this.#number ?? this.#source;
    const views = this.#args
      .places(values, call)
      .filter(({ start, bytes }) => bytes > 0 && start + bytes <= SPACE_BYTES);
    return { kernel, count, grid, args, views, ...(timeLimit === undefined ? {} : { timeLimit }) };
  }

  #reportOf(
    call: string,
    outcome: LaunchOutcome,
    started: number,
    signal?: AbortSignal,
  ): LaunchReport {
    if (outcome.result < 0) throw this.#errorOf(call, outcome, signal);
    return { ...outcome.stats, milliseconds: performance.now() - started };
  }

  #errorOf(call: string, outcome: LaunchEnd, signal: AbortSignal | undefined): HmmError {
    const { refusal } = outcome;
    return hmmError({
      code: errorCode(outcome.result),
      call,
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

/** Calls `onProgress` so that what it throws ends the run, and is told apart from its failures. */
class ProgressGuard {
  readonly callOptions: CallOptions;
  #failure: { readonly cause: unknown } | undefined;

  constructor({ onProgress, signal }: RunOptions) {
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
      throw invalid("run", `signal must be an AbortSignal, got ${show(signal)}`);
    }
    if (onProgress !== undefined && typeof onProgress !== "function") {
      throw invalid("run", `onProgress must be a function, got ${show(onProgress)}`);
    }
    if (onProgress === undefined) {
      this.callOptions = signal === undefined ? {} : { signal };
      return;
    }
    const own = new AbortController();
    const tell = (progress: LaunchProgress): void => {
      if (this.#failure !== undefined) return;
      try {
        onProgress(progress);
      } catch (cause) {
        this.#failure = { cause };
        own.abort();
      }
    };
    const signals = signal === undefined ? [own.signal] : [own.signal, signal];
    this.callOptions = { onProgress: tell, signal: AbortSignal.any(signals) };
  }

  check(kernel: string): void {
    if (this.#failure === undefined) return;
    const { cause } = this.#failure;
    const said = cause instanceof Error ? cause.message : String(cause);
    const detail = `onProgress has thrown, so the run was aborted: ${said}`;
    throw hmmError({ code: "EINTR", call: "run", detail, kernel, cause });
  }
}
