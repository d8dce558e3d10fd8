/**
 * Random programs in which untouched parts, protections and moves meet: what is one mapping and
 * what is two, after every call. `FUZZ_SEED` says which programs.
 */

import fc from "fast-check";
import { expect, it } from "vitest";
import { errnoName } from "../../src/base/index.ts";
import { mremap, VM_READ, VM_WRITE } from "../../src/mm/index.ts";
import { bytesOf, pageAt, RW, type TestWorld, testWorld } from "../engine/test-world.ts";
import { isReplay, replayable } from "../replay/replay.ts";
import { type Area, type AreaCode, AreaModel } from "./areas.ts";

const SEED = Number(process.env.FUZZ_SEED ?? 1);
const PROGRAMS = 400;
/** So few that all meet; a move takes at most half. */
const PAGES = 24;

interface Step {
  readonly op: "map" | "unmap" | "load" | "store" | "protect" | "move" | "grow";
  readonly page: number;
  readonly count: number;
  readonly pick: number;
}

const weights = { map: 6, unmap: 2, load: 1, store: 4, protect: 8, move: 3, grow: 3 };
const ops = Object.entries(weights).map(([op, weight]) => ({
  weight,
  arbitrary: fc.constant(op as Step["op"]),
}));
const step: fc.Arbitrary<Step> = fc.record({
  op: fc.oneof(...ops),
  // thirds of the field, so that ranges meet at the same borders
  page: fc.nat(PAGES / 3 - 1).map((third) => third * 3),
  count: fc.constantFrom(1, 3, 3, 6, 12),
  pick: fc.nat(PAGES / 3 - 1),
});

/** On the model and on the engine; what each answers. */
function take(model: AreaModel, world: TestWorld, step: Step): [AreaCode, AreaCode] {
  const { op, page, pick } = step;
  const count = Math.min(step.count, PAGES - page);
  const isWritable = pick % 3 !== 0;
  const access = isWritable ? RW : VM_READ;
  switch (op) {
    case "map": {
      const mapped = world.tryMap(page, count, { flags: access });
      return [model.map(page, page + count, isWritable), codeOf(mapped)];
    }
    case "unmap":
      return [model.unmap(page, page + count), codeOf(world.unmap(page, count))];
    case "load":
      world.load(page);
      return ["OK", "OK"];
    case "store":
      return [model.store(page), codeOf(world.store(page, pick))];
    case "protect": {
      const result = world.protect(page, count, access);
      return [model.protect(page, page + count, isWritable), codeOf(result)];
    }
    case "move": {
      const to = Math.min(pick * 3, PAGES - count);
      return [model.move(page, count, to), codeOf(world.move(page, count, to))];
    }
    case "grow": {
      const more = Math.min(3, PAGES - page - count);
      if (more <= 0) return ["OK", "OK"];
      const [bytes, newBytes] = [bytesOf(count), bytesOf(count + more)];
      const grown = world.run(mremap(world.space, { start: pageAt(page), bytes, newBytes }));
      return [model.grow(page, count, more), codeOf(grown)];
    }
  }
}

const codeOf = (result: number): AreaCode => (result < 0 ? (errnoName(-result) as AreaCode) : "OK");

/** Names of reverse maps differ, so each is called by the first page that has it. */
function areasOf(areas: readonly Area[]): unknown[] {
  const firsts = new Map<number, number>();
  return areas.map(([start, end, isWritable, anon]) => {
    if (anon !== 0 && !firsts.has(anon)) firsts.set(anon, start);
    return [start, end, isWritable, firsts.get(anon)];
  });
}

const programs = fc.array(step, { minLength: 5, maxLength: 40, size: "max" });
const WHOLE: Step = { op: "map", page: 0, count: PAGES, pick: 1 };
/** What programs begin with: with a hole, both sides of it get reverse maps of their own. */
const STARTS: readonly (readonly Step[])[] = [
  [WHOLE],
  [WHOLE, { op: "unmap", page: 9, count: 6, pick: 0 }],
];

it("is one mapping or two, as Linux says, whatever was mapped, touched, protected and moved", () => {
  const taken = new Map<string, number>();
  const merges = new Map<string, number>();
  const property = fc.property(fc.constantFrom(...STARTS), programs, (start, steps) => {
    const world = testWorld({ frames: 2 * PAGES + 8 });
    const model = new AreaModel(PAGES);
    for (const each of [...start, ...steps]) {
      const [wanted, found] = take(model, world, each);
      taken.set(`${each.op} ${wanted}`, (taken.get(`${each.op} ${wanted}`) ?? 0) + 1);
      const vmas = world.space.vmas.all.map(({ flags, anonVma }, i): Area => {
        const [start, end] = world.layout[i]!;
        return [start!, end!, (flags & VM_WRITE) !== 0, anonVma?.id ?? 0];
      });
      expect([found, areasOf(vmas)]).toEqual([wanted, areasOf(model.areas)]);
    }
    for (const [mix, count] of model.merges) merges.set(mix, (merges.get(mix) ?? 0) + count);
    world.leave();
  });
  fc.assert(property, replayable("areas", { seed: SEED, numRuns: PROGRAMS }));
  // so that it cannot fall silent
  for (const good of ["map", "store", "protect", "move", "grow"]) {
    expect([good, taken.get(`${good} OK`)! > PROGRAMS / 2]).toEqual([good, true]);
  }
  // Another seed may miss the rarest.
  if (process.env.FUZZ_SEED !== undefined || isReplay()) return;
  // Every mix of reverse maps with which three neighbours can become one, and the one with which
  // the middle fits both sides and they stay two.
  const reached = [...merges.keys()].sort();
  expect(reached).toEqual(["--- one", "--3 one", "1-- one", "1-1 one", "1-3 two", "111 one"]);
});
