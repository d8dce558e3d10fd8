/**
 * What one invalidation costs, from start to end, when one of many subscriptions overlaps it:
 * ours beside a linear list in TypeScript and beside a list and a balanced tree in C, which take
 * rounds in turns. No callbacks. As many ranges of one page as there are, side by side.
 */
import { addrOf, PAGE_SIZE, virtAddr, vpn } from "../src/base/index.ts";
import { IntervalNotifier, Invalidation, MMU_NOTIFY_CLEAR } from "../src/notifier/index.ts";
import type { Sleeps } from "../src/sync/index.ts";
import { type Peer, type Runner, type Sample, startPeer } from "./mm-peer.ts";
import { BenchWorld, expect, mix, nowNs } from "./mm-world.ts";
import { LinearList, type ListedEvent } from "./notifier-list.ts";
import { crossing, plot, type Series } from "./notifier-plot.ts";
import { median, type Row } from "./ratio.ts";

const COUNTS = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000];
/** Of these a row is given. */
const IN_ROWS = [1, 100, 1_000_000];
const ROUNDS = 15;
const WARM_UPS = 10;
/** In one sample; of the list fewer, as in bench/native/interval.c. */
const REPEATS = 4096;
const LIST_STEPS = 1 << 22;
/** A range is one page and begins where the one before ends: so a million fits the space. */
const GEOMETRY = [1, 1] as const;

// Of the columns, in characters.
const COUNT_WIDTH = 9;
const NS_WIDTH = 8;
const PEER_WIDTH = 36;

interface Contender {
  readonly letter: string;
  readonly name: string;
  readonly peerOf: (count: number) => Peer;
}

const OURS: Contender = {
  letter: "o",
  name: "ours",
  peerOf: (count) => {
    const subscribed = new Subscribed(count);
    return { versus: "ours", by: () => subscribed.measure() };
  },
};

const LIST: Contender = {
  letter: "l",
  name: "list (TypeScript)",
  peerOf: (count) => {
    const listed = new Listed(count);
    return { versus: "list", by: () => listed.measure() };
  },
};

const native = (letter: string, kind: "list" | "tree"): Contender => ({
  letter,
  name: `${kind} (C)`,
  peerOf: (count) => ({ versus: kind, by: ["interval", count, 1, kind, ...GEOMETRY] }),
});

/** Says a line a number of ranges, and draws them; the rows are some of the same figures. */
export async function showScale(hasPeers: boolean): Promise<Row[]> {
  const natives = hasPeers ? [native("c", "list"), native("t", "tree")] : [];
  if (!hasPeers) console.log("notifier: no C compiler (cc) here: only beside the list of ours");
  const contenders = [OURS, LIST, ...natives];
  const medians: number[][] = contenders.map(() => []);
  const rows: Row[] = [];
  console.log(
    "\nnotifier: one invalidation, start and end, with one range overlapping: ns of ours;",
  );
  console.log("ratio of ours to each of the others (median [least..most]) and ns of that one");
  console.log(headOf(contenders));
  for (const count of COUNTS) {
    const rounds = await measureAll(contenders, count);
    for (const [i, ns] of rounds.entries()) medians[i]!.push(median(ns));
    console.log(lineOf(count, rounds));
    if (IN_ROWS.includes(count)) rows.push(rowOf(count, rounds[0]!, rounds[1]!));
  }
  const series = contenders.map(({ letter, name }, i): Series => {
    return { letter, name, ns: medians[i]! };
  });
  console.log("");
  for (const line of plot(series)) console.log(line);
  for (const { name, ns } of series.slice(1)) console.log(crossingOf(name, series[0]!.ns, ns));
  return rows;
}

function rowOf(count: number, ours: readonly number[], list: readonly number[]): Row {
  return {
    name: `notifier: one invalidation, ${count.toLocaleString("en")} subscribed`,
    versus: "a linear list in TypeScript",
    ratios: ours.map((ns, round) => ns / list[round]!),
    note: `${shown(median(ours))} ns against ${shown(median(list))} ns`,
  };
}

/** Nanoseconds an invalidation: for each contender one value a round. */
async function measureAll(contenders: readonly Contender[], count: number): Promise<number[][]> {
  const runners: Runner[] = [];
  try {
    for (const { peerOf } of contenders) runners.push(await startPeer(peerOf(count)));
    for (let i = 0; i < WARM_UPS; i++) for (const runner of runners) await runner.round();
    const rounds: number[][] = runners.map(() => []);
    for (let i = 0; i < ROUNDS; i++) {
      for (const [at, runner] of runners.entries()) rounds[at]!.push(await runner.round());
    }
    return rounds;
  } finally {
    for (const runner of runners) runner[Symbol.dispose]();
  }
}

function headOf(contenders: readonly Contender[]): string {
  const peers = contenders.slice(1).map(({ name }) => name.padEnd(PEER_WIDTH));
  return ["ranges".padStart(COUNT_WIDTH), "ours".padStart(NS_WIDTH), ...peers].join("  ").trimEnd();
}

function lineOf(count: number, rounds: readonly number[][]): string {
  const ours = rounds[0]!;
  const peers = rounds.slice(1).map((theirs) => {
    const ratios = ours.map((ns, round) => ns / theirs[round]!).sort((a, b) => a - b);
    const spread = `[${shown(ratios[0]!)}..${shown(ratios.at(-1)!)}]`;
    return `${shown(median(ratios))} ${spread} ${shown(median(theirs))} ns`.padEnd(PEER_WIDTH);
  });
  const ranges = count.toLocaleString("en").padStart(COUNT_WIDTH);
  return [ranges, `${shown(median(ours))} ns`.padStart(NS_WIDTH), ...peers].join("  ").trimEnd();
}

/** Three digits, as few characters as they need. */
function shown(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value < 0.001 ? value.toExponential(1) : value.toPrecision(value < 0.1 ? 2 : 3);
}

function crossingOf(name: string, ours: readonly number[], theirs: readonly number[]): string {
  const at = crossing(ours, theirs);
  if (at === undefined)
    return `ours is not below ${name} at ${COUNTS.at(-1)!.toLocaleString("en")} ranges`;
  if (at === 1) return `ours is below ${name} at every number of ranges`;
  const about = Number(at.toPrecision(2)).toLocaleString("en");
  return `ours is below ${name} from about ${about} ranges on`;
}

class Subscribed {
  readonly #world = new BenchWorld(1);
  readonly #all: IntervalNotifier[];
  #state = 1;

  /** Subscriptions to `count` ranges, made in an order of chance. */
  constructor(count: number) {
    this.#all = Array.from({ length: count }, (_, page) => new IntervalNotifier(rangeOf(page)));
    const { notifiers } = this.#world.space;
    for (const page of shuffled(count)) expect(notifiers.insert(this.#all[page]!), 0, "insert");
    const told = this.#sequences;
    expect(this.measure().units, REPEATS, "how many invalidations there were");
    expect(this.#sequences - told, REPEATS, "how far all sequences moved");
  }

  measure(): Sample {
    return this.#world.run(this.#invalidate());
  }

  *#invalidate(): Sleeps<Sample> {
    const { notifiers } = this.#world.space;
    let wrong = 0;
    const begin = nowNs();
    for (let i = 0; i < REPEATS; i++) {
      const page = mix(this.#state++) % this.#all.length;
      const told = this.#all[page]!;
      const { seq } = told;
      const start = addrOf(vpn(page));
      const end = virtAddr(start + PAGE_SIZE);
      const event = new Invalidation({ start, end, event: MMU_NOTIFY_CLEAR });
      const result = yield* notifiers.start(event);
      if (result !== 0 || event.colliding.length !== 1 || !isTold(told, seq)) wrong++;
      notifiers.end(event);
    }
    const ns = nowNs() - begin;
    expect(wrong, 0, "how many did not tell exactly the one that overlaps, once");
    expect(notifiers.activeCount, 0, "what is still open");
    return { ns, units: REPEATS };
  }

  get #sequences(): number {
    return this.#all.reduce((sum, { seq }) => sum + seq, 0);
  }
}

class Listed {
  readonly #list = new LinearList();
  readonly #repeats: number;
  #state = 1;

  /** In the order of memory, as the list in C. */
  constructor(count: number) {
    this.#repeats = Math.min(REPEATS, Math.ceil(LIST_STEPS / count));
    for (let page = 0; page < count; page++) {
      this.#list.ranges.push({ start: page, end: page + 1, seq: 0, active: 0 });
    }
    const { units } = this.measure();
    const moved = this.#list.ranges.reduce((sum, { seq }) => sum + seq, 0);
    expect(moved, units, "how far all sequences of the list moved");
  }

  measure(): Sample {
    const list = this.#list;
    let wrong = 0;
    const begin = nowNs();
    for (let i = 0; i < this.#repeats; i++) {
      const page = mix(this.#state++) % list.ranges.length;
      const told = list.ranges[page]!;
      const { seq } = told;
      const event: ListedEvent = { start: page, end: page + 1, colliding: [] };
      list.start(event);
      if (event.colliding.length !== 1 || !isTold(told, seq)) wrong++;
      list.end(event);
    }
    const ns = nowNs() - begin;
    expect(wrong, 0, "how many of the list did not tell exactly the one that overlaps, once");
    expect(list.openCount, 0, "what is still open in the list");
    return { ns, units: this.#repeats };
  }
}

/** Between start and end: it was told once, and by one event that is open. */
const isTold = (told: { readonly seq: number; readonly active: number }, before: number): boolean =>
  told.active === 1 && told.seq === before + 1;

const rangeOf = (page: number) => ({ start: addrOf(vpn(page)), end: addrOf(vpn(page + 1)) });

/** 0 to `count` - 1 in an order of chance, always the same. */
function shuffled(count: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const other = mix(i) % (i + 1);
    const kept = order[i]!;
    order[i] = order[other]!;
    order[other] = kept;
  }
  return order;
}
