/** A space of its own for a bench: RAM of the size that it needs, and one mapping. */
import { addrOf, PAGE_SIZE, type Vpn, virtAddr, vpn, vpnOf } from "../src/base/index.ts";
import type { HmmRange } from "../src/hmm/index.ts";
import { buildWorld, type World } from "../src/machine/world.ts";
import { AddressSpace, MapMode, mmap, munmap, VM_READ, VM_WRITE } from "../src/mm/index.ts";
import { IntervalNotifier } from "../src/notifier/index.ts";
import type { Sleeps } from "../src/sync/index.ts";

/** The first page of the mapping: also the first of its leaf. */
export const FIRST: Vpn = vpnOf(virtAddr(0x1000_0000));

const SPARE_FRAMES = 32;

export class BenchWorld {
  readonly world: World;
  readonly space: AddressSpace;
  readonly pages: number;

  /** Maps `pages` pages; there is little more RAM than that, so that frames are used again. */
  constructor(pages: number) {
    this.pages = pages;
    this.world = buildWorld({ frames: pages + SPARE_FRAMES });
    this.space = new AddressSpace(this.world.memory);
    this.map();
  }

  run<T>(body: Sleeps<T>): T {
    return this.world.scheduler.runTask("bench", body);
  }

  map(): void {
    const bytes = this.pages * PAGE_SIZE;
    const options = { start: addrOf(FIRST), bytes, flags: VM_READ | VM_WRITE };
    const at = this.run(mmap(this.space, { ...options, mode: MapMode.noReplace }));
    expect(at, addrOf(FIRST), "where the mapping is");
  }

  unmap(): void {
    const result = this.run(munmap(this.space, addrOf(FIRST), this.pages * PAGE_SIZE));
    expect(result, 0, "munmap");
  }

  /** All of the mapping, with a subscription. */
  range(defaultFlags: number, devPrivateOwner?: object): HmmRange {
    const part = { start: addrOf(FIRST), end: addrOf(vpn(FIRST + this.pages)) };
    const notifier = new IntervalNotifier(part);
    expect(this.space.notifiers.insert(notifier), 0, "insert");
    return {
      ...part,
      notifier,
      notifierSeq: 0,
      pfns: new Uint32Array(this.pages),
      defaultFlags,
      pfnFlagsMask: 0,
      devPrivateOwner,
    };
  }
}

/** A bench of something that does not work is worth nothing. */
export function expect<T>(actual: T, wanted: T, what: string): void {
  if (actual !== wanted) throw new Error(`mm bench: ${what} is ${actual}, not ${wanted}`);
}

export const nowNs = (): number => performance.now() * 1e6;

/** The same number from the same page on both sides: see bench/native/round.h. */
export function mix(page: number): number {
  let mixed = Math.imul(page, 2654435761);
  mixed ^= mixed >>> 15;
  mixed = Math.imul(mixed, 2246822519);
  return (mixed ^ (mixed >>> 13)) >>> 0;
}
