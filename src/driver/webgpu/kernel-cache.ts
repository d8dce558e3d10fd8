/** What the launches of one device share: their turns, and what kernels turned out to need. */
import { assert } from "../../base/index.ts";
import { type Scheduler, type Sleeps, WaitQueue } from "../../sync/index.ts";
import { FIRST_LOAD, type LaunchLoad } from "./pace.ts";
import { atomicsExpected, isSpilled, type KernelSource } from "./wgsl/index.ts";

/** How late one that waits for its turn notices that it was aborted. */
const LOOK_AGAIN_MS = 100;

/** A larger log is another pipeline: few steps, until it spills and grows by itself. */
const LOG_GROWTH = 16;

/** Launches after which a kernel that strayed is tried again, at most. */
const DETOUR_MAX = 64;

interface Detour {
  /** Of the run from which they strayed. */
  readonly pages: number;
  /** Launches that are still to be checked ones. */
  left: number;
  /** How many after the next failure. */
  readonly next: number;
}

interface Waiting {
  readonly isAborted: () => boolean;
}

/** First come, first served; who waits may be aborted. */
class LaunchLine {
  // Who runs, and behind it those who wait.
  readonly #line: Waiting[] = [];
  #turns: WaitQueue | undefined;

  /** False when it was aborted before its turn came. `leave` in any case. */
  *takeTurn(scheduler: Scheduler, waiting: Waiting): Sleeps<boolean> {
    this.#turns ??= new WaitQueue(scheduler, "a launch to end");
    this.#line.push(waiting);
    while (!waiting.isAborted()) {
      const lookAgainMs = scheduler.nowMs + LOOK_AGAIN_MS;
      if (yield* this.#turns.until(() => this.#line[0] === waiting, lookAgainMs)) return true;
    }
    return false;
  }

  leave(waiting: Waiting): void {
    this.#line.splice(this.#line.indexOf(waiting), 1);
    this.#turns?.wakeAll();
  }
}

export class KernelCache {
  readonly line = new LaunchLine();

  // KernelSource -> words of the store log
  readonly #logSizes = new WeakMap<KernelSource, number>();
  // KernelSource -> what a round did in good time
  readonly #loads = new WeakMap<KernelSource, LaunchLoad>();
  // KernelSource -> atomics in an invocation
  readonly #atomics = new WeakMap<KernelSource, number>();
  readonly #detours = new WeakMap<KernelSource, Detour>();

  /**
   * For a launch that begins: the pages of the run from which most invocations of an earlier one
   * strayed, 0 if there is nothing against it. It is forgotten after a while, a longer one each
   * time.
   */
  strayedFrom(source: KernelSource): number {
    const detour = this.#detours.get(source);
    if (detour === undefined || detour.left === 0) return 0;
    detour.left--;
    return detour.pages;
  }

  /** Most have strayed from a run of so many pages; 0: they have not. */
  noteStrayed(source: KernelSource, pages: number): void {
    if (pages === 0) this.#detours.delete(source);
    else {
      const next = this.#detours.get(source)?.next ?? 1;
      this.#detours.set(source, { pages, left: next, next: Math.min(2 * next, DETOUR_MAX) });
    }
  }

  logSizeOf(source: KernelSource): number {
    let size = this.#logSizes.get(source);
    if (size === undefined) {
      size = firstLogSize(source);
      this.#logSizes.set(source, size);
    }
    return size;
  }

  /** How many an invocation makes, by the look of the code; 0: none. */
  atomicsOf(source: KernelSource): number {
    let count = this.#atomics.get(source);
    if (count === undefined) {
      count = atomicsExpected(source.code);
      this.#atomics.set(source, count);
    }
    return count;
  }

  growLog(source: KernelSource): void {
    const size = this.logSizeOf(source);
    assert(!isSpilled(size), "a log that spills grows by itself");
    this.#logSizes.set(source, LOG_GROWTH * Math.max(1, size));
  }

  loadOf(source: KernelSource): LaunchLoad {
    return this.#loads.get(source) ?? FIRST_LOAD;
  }

  keepLoad(source: KernelSource, load: LaunchLoad): void {
    this.#loads.set(source, load);
  }
}

/** As many words as the code has calls of store functions: right for code without loops. */
function firstLogSize(source: KernelSource): number {
  let words = 0;
  for (const [, width] of source.code.matchAll(
    /\bstore_(?:vec([234])[uif]|[uif](?:8|16|32))\s*\(/g,
  )) {
    words += width === undefined ? 1 : Number(width);
  }
  return words + (source.code.match(/\bset_[A-Za-z]\w*\s*\(/g)?.length ?? 0);
}
