/** Every place in a call of one thread's heap where another may come, or where it may end. */
import { describe, expect, it } from "vitest";
import { Heap } from "../../src/machine/heap/index.ts";
import { endBefore, interrupt } from "./atomic-steps.ts";

const MIB = 1024 * 1024;
const SPAN = 4 * MIB;
const SPANS = 8;
const RANGE = { start: 0x4000_0000, end: 0x4000_0000 + SPANS * SPAN };
const STEPS_MAX = 20_000;

/** Threads of one heap, and what they were told was no block. */
function threadsOf(count: number) {
  const bad: number[] = [];
  const heaps: Heap[] = [];
  const attach = (): Heap => {
    const shared = heaps[0]?.shared;
    const heap = new Heap({
      ...RANGE,
      ...(shared === undefined ? {} : { shared }),
      onBadFree: (address) => bad.push(address),
    });
    heaps.push(heap);
    return heap;
  };
  for (let i = 0; i < count; i++) attach();
  return { heaps, bad, attach };
}

/** Calls `run` with 1, 2, 3, … until it says that there are no more steps. */
function forEachStep(run: (n: number) => boolean): number {
  for (let n = 1; n < STEPS_MAX; n++) if (!run(n)) return n - 1;
  return expect.fail("the call does not end");
}

interface Block {
  readonly start: number;
  readonly bytes: number;
}

const overlap = (a: Block, b: Block): boolean =>
  a.start < b.start + b.bytes && b.start < a.start + a.bytes;

/** Allocates all that `heap` can get, 64 KiB at a time. */
function takeAll(heap: Heap): Block[] {
  const bytes = 65_536;
  const blocks: Block[] = [];
  for (let start = heap.allocate(bytes); start >= 0; start = heap.allocate(bytes)) {
    blocks.push({ start, bytes });
  }
  return blocks;
}

/** How many threads more the heap takes. */
function invites(heap: Heap): number {
  let count = 0;
  try {
    for (;;) if (heap.invite() > 0) count++;
  } catch (error) {
    expect(error).toMatchObject({ code: "EAGAIN" });
    return count;
  }
}

describe("at every step of one thread", () => {
  it.each(["", ", and another has the number"])(
    "a free finds whoever adopts the block meanwhile%s",
    (isUsedAgain) => {
      const steps = forEachStep((n) => {
        const { heaps, bad, attach } = threadsOf(3);
        const [owner, freer, adopter] = heaps as [Heap, Heap, Heap];
        const block = owner.malloc(64);
        const remains = owner.detach()!;
        const meanwhile = (): void => {
          adopter.adopt(remains);
          if (isUsedAgain !== "") expect(attach().id).toBe(remains.id + 256);
        };
        if (!interrupt(n, () => freer.free(block), meanwhile)) return false;
        heaps[3]?.collect();
        adopter.collect();
        expect([adopter.usage.blocks, bad]).toEqual([0, []]);
        return true;
      });
      expect(steps).toBeGreaterThan(4);
    },
  );

  it("two who free do not put into one place of the bag", () => {
    for (let pick = 0; pick < 16; pick++) {
      forEachStep((n) => {
        const { heaps, bad } = threadsOf(3);
        const [owner, one, other] = heaps as [Heap, Heap, Heap];
        const blocks = Array.from({ length: 640 }, () => owner.malloc(64));
        const [block] = blocks.splice(pick * 40, 1);
        const meanwhile = (): void => {
          for (const each of blocks) other.free(each);
        };
        if (!interrupt(n, () => one.free(block!), meanwhile)) return false;
        for (let round = 0; round < 8; round++) for (const heap of heaps) heap.collect();
        expect([owner.usage.blocks, bad]).toEqual([0, []]);
        return true;
      });
    }
  });

  it("an adopter hears of a block that is freed meanwhile", () => {
    forEachStep((n) => {
      const { heaps, bad } = threadsOf(3);
      const [owner, freer, adopter] = heaps as [Heap, Heap, Heap];
      const blocks = [owner.malloc(64), owner.malloc(5 * MIB), owner.malloc(64)];
      const remains = owner.detach()!;
      const isMore = interrupt(
        n,
        () => adopter.adopt(remains),
        () => {
          for (const block of blocks) freer.free(block);
        },
      );
      if (!isMore) return false;
      adopter.collect();
      expect([adopter.usage.blocks, bad]).toEqual([0, []]);
      expect(adopter.detach()).toBeUndefined();
      return true;
    });
  });

  it("an owner that empties its bag misses nothing that comes meanwhile for long", () => {
    forEachStep((n) => {
      const { heaps, bad } = threadsOf(2);
      const [owner, freer] = heaps as [Heap, Heap];
      const blocks = Array.from({ length: 9 }, () => owner.malloc(64));
      for (const block of blocks.slice(4)) freer.free(block);
      const isMore = interrupt(
        n,
        () => owner.collect(),
        () => {
          for (const block of blocks.slice(0, 4)) freer.free(block);
        },
      );
      if (!isMore) return false;
      owner.collect();
      expect([owner.usage.blocks, bad]).toEqual([0, []]);
      return true;
    });
  });

  it.each(["takes", "gives"])(
    "one who takes spans shares none with another who %s some meanwhile",
    (act) => {
      const bytes = 3 * SPAN - 4096;
      const answers = new Set<boolean>();
      forEachStep((n) => {
        const { heaps } = threadsOf(2);
        const [one, other] = heaps as [Heap, Heap];
        const held = Array.from({ length: 4 }, () => other.malloc(SPAN));
        let start = 0;
        let others: number[] = held;
        const meanwhile = (): void => {
          others = act === "takes" ? [...held, other.malloc(SPAN)] : [];
          if (act === "gives") for (const each of held) other.free(each);
        };
        const allocate = (): void => {
          start = one.allocate(bytes);
        };
        if (!interrupt(n, allocate, meanwhile)) return false;
        answers.add(start > 0);
        // Who is refused has no more than before.
        if (start < 0) expect(one.totals.bytesTaken).toBe(5 * SPAN);
        const blocks = others.map((each) => ({ start: each, bytes: SPAN }));
        expect(blocks.filter((block) => overlap(block, { start, bytes }))).toEqual([]);
        return true;
      });
      expect([...answers].sort()).toEqual(act === "takes" ? [false, true] : [true]);
    },
  );

  it("one who finds no room looks again when another has given some back meanwhile", () => {
    forEachStep((n) => {
      const { heaps } = threadsOf(2);
      const [one, other] = heaps as [Heap, Heap];
      const held = Array.from({ length: 4 }, () => other.malloc(SPAN));
      let start = 0;
      const allocate = (): void => {
        start = one.allocate(6 * SPAN);
      };
      const meanwhile = (): void => {
        for (const each of held) other.free(each);
      };
      if (!interrupt(n, allocate, meanwhile)) return false;
      expect(start).toBeGreaterThan(0);
      return true;
    });
  });

  it("two who want most of the heap at once: one gets it", () => {
    forEachStep((n) => {
      const { heaps } = threadsOf(2);
      const [one, other] = heaps as [Heap, Heap];
      const blocks = [0, 0];
      const isMore = interrupt(
        n,
        () => {
          blocks[0] = one.allocate(5 * SPAN);
        },
        () => {
          blocks[1] = other.allocate(5 * SPAN);
        },
      );
      if (!isMore) return false;
      expect(blocks.filter((block) => block > 0)).toHaveLength(1);
      return true;
    });
  });
});

describe("a thread that ends at any step", () => {
  interface Cast {
    readonly dying: Heap;
    readonly third: Heap;
    readonly large: number;
    readonly others: number;
  }
  const ACTS: Readonly<Record<string, (cast: Cast) => unknown>> = {
    "of malloc": ({ dying }) => dying.malloc(SPAN / 2),
    "of a large malloc": ({ dying }) => dying.malloc(2 * SPAN),
    "of free": ({ dying, large }) => dying.free(large),
    "of free of another's block": ({ dying, others }) => dying.free(others),
    "of collect": ({ dying }) => dying.collect(),
    "of detach": ({ dying }) => dying.detach(),
    "of adopt": ({ dying, third }) => dying.adopt(third.detach()!),
    "of bury": ({ dying, third }) => dying.bury(third.id),
  };

  it.each(Object.entries(ACTS))("%s harms nobody else", (name, act) => {
    const steps = forEachStep((n) => {
      const { heaps, bad } = threadsOf(3);
      const [survivor, dying, third] = heaps as [Heap, Heap, Heap];
      const [kept, others, freed] = [
        survivor.malloc(64),
        survivor.malloc(1000),
        survivor.malloc(8),
      ];
      const [small, given] = [dying.malloc(64), dying.malloc(2000)];
      const large = dying.malloc(3 * SPAN - 65_536);
      const thirds = third.malloc(64);
      survivor.free(given);
      third.free(freed);
      if (!endBefore(n, () => act({ dying, third, large, others }))) return false;

      survivor.bury(dying.id);
      for (const block of [small, large]) survivor.free(block);
      survivor.collect();
      expect(bad).toEqual([]);
      const { threads, bytesTaken, bytesLost, bytesFree } = survivor.totals;
      expect(bytesTaken + bytesLost + bytesFree).toBe(SPANS * SPAN);
      expect(threads).toBeLessThanOrEqual(2);
      const taken = takeAll(survivor);
      expect(taken.length * 65_536).toBeGreaterThanOrEqual(bytesFree);
      const live = [kept, small, thirds].map((start) => ({ start, bytes: 64 }));
      if (name !== "of free") live.push({ start: large, bytes: 3 * SPAN - 65_536 });
      for (const block of live) {
        expect(taken.filter((each) => overlap(each, block))).toEqual([]);
      }
      // No number is lost, whatever it was about to do.
      const isThirdGone = name === "of adopt" || name === "of bury";
      if (isThirdGone) survivor.bury(third.id);
      expect(invites(survivor)).toBe(isThirdGone ? 254 : 253);
      return true;
    });
    expect(steps).toBeGreaterThan(0);
  });
});
