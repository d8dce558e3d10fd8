/**
 * A launch: rounds of submissions until every invocation has finished. A round runs the batch;
 * those that miss a page record a fault, have no effect, and run again after the faults are
 * served. Each round finishes an invocation or serves a fault, or the launch ends with an error.
 */
import { EINTR, EINVAL, EIO, ENODEV, ENOMEM, PAGE_SIZE, type Result } from "../../base/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { eventId } from "../../trace/index.ts";
import { Admission, BATCH_MAX } from "./admission.ts";
import { awaitPromise } from "./await.ts";
import { type Compiled, GpuError, type LaunchList } from "./gpu.ts";
import { serveRound } from "./service.ts";
import type { WebGpuDevice } from "./webgpu-device.ts";
import { KernelCompileError, type KernelSource } from "./wgsl.ts";

const ROUND = eventId("device:round");
const SHRINK = eventId("device:shrink");
const START = eventId("launch:start");
const END = eventId("launch:end");

/** Pages served with one that faulted, while memory is plenty: 64 KiB. */
const AROUND_PAGES = 16;
/** Rounds in a row that may neither finish an invocation nor serve a fault. */
const IDLE_ROUNDS_MAX = 3;
/** The store log grows by doubling up to this; an invocation that stores more is an error. */
const LOG_MAX = 4096;

export interface LaunchProgress {
  /** Invocations that have finished. */
  readonly done: number;
  readonly count: number;
  readonly rounds: number;
  readonly faults: number;
}

export interface LaunchRequest {
  readonly source: KernelSource;
  readonly count: number;
  readonly args: ArrayBuffer;
  readonly onProgress?: (progress: LaunchProgress) => void;
  readonly isAborted: () => boolean;
}

export interface LaunchStats {
  readonly invocations: number;
  readonly rounds: number;
  readonly faults: number;
  readonly pagesToDevice: number;
  readonly pagesHome: number;
  readonly bytesToDevice: number;
  readonly bytesHome: number;
  readonly evictions: number;
  readonly peakPages: number;
}

export interface LaunchOutcome {
  /** 0 or a negated errno. */
  readonly result: Result;
  readonly stats: LaunchStats;
  /** Why it ended, when it failed. */
  readonly refusal?: {
    readonly reason: string;
    readonly address?: number;
    readonly write?: boolean;
    readonly invocation?: number;
  };
  readonly cause?: unknown;
}

type Failure = Omit<LaunchOutcome, "stats">;

/** Compiled forms of kernels, and the log sizes that they turned out to need. */
export class KernelCache {
  // KernelSource -> words of the store log
  readonly #logSizes = new WeakMap<KernelSource, number>();

  logSizeOf(source: KernelSource): number {
    return this.#logSizes.get(source) ?? firstLogSize(source);
  }

  grow(source: KernelSource): boolean {
    const size = Math.max(1, this.logSizeOf(source)) * 2;
    if (size > LOG_MAX) return false;
    this.#logSizes.set(source, size);
    return true;
  }
}

/** As many words as the code has calls of store functions: right for code without loops. */
function firstLogSize(source: KernelSource): number {
  let words = 0;
  for (const [, width] of source.code.matchAll(/\bstore_(?:vec([234])[uif]|[uif]32)\s*\(/g)) {
    words += width === undefined ? 1 : Number(width);
  }
  const setters = source.code.match(/\bset_[A-Za-z]\w*\s*\(/g)?.length ?? 0;
  return Math.min(LOG_MAX, words + setters);
}

/** Runs a kernel. Launches on one device take turns. */
export function* launch(
  device: WebGpuDevice,
  cache: KernelCache,
  request: LaunchRequest,
): Sleeps<LaunchOutcome> {
  using _launch = yield* device.launchLock.acquire();
  const run = new LaunchRun(device, cache, request);
  return yield* run.toEnd();
}

class LaunchRun {
  readonly #device: WebGpuDevice;
  readonly #cache: KernelCache;
  readonly #request: LaunchRequest;
  readonly #admission: Admission;
  readonly #before: WebGpuDevice["counters"];
  #rounds = 0;
  #faults = 0;
  #peak = 0;
  #idleRounds = 0;
  // Frames that came after this are the batch's.
  #epoch: number;

  constructor(device: WebGpuDevice, cache: KernelCache, request: LaunchRequest) {
    this.#device = device;
    this.#cache = cache;
    this.#request = request;
    this.#admission = new Admission(request.count);
    this.#before = { ...device.counters };
    this.#epoch = device.memory.frames.arrivals;
  }

  *toEnd(): Sleeps<LaunchOutcome> {
    const { tracer } = this.#device.space.memory;
    tracer.emit(START, this.#device.memory.pagemap.id, this.#request.count, 0);
    let failure: Failure | undefined;
    let list: LaunchList | undefined;
    try {
      list = this.#device.gpu.newList(this.#request.args, Math.min(this.#request.count, BATCH_MAX));
      failure = yield* this.#runRounds(list);
    } catch (error) {
      failure = this.#failureOf(error);
    } finally {
      list?.destroy();
    }
    tracer.emit(END, this.#device.memory.pagemap.id, failure?.result ?? 0, 0);
    return { ...(failure ?? { result: 0 }), stats: this.#stats() };
  }

  *#runRounds(list: LaunchList): Sleeps<Failure | undefined> {
    const { count } = this.#request;
    const { frames } = this.#device.memory;
    let compiled = yield* this.#compile();
    let fresh = 0;
    while (fresh < count || list.pending > 0) {
      if (this.#request.isAborted()) return { result: -EINTR, refusal: { reason: "aborted" } };
      if (this.#admission.left === 0) {
        this.#admission.begin(list.pending + count - fresh);
        this.#epoch = frames.arrivals;
      }
      const { left } = this.#admission;
      const retry = Math.min(left, list.pending);
      const begin = { first: fresh, count: left - retry };
      const round = yield* this.#device.round(() =>
        this.#device.gpu.runRound({ compiled, list, fresh: begin, retry }),
      );
      fresh += begin.count;
      this.#rounds++;
      this.#faults += round.faults.length >>> 1;
      this.#admission.finishRound(round.unfinished);
      if (round.logOverflow) {
        if (!this.#cache.grow(this.#request.source)) return tooManyStores();
        compiled = yield* this.#compile();
      }
      const failure = yield* this.#serve(list, round.faults);
      this.#report(fresh - list.pending);
      if (failure !== undefined) return failure;
      const isIdle = left === round.unfinished && round.faults.length === 0 && !round.logOverflow;
      this.#idleRounds = isIdle ? this.#idleRounds + 1 : 0;
      if (this.#idleRounds > IDLE_ROUNDS_MAX) {
        return { result: -EIO, refusal: { reason: "the kernel faults on nothing for ever" } };
      }
    }
    return undefined;
  }

  *#compile(): Sleeps<Compiled> {
    const { source } = this.#request;
    const logSize = this.#cache.logSizeOf(source);
    const { scheduler } = this.#device.space.memory;
    return yield* awaitPromise(
      scheduler,
      this.#device.gpu.compile(source, logSize),
      "a kernel to compile",
    );
  }

  /** Serves the faults of a round, giving the batch less to do when there is no room. */
  *#serve(list: LaunchList, faults: Uint32Array): Sleeps<Failure | undefined> {
    const { tracer } = this.#device.space.memory;
    if (faults.length === 0) return undefined;
    tracer.emit(ROUND, this.#device.memory.pagemap.id, faults.length >>> 1, list.pending);
    const around = this.#admission.isTight ? 1 : AROUND_PAGES;
    const keepAfter = this.#epoch;
    const served = yield* serveRound(this.#device, faults, { around, keepAfter });
    this.#peak = Math.max(this.#peak, this.#device.memory.residentPages);
    if (served.kind === "served") return undefined;
    if (served.kind === "refused") {
      const { result, reason, address, write } = served.refusal;
      return { result, refusal: { reason, address, write } };
    }
    if (this.#admission.shrink()) {
      tracer.emit(SHRINK, this.#device.memory.pagemap.id, this.#admission.left, 0);
      this.#epoch = this.#device.memory.frames.arrivals;
      return undefined;
    }
    return yield* this.#tooLarge(list);
  }

  /** One invocation alone needs more than there is. */
  *#tooLarge(list: LaunchList): Sleeps<Failure> {
    const { scheduler } = this.#device.space.memory;
    const invocation = yield* awaitPromise(
      scheduler,
      this.#device.gpu.firstPending(list),
      "a readback",
    );
    const bytes = this.#device.memory.capacity * PAGE_SIZE;
    const reason = `one invocation needs more than the ${bytes} bytes of device memory at once`;
    return { result: -ENOMEM, refusal: { reason, invocation } };
  }

  #report(done: number): void {
    const { count, onProgress } = this.#request;
    onProgress?.({ done, count, rounds: this.#rounds, faults: this.#faults });
  }

  #failureOf(error: unknown): Failure {
    if (error instanceof KernelCompileError) {
      return { result: -EINVAL, refusal: { reason: error.message }, cause: error };
    }
    // Anything else is a bug of ours: it must not look like a failing GPU.
    if (!(error instanceof GpuError)) throw error;
    const { failure } = this.#device;
    const lost = this.#device.gpu.lossReason;
    const reason = lost === undefined ? "the GPU failed" : `the GPU is lost: ${lost}`;
    const stranded = this.#device.memory.frames.pageCount;
    const loss = stranded === 0 ? "" : `; ${stranded} pages that only it had are lost`;
    return { result: -ENODEV, refusal: { reason: reason + loss }, cause: failure ?? error };
  }

  #stats(): LaunchStats {
    const now = this.#device.counters;
    const before = this.#before;
    const pagesToDevice = now.pagesToDevice - before.pagesToDevice;
    const pagesHome = now.pagesHome - before.pagesHome;
    const dropped = now.copiesDropped - before.copiesDropped;
    return {
      invocations: this.#request.count,
      rounds: this.#rounds,
      faults: this.#faults,
      pagesToDevice,
      pagesHome,
      bytesToDevice: pagesToDevice * PAGE_SIZE,
      bytesHome: pagesHome * PAGE_SIZE,
      evictions: dropped + now.pagesEvicted - before.pagesEvicted,
      peakPages: this.#peak,
    };
  }
}

function tooManyStores(): Failure {
  const reason = `one invocation stores more than ${LOG_MAX} words`;
  return { result: -ENOMEM, refusal: { reason } };
}
