/**
 * What becomes of pages that no block of the heap uses any more: they lose their content, so that
 * nobody moves it, and what `advise` said of them. Bytes that a device still has would come home
 * when their addresses are used again, and until then take room there.
 *
 * A block of a group of pages or more does so at once. Smaller ones are not worth a call each:
 * their group does when nothing lies in it any more, at most once a launch, because without one
 * nothing has gone to a device meanwhile.
 */
import { PAGE_SIZE } from "../base/index.ts";
import type { EnginePort } from "./engine/index.ts";
import type { FreedRun } from "./heap/index.ts";

/** 64 KiB: giving up less costs more than it gives back. */
const GROUP_PAGES = 16;

export class FreedPages {
  readonly #port: EnginePort;
  // Group of pages -> launches that had begun when its content was forgotten
  readonly #forgotten: Int32Array;

  /** For a heap that ends at address `end`. */
  constructor(port: EnginePort, end: number) {
    this.#port = port;
    this.#forgotten = new Int32Array(Math.ceil(end / (GROUP_PAGES * PAGE_SIZE)));
  }

  /** Pages [start, end) are free since now, in a free run. */
  forget(start: number, end: number, run: FreedRun): void {
    if (end - start >= GROUP_PAGES) this.#discard(start, end);
    else if (this.#port.launches > 0) this.#forgetGroups(start, end, run);
  }

  /** The groups that the last piece of was just freed. */
  #forgetGroups(start: number, end: number, run: FreedRun): void {
    const first = Math.max(Math.floor(start / GROUP_PAGES), Math.ceil(run.start / GROUP_PAGES));
    const last = Math.min(Math.ceil(end / GROUP_PAGES), Math.floor(run.end / GROUP_PAGES));
    const { launches } = this.#port;
    for (let group = first; group < last; group++) {
      if (this.#forgotten[group] === launches) continue;
      this.#forgotten[group] = launches;
      this.#discard(group * GROUP_PAGES, (group + 1) * GROUP_PAGES);
    }
  }

  /** If that can be done at once. */
  #discard(start: number, end: number): void {
    const range = { start: start * PAGE_SIZE, bytes: (end - start) * PAGE_SIZE };
    this.#port.callNow("discard", { ...range, isFreed: true });
  }
}
