/** Our test of devices that read and write while everything around them changes. */
import { PAGE_SIZE, type Pfn, type Vpn, vpnOf } from "../../base/index.ts";
import {
  hasFrame,
  isMigration,
  MapMode,
  mmap,
  mprotect,
  munmap,
  type Pte,
  ptePfn,
  VM_READ,
} from "../../mm/index.ts";
import { Random, RandomStrategy, type Sleeps } from "../../sync/index.ts";
import { expectSame, fail } from "./expect.ts";
import { type Buffer, RW } from "./process.ts";
import type { HmmTest, Stage } from "./stage.ts";
import { loadPage, storePage } from "./whole-pages.ts";
import { wordsOf } from "./words.ts";

const SEEDS = 12;
const OPERATIONS = 14;
/** Pages that are written, and neighbours that come and go. */
const WRITTEN = 6;
const NEIGHBOURS = 2;

export const STORM_TEST: HmmTest = {
  name: "onespace.A-30",
  checks: "storms of events while devices read and write; after each, all views are compared",
  run(open) {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const strategy = new RandomStrategy(seed);
      const stage = open({ strategy, frames: 48, deviceFrames: 8, devices: 2 });
      new Storm(stage, seed).run();
    }
  },
};

class Storm {
  readonly #stage: Stage;
  readonly #buffer: Buffer;
  readonly #random: Random;
  // page -> the value of all its words
  readonly #truth = new Uint32Array(WRITTEN);
  #nextValue = 1;
  #events = 0;

  constructor(stage: Stage, seed: number) {
    this.#stage = stage;
    this.#random = new Random(seed * 7919);
    this.#buffer = stage.main.map(WRITTEN + NEIGHBOURS);
  }

  run(): void {
    const { main, world } = this.#stage;
    const { scheduler } = world;
    const watcher = { invalidateRangeEnd: () => this.#compare() };
    main.space.notifiers.register(watcher);
    scheduler.afterStep = () => this.#stage.check(false);
    const bodies = [this.#cpu, this.#device, this.#device, this.#mapper, this.#mover];
    const tasks = bodies.map((body, i) => scheduler.spawn(`task ${i}`, this.#repeat(body)));
    this.#stage.runAll(...tasks);
    scheduler.afterStep = undefined;
    this.#compare();
    main.run(main.space.notifiers.unregister(watcher));
    if (this.#events === 0) fail("no event came");
    expectSame("open events", main.space.notifiers.activeCount, 0);
  }

  *#repeat(body: (this: Storm) => Sleeps<void>): Sleeps<void> {
    for (let i = 0; i < OPERATIONS; i++) yield* body.call(this);
  }

  *#cpu(): Sleeps<void> {
    const { cpu } = this.#stage.main;
    const page = this.#random.below(WRITTEN);
    const address = this.#buffer.addressOf(page);
    if (this.#random.below(2) === 0) {
      const words = yield* loadPage(cpu, address);
      if (typeof words !== "number") this.#expect("CPU reads", page, words);
      return;
    }
    const value = this.#nextValue++;
    if ((yield* storePage(cpu, address, () => value, 0)) === 0) this.#truth[page] = value;
  }

  /** While a page may not be written the device is refused, and that is right. */
  *#device(): Sleeps<void> {
    const mirror = this.#stage.main.mirrors[this.#random.below(2)]!;
    const first = this.#random.below(WRITTEN - 1);
    const start = this.#buffer.addressOf(first);
    const pageOf = (page: Vpn): number => page - vpnOf(this.#buffer.at);
    if (this.#random.below(2) === 0) {
      yield* mirror.read(start, 2, (page, bytes) => {
        this.#expect("device reads", pageOf(page), wordsOf(bytes));
      });
      return;
    }
    yield* mirror.write(start, 2, (page, bytes) => {
      const value = this.#nextValue++;
      wordsOf(bytes).fill(value);
      this.#truth[pageOf(page)] = value;
    });
  }

  /** Rights that shrink and grow again; neighbours that go and come. */
  *#mapper(): Sleeps<void> {
    const { space } = this.#stage.main;
    if (this.#random.below(2) === 0) {
      const page = this.#random.below(WRITTEN);
      const [at, bytes] = [this.#buffer.addressOf(page), PAGE_SIZE];
      yield* mprotect(space, at, bytes, VM_READ);
      yield* mprotect(space, at, bytes, RW);
      return;
    }
    const start = this.#buffer.addressOf(WRITTEN);
    const bytes = NEIGHBOURS * PAGE_SIZE;
    yield* munmap(space, start, bytes);
    yield* mmap(space, { start, bytes, flags: RW, mode: MapMode.fixed });
    yield* this.#stage.main.cpu.store(start, 1);
  }

  *#mover(): Sleeps<void> {
    const which = this.#random.below(2);
    const mirror = this.#stage.main.mirrors[which]!;
    const first = this.#random.below(WRITTEN - 2);
    const start = this.#buffer.addressOf(first);
    const act = this.#random.below(4);
    if (act === 0) yield* mirror.migrateToRam(start, 3);
    else if (act === 1) yield* this.#stage.devices[which]!.evictAll();
    else yield* mirror.migrateToDevice(start, 3, () => {});
  }

  #expect(what: string, page: number, words: Uint32Array): void {
    const wanted = this.#truth[page]!;
    for (const word of words) {
      if (word !== wanted) fail(`${what} page ${page}: ${word}, not ${wanted}`);
    }
  }

  /** Whatever a table names holds what was written last. */
  #compare(): void {
    this.#events++;
    const { space, mirrors } = this.#stage.main;
    for (let page = 0; page < WRITTEN; page++) {
      const at = vpnOf(this.#buffer.addressOf(page));
      const fact = space.pageTable.get(at);
      // While it moves, the device may have it already.
      if (!isMigration(fact)) this.#compareEntry("memory", page, fact);
      for (const mirror of mirrors) this.#compareEntry("device", page, mirror.table.get(at));
    }
  }

  #compareEntry(what: string, page: number, entry: Pte): void {
    if (entry === 0 || !hasFrame(entry)) return;
    this.#expect(what, page, wordsOf(this.#bytesOf(ptePfn(entry))));
  }

  #bytesOf(frame: Pfn): Uint8Array {
    const { memory } = this.#stage.world;
    if (memory.pages.isDevice(frame)) {
      return this.#stage.devices.find((each) => each.pagemap.zone.contains(frame))!.bytesOf(frame);
    }
    return memory.bytes.u8.subarray(frame * PAGE_SIZE, (frame + 1) * PAGE_SIZE);
  }
}
