/**
 * Which shader of a kernel runs next. The checked one reaches everything and finds out what is
 * missing. The direct one is half as long and reaches what lies in one run of device memory: it is
 * taken while nearly all pages do, and nobody has missed one. Whoever strays from the run ends
 * without effect and is run again, checked.
 */
import type { Sleeps } from "../../sync/index.ts";
import { awaitPromise } from "./await.ts";
import type { Compiled } from "./gpu.ts";
import type { KernelCache } from "./kernel-cache.ts";
import type { WebGpuDevice } from "./webgpu-device.ts";
import type { KernelSource } from "./wgsl/index.ts";

/** When more than this part of a round strays the kernel goes elsewhere, or pages are missing. */
const STRAYS_MAX = 1 / 8;
/** How often a launch may blame missing pages. */
const EXCUSES_MAX = 3;
/** When the run has grown so much they may find there what they did not find before. */
const GROWTH = 2;

/** What the last round says about the next one. */
export interface Seen {
  readonly ran: number;
  readonly strays: number;
  readonly faults: number;
}

export class Shaders {
  readonly #device: WebGpuDevice;
  readonly #cache: KernelCache;
  readonly #source: KernelSource;
  #directRounds = 0;
  #checked: Compiled | undefined;
  #direct: Compiled | undefined;
  #isCompiling = false;
  // All that the launch was pointed at is here, as far as anybody can tell.
  #isWhole: boolean;
  #failure: { readonly error: unknown } | undefined;
  // The last round asked for what was missing or out of reach.
  #isMissing = false;
  // Many strayed in the last direct round, and whether for want of pages is not known yet.
  #hasStrayed = false;
  #excuses = 0;
  // Pages of the run from which too many strayed; 0: none did.
  #strayedFrom: number;

  constructor(device: WebGpuDevice, cache: KernelCache, source: KernelSource) {
    this.#device = device;
    this.#cache = cache;
    this.#source = source;
    this.#strayedFrom = cache.strayedFrom(source);
    this.#isWhole = this.isKnown;
  }

  /** Its direct shader has been compiled, or nearly. */
  get isKnown(): boolean {
    const { gpu } = this.#device;
    return gpu.isKnown(this.#source, this.#cache.logSizeOf(this.#source), true);
  }

  /** Compiles what is wanted in any case, while the launch does other things. */
  begin(): void {
    if (!this.#isBanned) this.#compileAside();
  }

  /** The launch will find all that it was pointed at: the direct shader comes first. */
  expectAll(): void {
    this.#isWhole = true;
  }

  /** The shader for the next round, compiled; the direct one only if that takes no waiting. */
  *next(isFirst: boolean): Sleeps<Compiled> {
    if (this.#failure !== undefined) throw this.#failure.error;
    const isBanned = this.#isBanned;
    if (!isBanned && !this.#isMissing && this.#device.gpu.isDense) {
      if (isFirst && this.#isWhole) this.#direct ??= yield* this.#compile(true);
      if (this.#direct !== undefined) return this.#direct;
    }
    // Both at once: it is wanted as soon as the first pages have come.
    if (!isBanned) this.#compileAside();
    this.#checked ??= yield* this.#compile(false);
    return this.#checked;
  }

  get directRounds(): number {
    return this.#directRounds;
  }

  /** What `compiled` met. */
  finishRound(compiled: Compiled, { ran, strays, faults }: Seen): void {
    this.#isMissing = strays > 0 || faults > 0;
    if (compiled === this.#direct) {
      this.#directRounds++;
      this.#hasStrayed = strays > STRAYS_MAX * ran;
      if (!this.#hasStrayed) this.#cache.noteStrayed(this.#source, 0);
      return;
    }
    if (!this.#hasStrayed) return;
    // Those who strayed have run again, checked: did they miss a page, or nothing?
    this.#hasStrayed = false;
    if (faults > 0 && ++this.#excuses <= EXCUSES_MAX) return;
    this.#strayedFrom = this.#device.gpu.runPages;
    this.#cache.noteStrayed(this.#source, this.#strayedFrom);
  }

  get #isBanned(): boolean {
    return this.#strayedFrom > 0 && this.#device.gpu.runPages < GROWTH * this.#strayedFrom;
  }

  /** The log has grown: other shaders. */
  forget(): void {
    this.#checked = undefined;
    this.#direct = undefined;
    this.#isCompiling = false;
  }

  /** Both, for a launch to come. */
  *prepare(): Sleeps<void> {
    this.#direct = yield* this.#compile(true);
    this.#checked = yield* this.#compile(false);
  }

  *#compile(isDirect: boolean): Sleeps<Compiled> {
    const { gpu, space } = this.#device;
    const logSize = this.#cache.logSizeOf(this.#source);
    const known = gpu.compiled(this.#source, logSize, isDirect);
    if (known !== undefined) return known;
    const compiling = gpu.compile(this.#source, logSize, isDirect);
    return yield* awaitPromise(space.memory.scheduler, compiling, "a kernel to compile");
  }

  /** A machine that ends waits for what Dawn still does, which aborts otherwise. */
  #compileAside(): void {
    if (this.#isCompiling) return;
    this.#isCompiling = true;
    const { gpu, space } = this.#device;
    const { scheduler } = space.memory;
    const logSize = this.#cache.logSizeOf(this.#source);
    this.#direct = gpu.compiled(this.#source, logSize, true);
    if (this.#direct !== undefined) return;
    scheduler.beginOutside();
    gpu.compile(this.#source, logSize, true).then(
      (direct) => {
        scheduler.endOutside();
        if (logSize === this.#cache.logSizeOf(this.#source)) this.#direct = direct;
      },
      (error: unknown) => {
        scheduler.endOutside();
        this.#failure = { error };
      },
    );
  }
}
