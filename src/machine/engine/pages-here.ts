/**
 * Blocks that can be touched at once, where this thread cannot wait for the device: a launch brings
 * pages near those that it writes, too, also such as nobody has used yet, and a page of blocks that
 * a kernel has written has room for more.
 */
import { addrOf, PAGE_SIZE, type Vpn, vpn } from "../../base/index.ts";
import { PTE_VALID } from "../../mm/index.ts";
import type { Presence } from "../heap/index.ts";
import type { EnginePort } from "./calls.ts";
import type { Engine } from "./engine.ts";

export class PagesHere implements Presence {
  readonly #engine: Engine;
  readonly #port: EnginePort;

  constructor(engine: Engine, port: EnginePort) {
    this.#engine = engine;
    this.#port = port;
  }

  isHere(start: Vpn, end: Vpn): boolean {
    if (!this.#mayBeAway) return true;
    const range = rangeOf(start, end);
    if (this.#engine.cpu.mayTouch(addrOf(start), range.bytes, true)) return true;
    return this.#port.callNow("fault", { ...range, write: true })?.result === 0;
  }

  /** What a device has of these pages is forgotten. */
  renew(start: Vpn, end: Vpn): boolean {
    if (!this.#mayBeAway) return true;
    let [first, last] = [-1, -1];
    for (const page of this.#pagesElsewhere(start, end)) {
      if (page !== last) {
        if (first >= 0 && !this.#discard(first, last)) return false;
        first = page;
      }
      last = page + 1;
    }
    return first < 0 || this.#discard(first, last);
  }

  /** On the device, or on the way. */
  *#pagesElsewhere(start: Vpn, end: Vpn): IterableIterator<number> {
    const { pageTable } = this.#engine.space;
    for (let page = start; ; page = vpn(page + 1)) {
      page = pageTable.nextUsed(page, end);
      if (page >= end) return;
      if ((pageTable.get(page) & PTE_VALID) === 0) yield page;
    }
  }

  /** Not while the machine is being closed: what is to be said then is said by other calls. */
  get #mayBeAway(): boolean {
    return this.#port.launches > 0 && this.#engine.life.state === "open";
  }

  #discard(start: number, end: number): boolean {
    return this.#port.callNow("discard", rangeOf(start, end))?.result === 0;
  }
}

const rangeOf = (start: number, end: number): { start: number; bytes: number } => ({
  start: start * PAGE_SIZE,
  bytes: (end - start) * PAGE_SIZE,
});
