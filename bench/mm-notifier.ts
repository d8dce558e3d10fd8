/**
 * Invalidations among many subscriptions without callbacks, from start to end, beside the same in
 * C: over a balanced tree (objects of 256 bytes, as drivers embed theirs) and over the list that
 * the first designs had. Subscribing and unsubscribing, beside the tree.
 */
import { addrOf, PAGE_SIZE, virtAddr, vpn } from "../src/base/index.ts";
import { IntervalNotifier, Invalidation, MMU_NOTIFY_CLEAR } from "../src/notifier/index.ts";
import type { Sleeps } from "../src/sync/index.ts";
import { compare, type Peer, type Sample } from "./mm-peer.ts";
import { BenchWorld, expect, mix, nowNs } from "./mm-world.ts";
import type { Row } from "./ratio.ts";

// As in bench/native/interval.c.
const STRIDE_PAGES = 10;
const RANGE_PAGES = 8;

const REPEATS = 4096;
const MANY = 100_000;

export async function benchNotifiers(hasPeers: boolean): Promise<Row[]> {
  const rows: Row[] = [];
  for (const count of [1, 100, 10_000, MANY]) {
    rows.push(...(await benchInvalidate(hasPeers, count, 1, ["tree", "list"])));
  }
  rows.push(...(await benchInvalidate(hasPeers, MANY, 16, ["tree"])));
  rows.push(...(await benchChurn(hasPeers)));
  return rows;
}

async function benchInvalidate(
  hasPeers: boolean,
  count: number,
  overlap: number,
  kinds: readonly string[],
): Promise<Row[]> {
  const subscribed = new Subscribed(count);
  const measure = (): Sample => subscribed.world.run(subscribed.invalidate(overlap));
  const { sequences } = subscribed;
  const { units } = measure();
  expect(subscribed.sequences - sequences, units * overlap, "how far the sequences moved");
  const name = `mm: invalidate, ${overlap} of ${count.toLocaleString("en")} overlapping`;
  const peers = kinds.map(
    (kind): Peer => ({
      versus: kind === "tree" ? "a balanced tree in C" : "a list in C",
      by: ["interval", count, overlap, kind],
    }),
  );
  return compare(hasPeers, { name, unit: "start and end", measure }, peers);
}

async function benchChurn(hasPeers: boolean): Promise<Row[]> {
  const subscribed = new Subscribed(MANY);
  const name = `mm: unsubscribe and subscribe, ${MANY.toLocaleString("en")} there`;
  const measure = (): Sample => subscribed.churn();
  const peer: Peer = { versus: "a balanced tree in C", by: ["interval", MANY, 1, "churn"] };
  return compare(hasPeers, { name, unit: "pair", measure }, [peer]);
}

class Subscribed {
  readonly world = new BenchWorld(1);
  readonly #all: IntervalNotifier[];
  #state = 1;

  /** Subscriptions to `count` ranges, made in an order of chance. */
  constructor(count: number) {
    this.#all = Array.from({ length: count }, (_, i) => new IntervalNotifier(rangeOf(i)));
    const order = [...this.#all];
    for (let i = count - 1; i > 0; i--) {
      const other = this.#below(i + 1);
      const kept = order[i]!;
      order[i] = order[other]!;
      order[other] = kept;
    }
    for (const each of order) expect(this.world.space.notifiers.insert(each), 0, "insert");
  }

  *invalidate(overlap: number): Sleeps<Sample> {
    const { notifiers } = this.world.space;
    const bytes = ((overlap - 1) * STRIDE_PAGES + 1) * PAGE_SIZE;
    const begin = nowNs();
    for (let i = 0; i < REPEATS; i++) {
      const at = this.#below(this.#all.length - overlap + 1);
      const start = virtAddr(at * STRIDE_PAGES * PAGE_SIZE);
      const end = virtAddr(start + bytes);
      const event = new Invalidation({ start, end, event: MMU_NOTIFY_CLEAR });
      yield* notifiers.start(event);
      expect(event.colliding.length, overlap, "how many overlap");
      expect(event.colliding[0]!.active, 1, "what is open on the first of them");
      notifiers.end(event);
    }
    const ns = nowNs() - begin;
    expect(notifiers.activeCount, 0, "what is still open");
    return { ns, units: REPEATS };
  }

  churn(): Sample {
    const { notifiers } = this.world.space;
    const begin = nowNs();
    for (let i = 0; i < REPEATS; i++) {
      const each = this.#all[this.#below(this.#all.length)]!;
      notifiers.removeSilent(each);
      expect(notifiers.insert(each), 0, "insert");
    }
    const ns = nowNs() - begin;
    expect(notifiers.intervalCount, this.#all.length, "how many are subscribed");
    return { ns, units: REPEATS };
  }

  /** How often any of them was told. */
  get sequences(): number {
    return this.#all.reduce((sum, each) => sum + each.seq, 0);
  }

  #below(limit: number): number {
    return mix(this.#state++) % limit;
  }
}

const rangeOf = (index: number) => {
  const page = index * STRIDE_PAGES;
  return { start: addrOf(vpn(page)), end: addrOf(vpn(page + RANGE_PAGES)) };
};
