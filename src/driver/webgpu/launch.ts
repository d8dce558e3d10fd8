/**
 * A launch: rounds of submissions until every invocation has finished. A round runs the batch, or
 * as much of it as a round may do; those that miss a page record a fault, have no effect, and run
 * again after the faults are served. Each round finishes an invocation, serves a fault or gives
 * one more room or time, or the launch ends with an error.
 */
import { EINTR, EINVAL, EIO, ENOMEM, ETIMEDOUT, PAGE_SHIFT, PAGE_SIZE } from "../../base/index.ts";
import type { Scheduler, Sleeps } from "../../sync/index.ts";
import { eventId } from "../../trace/index.ts";
import { Admission, BATCH_MAX } from "./admission.ts";
import { bringAround, bringBefore, sendHome } from "./advice.ts";
import { awaitPromise } from "./await.ts";
import { LOG_WORDS_MAX } from "./buffers/index.ts";
import { bringAll, type LaunchView, reachedBy } from "./fill.ts";
import type { GridSize, LaunchList, RoundResult } from "./gpu.ts";
import type { KernelCache } from "./kernel-cache.ts";
import { failureOf, type LaunchEnd, type LaunchOutcome } from "./launch-end.ts";
import { ALONE_MS, Pace } from "./pace.ts";
import { serveRound } from "./service.ts";
import { Shaders } from "./shaders.ts";
import { CountersBefore } from "./stats.ts";
import type { WebGpuDevice } from "./webgpu-device.ts";
import {
  blockChunks,
  type KernelSource,
  LOG_IS_FULL,
  NAMES_CHUNK,
  SPILL_IS_FULL,
} from "./wgsl/index.ts";

const ROUND = eventId("device:round");
const SHRINK = eventId("device:shrink");
const START = eventId("launch:start");
const END = eventId("launch:end");

/**
 * Pages served with one that faulted, while memory is plenty: 64 KiB, and four times as many each
 * time that all faults are where the pages that came for the last ones ended.
 */
const AROUND_PAGES = 16;
const AROUND_PAGES_MAX = 256;
/** Rounds in a row that may neither finish an invocation nor serve a fault. */
const IDLE_ROUNDS_MAX = 3;

export interface LaunchProgress {
  /** Invocations that have finished. */
  readonly done: number;
  readonly count: number;
  readonly rounds: number;
  readonly faults: number;
}

export interface LaunchRequest {
  readonly source: KernelSource;
  /** Invocations, or groups of them if the kernel has such. */
  readonly count: number;
  /** The same in x, y and z. Default: all in x. */
  readonly grid?: GridSize;
  readonly args: ArrayBuffer;
  /** Memory that it was given as such, or is pointed to: what is small of it comes beforehand. */
  readonly views?: readonly LaunchView[];
  readonly onProgress?: (progress: LaunchProgress) => void;
  readonly isAborted: () => boolean;
  /** How long it may run, once it is its turn. Milliseconds. */
  readonly timeLimit?: number;
}

type Failure = LaunchEnd;

/** Runs a kernel. Launches on one device take turns. */
export function* launch(
  device: WebGpuDevice,
  cache: KernelCache,
  request: LaunchRequest,
): Sleeps<LaunchOutcome> {
  const { line } = cache;
  try {
    const isMyTurn = yield* line.takeTurn(device.space.memory.scheduler, request);
    if (!isMyTurn) return new LaunchRun(device, cache, request).outcome(ABORTED);
    using _launch = yield* device.launchLock.acquire();
    return yield* new LaunchRun(device, cache, request).toEnd();
  } finally {
    line.leave(request);
  }
}

/** Compiles a kernel, so that its first launch need not. */
export function prepare(
  device: WebGpuDevice,
  cache: KernelCache,
  source: KernelSource,
): Sleeps<LaunchEnd> {
  const nothing = { source, count: 1, args: new ArrayBuffer(0), isAborted: () => false };
  return new LaunchRun(device, cache, nothing).prepare();
}

const COPY_FAILED = { reason: "a page cannot be copied to the device" };
const ABORTED: Failure = { result: -EINTR, refusal: { reason: "aborted" } };

class LaunchRun {
  readonly #device: WebGpuDevice;
  readonly #cache: KernelCache;
  readonly #request: LaunchRequest;
  readonly #admission: Admission;
  readonly #pace: Pace;
  readonly #shaders: Shaders;
  readonly #isAtomic: boolean;
  readonly #deadlineMs: number;
  readonly #before: CountersBefore;
  #rounds = 0;
  #faults = 0;
  #peak = 0;
  #idleRounds = 0;
  // Milliseconds of rounds that missed pages.
  #lostMs = 0;
  #around = AROUND_PAGES;
  // Pages that follow those which came for the last faults.
  readonly #nextPages = new Set<number>();
  // There was no room for what one group alone asked for: now it gets what it needs for certain.
  #isStrict = false;
  // Frames that came after this are the batch's.
  #epoch: number;

  constructor(device: WebGpuDevice, cache: KernelCache, request: LaunchRequest) {
    this.#device = device;
    this.#cache = cache;
    this.#request = request;
    this.#admission = new Admission(request.count);
    const { source, timeLimit } = request;
    this.#shaders = new Shaders(device, cache, source);
    this.#pace = new Pace({
      load: cache.loadOf(source),
      widthMax: BATCH_MAX,
      aloneMs: Math.max(ALONE_MS, timeLimit ?? 0),
      // It can only end between rounds.
      calmMs: (timeLimit ?? Number.POSITIVE_INFINITY) / 8,
    });
    this.#deadlineMs = this.#nowMs + (timeLimit ?? Number.POSITIVE_INFINITY);
    this.#isAtomic = cache.atomicsOf(source) > 0;
    this.#before = new CountersBefore(device);
    this.#epoch = device.memory.frames.arrivals;
  }

  get #scheduler(): Scheduler {
    return this.#device.space.memory.scheduler;
  }

  get #nowMs(): number {
    return this.#scheduler.nowMs;
  }

  *toEnd(): Sleeps<LaunchOutcome> {
    const { tracer } = this.#device.space.memory;
    tracer.emit(START, this.#device.memory.pagemap.id, this.#request.count, 0);
    let failure: Failure | undefined;
    let list: LaunchList | undefined;
    try {
      list = this.#takeList();
      failure = (yield* this.#bring()) ?? (yield* this.#runRounds(list));
      // What an endless one was given tells nothing of those that end.
      if (!failure) this.#cache.keepLoad(this.#request.source, this.#pace.firstLoad);
    } catch (error) {
      failure = failureOf(this.#device, error);
    } finally {
      if (list !== undefined) this.#device.gpu.keepList(list);
    }
    yield* sendHome(this.#device);
    tracer.emit(END, this.#device.memory.pagemap.id, failure?.result ?? 0, 0);
    return this.outcome(failure);
  }

  #takeList(): LaunchList {
    const { args, count, grid = [count, 1, 1], source } = this.#request;
    const { gpu } = this.#device;
    const { group } = source;
    const own = group && { invocations: this.#each, chunks: blockChunks(group) };
    gpu.records.begin(this.#cache.atomicsOf(source), own);
    return gpu.takeList(args, Math.min(count, BATCH_MAX), grid);
  }

  /** Invocations in what runs again as a whole. */
  get #each(): number {
    const [x, y, z] = this.#request.source.group ?? [1, 1, 1];
    return x * y * z;
  }

  get #one(): string {
    return this.#request.source.group === undefined ? "invocation" : "group of invocations";
  }

  /** Not while it waits for its turn: what others then run with is theirs. */
  *#bring(): Sleeps<Failure | undefined> {
    const { views = [] } = this.#request;
    const count = this.#request.count * this.#each;
    const isNew = !this.#shaders.isKnown;
    if (isNew) this.#shaders.begin();
    let result = yield* bringBefore(this.#device, views);
    if (result === 0 && isNew) {
      const reached = yield* reachedBy(this.#device, views, count);
      if (reached !== undefined) {
        this.#shaders.expectAll();
        result = yield* bringAll(this.#device, reached);
      }
    }
    return result === 0 ? undefined : { result, refusal: COPY_FAILED };
  }

  *prepare(): Sleeps<LaunchEnd> {
    try {
      yield* this.#shaders.prepare();
      return { result: 0 };
    } catch (error) {
      return failureOf(this.#device, error);
    }
  }

  outcome(failure: Failure | undefined): LaunchOutcome {
    const stats = this.#before.stats({
      invocations: this.#request.count * this.#each,
      rounds: this.#rounds,
      directRounds: this.#shaders.directRounds,
      faults: this.#faults,
      peakPages: this.#peak,
    });
    return { ...(failure ?? { result: 0 }), stats };
  }

  *#runRounds(list: LaunchList): Sleeps<Failure | undefined> {
    const { count } = this.#request;
    if (this.#isAtomic && count > NAMES_CHUNK) {
      const reason = `a kernel with atomics runs ${NAMES_CHUNK} times at most, not ${count} times`;
      return { result: -EINVAL, refusal: { reason } };
    }
    let fresh = 0;
    while (fresh < count || list.pending > 0) {
      if (this.#request.isAborted()) return ABORTED;
      if (this.#nowMs >= this.#deadlineMs) return yield* this.#tooLate(list, fresh);
      if (this.#admission.left === 0) {
        this.#admission.begin(list.pending + count - fresh);
        this.#isStrict = false;
        this.#epoch = this.#device.memory.frames.arrivals;
      }
      const { width: atomicWidth, isDraining } = this.#records;
      const width = Math.min(this.#admission.left, this.#pace.width, atomicWidth);
      if (width === 0) return yield* this.#tooManyAtomics(list, fresh);
      const retry = Math.min(width, list.pending);
      const begin = { first: fresh, count: isDraining ? 0 : width - retry };
      const ran = retry + begin.count;
      const { load } = this.#pace;
      const compiled = yield* this.#shaders.next(this.#rounds === 0);
      const round = yield* this.#device.round(() =>
        this.#device.gpu.runRound({ compiled, list, fresh: begin, retry, load }),
      );
      fresh += begin.count;
      this.#rounds++;
      this.#faults += round.faults.length >>> 1;
      // What the first round of all takes is the driver's own beginning.
      if (round.faults.length > 0 && this.#rounds > 1) this.#lostMs += round.milliseconds;
      this.#admission.finishRound(ran - round.unfinished);
      if (round.overflow === LOG_IS_FULL) {
        this.#cache.growLog(this.#request.source);
        this.#shaders.forget();
      }
      const { strays } = round;
      this.#shaders.finishRound(compiled, { ran, strays, faults: round.faults.length });
      const failure =
        (yield* this.#makeRoom(list, round, ran)) ??
        (yield* this.#serve(list, round.faults)) ??
        (yield* this.#keepPace(list, round, ran));
      this.#report(fresh - list.pending);
      if (failure !== undefined) return failure;
    }
    return undefined;
  }

  /** What keeps records of atomics has room for so many invocations. */
  get #records(): { readonly width: number; readonly isDraining: boolean } {
    return this.#isAtomic ? this.#device.gpu.records : { width: BATCH_MAX, isDraining: false };
  }

  /** There is no room for records of atomics, not even for one invocation. */
  *#tooManyAtomics(list: LaunchList, fresh: number): Sleeps<Failure> {
    const invocation = list.pending > 0 ? yield* this.#first(list) : fresh * this.#each;
    const reason = "invocations that wait for pages have made more atomics than can be remembered";
    return { result: -ENOMEM, refusal: { reason, invocation } };
  }

  /** Logs that did not find room: there is more next time, or fewer share it. */
  *#makeRoom(list: LaunchList, round: RoundResult, ran: number): Sleeps<Failure | undefined> {
    if (round.overflow !== SPILL_IS_FULL) return undefined;
    const growing = this.#device.gpu.growSpill();
    if (yield* awaitPromise(this.#scheduler, growing, "room for store logs")) return undefined;
    if (round.unfinished < ran || this.#pace.narrow(ran)) return undefined;
    const reason = `one ${this.#one} stores to more than ${LOG_WORDS_MAX} different words`;
    return { result: -ENOMEM, refusal: { reason, invocation: yield* this.#first(list) } };
  }

  /** Whether it goes on as it did, or at all. */
  *#keepPace(list: LaunchList, round: RoundResult, ran: number): Sleeps<Failure | undefined> {
    const { unbegun, isLong, milliseconds } = round;
    const finished = ran - round.unfinished;
    const isUseful = round.faults.length > 0 || round.overflow !== 0 || round.strays > 0;
    const isAwaited = this.#device.wasAwaited;
    const taken = { ran, finished, unbegun, isLong, isUseful, isAwaited, milliseconds };
    const goesOn = this.#pace.finishRound(taken);
    const isIdle = finished === 0 && !isUseful && unbegun === 0 && !isLong;
    this.#idleRounds = isIdle ? this.#idleRounds + 1 : 0;
    if (this.#idleRounds > IDLE_ROUNDS_MAX) {
      return { result: -EIO, refusal: { reason: "the kernel faults on nothing for ever" } };
    }
    if (goesOn) return undefined;
    const reason =
      `one invocation has not finished in the ${this.#pace.aloneMs} ms that it may take by ` +
      "itself: nothing can stop a GPU, and everybody waits for it; share the work among " +
      "invocations, or give a longer timeLimit";
    return { result: -ETIMEDOUT, refusal: { reason, invocation: yield* this.#first(list) } };
  }

  /** The time limit is over. */
  *#tooLate(list: LaunchList, fresh: number): Sleeps<Failure> {
    const { count, timeLimit } = this.#request;
    const invocation = list.pending > 0 ? yield* this.#first(list) : fresh * this.#each;
    const each = this.#each;
    const left = (count - fresh + list.pending) * each;
    const within = `within ${timeLimit} ms`;
    const reason = `${left} of ${count * each} invocations have not finished ${within}`;
    return { result: -ETIMEDOUT, refusal: { reason, invocation } };
  }

  /** Who is first of those who wait. */
  *#first(list: LaunchList): Sleeps<number> {
    const reading = this.#device.gpu.firstPending(list);
    return this.#each * (yield* awaitPromise(this.#scheduler, reading, "a readback"));
  }

  /** Serves the faults of a round, giving the batch less to do when there is no room. */
  *#serve(list: LaunchList, faults: Uint32Array): Sleeps<Failure | undefined> {
    const { tracer } = this.#device.space.memory;
    if (faults.length === 0) return undefined;
    tracer.emit(ROUND, this.#device.memory.pagemap.id, faults.length >>> 1, list.pending);
    const around = this.#admission.isTight ? 1 : this.#aroundOf(faults);
    const keepAfter = this.#epoch;
    const leaning = this.#each > 1 && !this.#isStrict;
    const served = yield* serveRound(this.#device, faults, { around, keepAfter, leaning });
    this.#peak = Math.max(this.#peak, this.#device.memory.residentPages);
    if (served.kind === "served") return yield* this.#fill(faults);
    if (served.kind === "refused") {
      const { result, reason, address, write } = served.refusal;
      return { result, refusal: { reason, address, write } };
    }
    if (this.#admission.shrink()) {
      tracer.emit(SHRINK, this.#device.memory.pagemap.id, this.#admission.left, 0);
      this.#epoch = this.#device.memory.frames.arrivals;
      return undefined;
    }
    if (!leaning) return yield* this.#tooLarge(list);
    this.#isStrict = true;
    this.#epoch = this.#device.memory.frames.arrivals;
    return undefined;
  }

  /** Who has asked for most gets the rest, unless that would have to make room. */
  *#fill(faults: Uint32Array): Sleeps<Failure | undefined> {
    if (this.#admission.isTight) return undefined;
    const filled = yield* bringAround(this.#device, faults, this.#lostMs);
    if (filled === 0) return undefined;
    return { result: filled, refusal: COPY_FAILED };
  }

  /** As readahead does: who reads on finds more of what follows. */
  #aroundOf(faults: Uint32Array): number {
    const pages = faults.filter((_, i) => i % 2 === 0).map((address) => address >>> PAGE_SHIFT);
    const isNext = pages.every((page) => this.#nextPages.has(page));
    this.#around = isNext ? Math.min(4 * this.#around, AROUND_PAGES_MAX) : AROUND_PAGES;
    this.#nextPages.clear();
    for (const page of pages) this.#nextPages.add((page | (this.#around - 1)) + 1);
    return this.#around;
  }

  /** One invocation alone needs more than there is. */
  *#tooLarge(list: LaunchList): Sleeps<Failure> {
    const invocation = yield* this.#first(list);
    const bytes = this.#device.memory.capacity * PAGE_SIZE;
    const reason = `one ${this.#one} needs more than the ${bytes} bytes of device memory at once`;
    return { result: -ENOMEM, refusal: { reason, invocation } };
  }

  #report(done: number): void {
    const { count, onProgress } = this.#request;
    const each = this.#each;
    const own = { done: done * each, count: count * each };
    onProgress?.({ ...own, rounds: this.#rounds, faults: this.#faults });
  }
}
