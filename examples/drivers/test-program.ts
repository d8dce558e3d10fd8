/**
 * A second process in the world of a storm, with other bytes at the same addresses: for drivers
 * that serve several spaces at a time. It stores and loads, gives pages up, unmaps them and maps
 * them again, is swapped out, and in some schedules ends while the driver works.
 */
import { assert, PAGE_SIZE, type Pfn, vpnOf } from "../../src/base/index.ts";
import { SoftCpu } from "../../src/cpu/index.ts";
import {
  AddressSpace,
  Advice,
  MapMode,
  madvise,
  mmap,
  mmput,
  munmap,
  ptePfn,
  VM_READ,
  VM_WRITE,
} from "../../src/mm/index.ts";
import type { Sleeps } from "../../src/sync/index.ts";
import { addressOf, type Storm } from "./test-storm.ts";

export const NEIGHBOUR_PAGES = 3;

export class Neighbour {
  readonly storm: Storm;
  readonly space: AddressSpace;
  readonly cpu: SoftCpu;
  /** It ends while the driver works. */
  readonly exits: boolean;
  // page -> what it holds
  readonly words = new Uint32Array(NEIGHBOUR_PAGES);
  // page -> how often it was unmapped
  readonly lost = new Uint32Array(NEIGHBOUR_PAGES);

  constructor(storm: Storm) {
    this.storm = storm;
    this.space = new AddressSpace(storm.memory);
    this.cpu = new SoftCpu(this.space);
    this.exits = storm.random.below(4) === 0;
    storm.run("the neighbour", this.#map(0, NEIGHBOUR_PAGES));
  }

  /** Its one thread. */
  *live(): Sleeps<void> {
    for (let i = 0; i < 5; i++) {
      yield* this.#act(this.storm.random.below(NEIGHBOUR_PAGES), this.storm.random.below(6));
      yield* this.storm.nap();
    }
    if (this.exits) yield* mmput(this.space);
  }

  /** Nothing has kept a device from using the page, but the end of the process. */
  mayFail(page: number): boolean {
    return this.lost[page]! > 0 || this.space.users.count === 0;
  }

  /** A device has just read or is about to write `bytes` as those of `page`, in `frame`. */
  expect(page: number, bytes: Uint8Array, frame: Pfn): void {
    const fact = this.space.pageTable.get(vpnOf(addressOf(page)));
    assert(ptePfn(fact) === frame, () => `neighbour's ${page}: frame ${frame} is another page's`);
    const got = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    const wanted = this.words[page]!;
    assert(got === wanted, () => `the device reads ${got} at neighbour's ${page}, not ${wanted}`);
  }

  /** A device writes a new value. */
  store(page: number, bytes: Uint8Array): void {
    const value = this.storm.nextValue();
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, value, true);
    this.words[page] = value;
  }

  *exit(): Sleeps<void> {
    if (!this.exits) yield* mmput(this.space);
    this.cpu.dispose();
  }

  *#act(page: number, act: number): Sleeps<void> {
    const address = addressOf(page);
    const value = this.storm.nextValue();
    if (act === 0) {
      yield* madvise(this.space, address, PAGE_SIZE, Advice.pageOut);
    } else if (act === 1) {
      this.lost[page]! += 1;
      assert((yield* munmap(this.space, address, PAGE_SIZE)) === 0, "munmap");
      this.words[page] = 0;
      yield* this.#map(page, 1);
    } else if (act < 4) {
      if ((yield* this.cpu.store(address, value)) === 0) this.words[page] = value;
    } else {
      const loaded = yield* this.cpu.load(address);
      if (typeof loaded === "number") return;
      assert(loaded.value === this.words[page], () => `the neighbour loads ${loaded.value}`);
    }
  }

  *#map(page: number, count: number): Sleeps<void> {
    const where = { start: addressOf(page), bytes: count * PAGE_SIZE };
    const flags = VM_READ | VM_WRITE;
    const result = yield* mmap(this.space, { ...where, flags, mode: MapMode.noReplace });
    assert(result >= 0, () => `mmap of what was unmapped: ${result}`);
  }
}
