/** Law: what is counted agrees with what is there: a space's rss, a group's charges. */
import { assert, type Pfn } from "../base/index.ts";
import { type AddressSpace, type Memory, NR_MM_COUNTERS, rssKindOf } from "../mm/index.ts";
import type { Entry } from "./entry.ts";

export class RssCount {
  readonly #space: AddressSpace;
  readonly #counted = new Int32Array(NR_MM_COUNTERS);

  constructor(space: AddressSpace) {
    this.#space = space;
  }

  add(entry: Entry): void {
    const kind = rssKindOf(this.#space.memory, entry.pte);
    if (kind >= 0) this.#counted[kind] = this.#counted[kind]! + 1;
  }

  check(): void {
    const { id, rss } = this.#space;
    const [said, counted] = [rss.join(", "), this.#counted.join(", ")];
    assert(said === counted, () => `rss of space ${id} is ${said}, not ${counted}`);
  }
}

export class ChargeCount {
  readonly #memory: Memory;
  #counted = 0;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  add(frame: Pfn): void {
    if (this.#memory.pages.charged[frame] !== 0) this.#counted++;
  }

  check(): void {
    const { chargedPages } = this.#memory.group;
    const isPaid = this.#counted === chargedPages;
    assert(isPaid, () => `${this.#counted} frames are charged, the group says ${chargedPages}`);
  }
}
