/**
 * Random programs over all operations of the traces. A program is drawn as shapes (what to map in
 * each slot) and steps; the model says what is mapped when a step comes, so that most steps reach
 * something and some do not.
 */
import fc from "fast-check";
import { type Args, Model } from "./model.ts";
import { SLOT_PAGES } from "./model-space.ts";

export interface ProgramOp {
  readonly actor: string;
  readonly op: string;
  readonly args: Args;
}

export interface Program {
  readonly ops: readonly ProgramOp[];
}

interface Shape {
  readonly kind: string;
  readonly count: number;
  readonly rights: string;
}

/** Numbers that pick a run of pages once it is known what is mapped. */
interface Place {
  readonly slot: number;
  readonly style: number;
  readonly a: number;
  readonly b: number;
}

interface Step {
  readonly isChild: boolean;
  readonly op: string;
  readonly place: Place;
  readonly device: number;
  /** Picks rights, an advice, a target, a value. */
  readonly pick: number;
}

/** A run of pages as the operations name it. */
interface Run {
  readonly slot: number;
  readonly page: number;
  readonly count: number;
}

const SLOTS = 8;
const RIGHTS = ["rw", "r", "rw", "r", "rw", "none", "rw", "rw"];
const ADVICES = [
  ...["dontneed", "remove", "populate_read", "populate_write"],
  ...["dontneed", "remove", "hugepage", "nohugepage"],
];

const WEIGHTS: Readonly<Record<string, number>> = {
  ...{ store: 16, load: 12, dev_write: 9, dev_read: 9, to_dev: 10, to_sys: 4, mprotect: 8 },
  ...{ madvise: 8, snapshot: 5, mremap: 4, exclusive: 5, fork: 4, munmap: 2, pagemap: 3 },
  ...{ mmap: 3, check_exclusive: 2, exit: 2 },
};

const range = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });
const weigh = <T>(pairs: readonly (readonly [number, fc.Arbitrary<T>])[]): fc.Arbitrary<T> =>
  fc.oneof(...pairs.map(([weight, arbitrary]) => ({ weight, arbitrary })));

/** Mostly a handful of pages; sometimes more than a device takes at a time. */
const smallCount = weigh([
  [5, range(1, 8)],
  [4, range(9, 30)],
  [1, range(60, 140)],
]);
/** Around what a huge page holds. */
const thpCount = weigh([
  [4, fc.constantFrom(512, 1024, 1536)],
  [1, range(500, 1100)],
]);
const rights = fc.constantFrom("rw", "rw", "rw", "rw", "rw", "r", "none");

const shape = (kinds: readonly string[], count: fc.Arbitrary<number>): fc.Arbitrary<Shape> =>
  fc.record({ kind: fc.constantFrom(...kinds), count, rights });

const KINDS = ["ap", "ap", "ap", "as", "fp", "fs"];
/** So few pages that everything happens to the same ones. */
const tiny = shape(KINDS, range(1, 3));
const huge: fc.Arbitrary<Shape> = weigh([
  [2, shape(["thp"], thpCount)],
  [1, shape(["ht"], fc.constantFrom(512, 1024))],
]);
const mixed: fc.Arbitrary<Shape> = weigh([
  [40, shape(KINDS, smallCount)],
  [1, huge],
]);

const place: fc.Arbitrary<Place> = fc.record({
  slot: range(0, SLOTS * 4 - 1),
  style: range(0, 15),
  a: range(0, 1999),
  b: range(0, 1999),
});

const step: fc.Arbitrary<Step> = fc.record({
  isChild: fc.boolean(),
  op: weigh(Object.entries(WEIGHTS).map(([op, weight]) => [weight, fc.constant(op)] as const)),
  place,
  device: range(0, 1),
  pick: range(0, 63),
});

export const programs: fc.Arbitrary<Program> = fc
  .record({
    shapes: weigh([
      [9, fc.array(tiny, { minLength: 1, maxLength: 2, size: "max" })],
      [9, fc.array(mixed, { minLength: 1, maxLength: 4, size: "max" })],
      [2, fc.array(huge, { minLength: 1, maxLength: 2, size: "max" })],
    ]),
    steps: fc.array(step, { minLength: 1, maxLength: 70, size: "max" }),
  })
  .map((drawn) => resolve(drawn.shapes, drawn.steps));

/** Steps become operations one by one; the model knows what is mapped when each comes. */
function resolve(all: readonly Shape[], steps: readonly Step[]): Program {
  const model = new Model();
  const ops: ProgramOp[] = [];
  const add = (op: ProgramOp): void => {
    ops.push(op);
    model.run(op.actor, op.op, op.args).learn?.({ r: "OK" });
  };
  all.forEach((_, slot) => {
    add(mapSlot("P", slot, all));
  });
  for (const [i, each] of steps.entries()) {
    const { op } = each;
    const hasChild = model.space("C") !== undefined;
    const actor = each.isChild && hasChild ? "C" : "P";
    if (op === "fork" || op === "exit") {
      if ((op === "fork") !== hasChild) add({ actor: op === "fork" ? "P" : "C", op, args: [] });
      continue;
    }
    const run = runOf(each.place, extentsOf(model, actor));
    if (op === "mmap") add(mapSlot(actor, run.slot, all));
    else add({ actor, op, args: argsOf(each, run, i + 1) });
  }
  return { ops };
}

function mapSlot(actor: string, slot: number, all: readonly Shape[]): ProgramOp {
  const { count, rights, kind } = all[slot % all.length]!;
  return { actor, op: "mmap", args: [slot, count, rights, kind] };
}

/** What a process has in a slot, from its first page to after its last. */
interface Extent {
  readonly slot: number;
  readonly start: number;
  readonly end: number;
}

function extentsOf(model: Model, actor: string): Extent[] {
  const extents = new Map<number, Extent>();
  for (const at of model.space(actor)?.pages.keys() ?? []) {
    const slot = Math.floor(at / SLOT_PAGES);
    const page = at % SLOT_PAGES;
    const { start, end } = extents.get(slot) ?? { start: page, end: page };
    extents.set(slot, { slot, start: Math.min(start, page), end: Math.max(end, page + 1) });
  }
  return [...extents.values()];
}

/** Where something is, mostly; sometimes anywhere. */
function runOf({ slot, style, a, b }: Place, extents: readonly Extent[]): Run {
  const drawn = slot < SLOTS || extents.length === 0 ? undefined : extents[slot % extents.length];
  const extent = drawn ?? { slot: slot % SLOTS, start: 0, end: 8 };
  const run = runIn(style, { a, b, pages: extent.end - extent.start });
  return { slot: extent.slot, page: extent.start + run.page, count: run.count };
}

interface Drawn {
  readonly a: number;
  readonly b: number;
  readonly pages: number;
}

function runIn(style: number, { a, b, pages }: Drawn): { page: number; count: number } {
  const page = a % pages;
  switch (style) {
    case 15: // nothing, or one page
      return { page, count: b % 4 === 0 ? 0 : 1 };
    case 14: // beyond the end
      return { page: a % (pages + 2), count: pages + 3 };
    case 13: // over the end
      return { page: Math.max(0, pages - 1 - (a % 3)), count: 1 + (b % 4) };
    case 12:
    case 11: // any part
      return { page, count: 1 + (b % (pages - page)) };
    case 10:
    case 9: // all
      return { page: 0, count: pages };
    case 8:
    case 7: // few at the beginning
      return { page: a % 3, count: 1 + (b % 3) };
    case 6: // few at the end
      return { page: Math.max(0, pages - 1 - (a % 4)), count: 1 };
    default:
      return { page, count: 1 + (b % Math.min(6, pages - page)) };
  }
}

function argsOf({ op, device, pick }: Step, { slot, page, count }: Run, serial: number): Args {
  switch (op) {
    case "load":
      return [slot, page];
    case "store":
      return [slot, page, wordOf(serial, pick)];
    case "munmap":
    case "pagemap":
      return [slot, page, count];
    case "mprotect":
      return [slot, page, count, RIGHTS[pick % 8]!];
    case "madvise":
      return [slot, page, count, ADVICES[pick % 8]!];
    case "mremap":
      return [slot, page, count, ...moveOf({ slot, page, count }, pick)];
    case "dev_write":
      return [device, slot, page, count, wordOf(serial, pick)];
    default:
      return [device, slot, page, count];
  }
}

/** No two are the same; some need 64 bits, and some stores are of nothing. */
function wordOf(serial: number, pick: number): string {
  if (pick === 63) return "0";
  return ((pick % 4 === 3 ? 0xfedc_ba98n << 32n : 0n) + BigInt(serial * 0x1_0000)).toString(16);
}

/** Where to and how many: often the next slots, sometimes right before where it is. */
function moveOf({ slot, page, count }: Run, pick: number): [number, number] {
  if (pick % 16 === 5) return [slot, page + (pick >> 5)];
  const target = pick % 4 === 0 ? (pick >> 2) % SLOTS : (slot + 1 + (pick % 2)) % SLOTS;
  return [target, newCountOf(count, pick)];
}

/** As many as before, or some more or fewer; now and then none. */
function newCountOf(count: number, pick: number): number {
  const [more, step] = [(pick >> 2) % 4, 1 + (pick >> 4)];
  if (pick === 62) return 0;
  if (more === 1) return count + step;
  if (more === 3) return count + step * 4;
  return more === 2 ? Math.max(1, count - step) : Math.max(1, count);
}
