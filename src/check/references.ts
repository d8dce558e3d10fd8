/**
 * Law: references add up. A frame's map count is the number of entries that map it; its references
 * are those, its pins, and what is known to be held besides. Entries are counted first, then each
 * used frame is asked.
 */
import { assert, type Pfn } from "../base/index.ts";
import { hasFrame, type Memory } from "../mm/index.ts";
import {
  PG_CACHED,
  PG_EXCLUSIVE,
  PG_HUGETLB,
  PG_LARGE,
  PG_LOCKED,
  ZERO_PFN,
} from "../phys/index.ts";
import type { Entry } from "./entry.ts";

export class ReferenceCount {
  readonly #memory: Memory;
  // Pfn -> entries that map it
  readonly #mapped = new Map<Pfn, number>();
  // Pfn -> references of drivers and tests
  readonly #held: Map<Pfn, number>;

  constructor(memory: Memory, held: Iterable<readonly [Pfn, number]>) {
    this.#memory = memory;
    this.#held = new Map(held);
  }

  add(entry: Entry): void {
    if (!hasFrame(entry.pte)) return;
    const { frame } = entry;
    this.#mapped.set(frame, (this.#mapped.get(frame) ?? 0) + 1);
  }

  hold(frame: Pfn): void {
    this.#held.set(frame, (this.#held.get(frame) ?? 0) + 1);
  }

  /** What is mapped is in use, and the zero page adds up; it lies in no zone. */
  checkMapped(): void {
    const { pages } = this.#memory;
    for (const frame of this.#mapped.keys()) {
      const least = pages.is(frame, PG_HUGETLB) ? 2 : 1;
      assert(pages.refs[frame]! >= least, () => `frame ${frame} is mapped and free`);
    }
    const refs = pages.refs[ZERO_PFN]!;
    const known = 1 + (this.#mapped.get(ZERO_PFN) ?? 0) + pages.pins[ZERO_PFN]!;
    assert(refs === known, () => `zero page: ${refs} references, ${known} are known`);
  }

  /** `frame` is used, says its zone. */
  check(frame: Pfn, isQuiet: boolean): void {
    const { pages, poisoned } = this.#memory;
    const refs = pages.refs[frame]!;
    const mappings = this.#mapped.get(frame) ?? 0;
    if (refs === 0 && pages.is(frame, PG_LARGE)) {
      const isAlive = pages.live[pages.headOf(frame)]! > 0;
      assert(isAlive, () => `large page of frame ${frame} is used by nobody`);
      return;
    }
    assert(refs > 0, () => `frame ${frame} is used without a reference`);
    assert(pages.mapcount[frame] === mappings, () => `frame ${frame}: map count is wrong`);
    const isAlone = !pages.is(frame, PG_EXCLUSIVE) || mappings <= 1;
    assert(isAlone, () => `frame ${frame} is exclusive and mapped ${mappings}x`);
    const least = mappings + pages.pins[frame]!;
    assert(refs >= least, () => `frame ${frame} has too few references`);
    if (!isQuiet) return;
    const cached = pages.is(frame, PG_CACHED) ? 1 : 0;
    const broken = poisoned.includes(frame) ? 1 : 0;
    const pooled = pages.is(frame, PG_HUGETLB) ? 1 : 0;
    const known = least + cached + broken + pooled + (this.#held.get(frame) ?? 0);
    assert(refs === known, () => `frame ${frame} has ${refs} references, ${known} are known`);
    assert(!pages.is(frame, PG_LOCKED), () => `frame ${frame} stays locked`);
  }
}
