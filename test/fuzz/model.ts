/**
 * What a program may rely on, and nothing about how it is done: this model knows no page tables,
 * no migration, no copy-on-write, no tables of devices. A move of pages between memories never
 * changes what anybody reads.
 *
 * Each operation gives a claim about its answer. Whoever runs a program compares, then lets the
 * model hear the answer (`learn`), because some things are known only afterwards.
 */
import { type Claim, claimCode } from "./claim.ts";
import { Guess } from "./guess.ts";
import {
  callMadvise,
  callMmap,
  callMprotect,
  callMremap,
  callMunmap,
  type NewMapping,
} from "./model-calls.ts";
import { DEVICE_OPERATIONS } from "./model-device.ts";
import { isShared, ModelSpace, type Rights, SLOT_PAGES } from "./model-space.ts";

export type Args = readonly (string | number)[];

export class Model {
  // "P" or "C" -> what it sees
  readonly #actors = new Map([["P", new ModelSpace()]]);

  has(actor: string): boolean {
    return this.#actors.has(actor);
  }

  space(actor: string): ModelSpace | undefined {
    return this.#actors.get(actor);
  }

  /** Does what the operation does, and says what its answer must be. */
  run(actor: string, op: string, args: Args): Claim {
    const space = this.#actors.get(actor);
    if (space === undefined) throw new Error(`there is no ${actor}`);
    if (op === "fork") {
      this.#actors.set("C", space.clone());
      return claimCode("OK");
    }
    if (op === "exit") {
      this.#actors.delete(actor);
      // when a device is closed, all that it holds goes home
      for (const other of this.#actors.values()) other.endLoans();
      return claimCode("OK");
    }
    const operation = OPERATIONS[op];
    if (operation === undefined) throw new Error(`unknown operation ${op}`);
    return operation(space, args);
  }
}

type Operation = (space: ModelSpace, args: Args) => Claim;

const OPERATIONS: Readonly<Record<string, Operation>> = {
  mmap: (space, [slot, count, rights, kind]) =>
    claimCode(
      callMmap(space, {
        slot: Number(slot),
        count: Number(count),
        rights: rights as Rights,
        kind: kind as NewMapping["kind"],
      }),
    ),

  munmap: (space, args) => claimCode(callMunmap(space, pageOf(args), Number(args[2]))),

  mprotect(space, args) {
    const rights = args[3] as Rights;
    return claimCode(callMprotect(space, { start: pageOf(args), count: Number(args[2]), rights }));
  },

  madvise(space, args) {
    const advice = String(args[3]);
    return claimCode(callMadvise(space, { start: pageOf(args), count: Number(args[2]), advice }));
  },

  mremap(space, args) {
    const to = Number(args[3]) * SLOT_PAGES;
    const counts = { count: Number(args[2]), newCount: Number(args[4]) };
    const result = callMremap(space, { from: pageOf(args), to, ...counts });
    if (typeof result === "string") return claimCode(result);
    return {
      codes: result.choice,
      learn: (answer) => {
        if (answer.r === "OK") result.ok();
      },
    };
  },

  store(space, args) {
    const at = pageOf(args);
    const access = space.access(at, true);
    if (access === "OK") {
      space.setWord(at, Guess.of(BigInt(`0x${args[2]}`)));
      space.noteStore(at);
    }
    return claimCode(access);
  },

  load(space, args) {
    const at = pageOf(args);
    const access = space.access(at, false);
    if (access !== "OK") return claimCode(access);
    space.noteLoad(at);
    return { codes: ["OK"], words: [space.word(at)] };
  },

  pagemap(space, args) {
    const start = pageOf(args);
    const letters = Array.from({ length: Number(args[2]) }, (_, i) => lettersOf(space, start + i));
    return { codes: ["OK"], letters };
  },

  ...DEVICE_OPERATIONS,
};

const pageOf = (args: Args): number => Number(args[0]) * SLOT_PAGES + Number(args[1]);

/** What /proc/self/pagemap may say about a page. */
function lettersOf(space: ModelSpace, at: number): string {
  const page = space.at(at);
  if (page === undefined) return "-";
  if (isShared(page)) return "-Ff";
  if (page.kind === "fp") return page.own === undefined ? "-FfPpS" : "PpS";
  if (page.kind === "ht") return "-Pp";
  // the huge zero page is not anonymous
  return page.own === undefined ? "-PpSf" : "PpS";
}
