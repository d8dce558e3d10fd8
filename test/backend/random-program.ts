/** Random programs over a few pages, and what a model of plain words says about them. */
import fc from "fast-check";
import { expect } from "vitest";
import { PAGE_SIZE } from "../../src/base/index.ts";
import type { Rights } from "../../src/machine/index.ts";
import type { TestCpu } from "./backends.ts";

/** How devices refuse: no mapping, no right, or nothing there that could move to them. */
export const REFUSED = /^E(FAULT|PERM|INVAL)$/;

const PAGES = 8;
/** Words of a page that programs use. */
const WORDS = 4;

const page = fc.nat(PAGES - 1);
const word = fc.nat(WORDS - 1);
const rights = fc.constantFrom<Rights>("rw", "r", "none");

const command = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constant("store" as const), page, word }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant("load" as const), page, word }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("device" as const), page }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("protect" as const), page, rights }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("unmap" as const), page }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("map" as const), page, rights }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("discard" as const), page }) },
);

export type Command = typeof command extends fc.Arbitrary<infer One> ? One : never;
export const commands = fc.array(command, { minLength: 10, maxLength: 60 });

interface ModelPage {
  rights: Rights;
  readonly words: number[];
}

class Program {
  readonly #cpu: TestCpu;
  readonly #area: number;
  readonly #model = new Map<number, ModelPage>();
  #nextValue = 1;

  constructor(cpu: TestCpu, area: number) {
    this.#cpu = cpu;
    this.#area = area;
  }

  async run(one: Command): Promise<void> {
    const at = this.#area + one.page * PAGE_SIZE;
    const page = this.#model.get(one.page);
    if (one.op === "map") return this.#map(one.page, at, one.rights);
    if (one.op === "load") return this.#load(page, at, one.word);
    if (one.op === "store") return this.#store(page, at, one.word);
    if (one.op === "device") return this.#device(page, at);
    if (one.op === "unmap") {
      await this.#cpu.unmap(at, PAGE_SIZE);
      this.#model.delete(one.page);
      return;
    }
    const call =
      one.op === "discard"
        ? this.#cpu.discard(at, PAGE_SIZE)
        : this.#cpu.protect(at, PAGE_SIZE, one.rights);
    if (page === undefined) return expect(call).rejects.toThrow("ENOMEM");
    await call;
    if (one.op === "discard") page.words.fill(0);
    else page.rights = one.rights;
  }

  /** Nothing is mapped, whatever an earlier program left. */
  async clear(): Promise<void> {
    for (let page = 0; page < PAGES; page++) {
      await this.#cpu.unmap(this.#area + page * PAGE_SIZE, PAGE_SIZE);
    }
  }

  async #map(page: number, at: number, rights: Rights): Promise<void> {
    const call = this.#cpu.map(PAGE_SIZE, rights, at);
    if (this.#model.has(page)) return expect(call).rejects.toThrow("EEXIST");
    expect(await call).toBe(at);
    this.#model.set(page, { rights, words: new Array<number>(WORDS).fill(0) });
  }

  async #load(page: ModelPage | undefined, at: number, word: number): Promise<void> {
    if (page === undefined || page.rights === "none") {
      expect(await this.#cpu.refusal(at, false)).toBe("EFAULT");
    } else expect(await this.#cpu.load(at + 4 * word)).toBe(page.words[word]);
  }

  async #store(page: ModelPage | undefined, at: number, word: number): Promise<void> {
    if (page?.rights !== "rw") {
      expect(await this.#cpu.refusal(at, true)).toBe("EFAULT");
      return;
    }
    const value = this.#nextValue++;
    await this.#cpu.store(at + 4 * word, value);
    page.words[word] = value;
  }

  async #device(page: ModelPage | undefined, at: number): Promise<void> {
    const addend = this.#nextValue++ * 1000;
    const call = this.#cpu.deviceAdd(at, WORDS, addend);
    if (page?.rights !== "rw") return expect(call).rejects.toThrow(REFUSED);
    await call;
    for (let word = 0; word < WORDS; word++) page.words[word] = page.words[word]! + addend;
  }
}

/** Runs a program on a space and on the model; throws where they differ. */
export async function runCommands(
  cpu: TestCpu,
  program: readonly Command[],
  area: number,
): Promise<void> {
  const both = new Program(cpu, area);
  await both.clear();
  for (const one of program) await both.run(one);
  cpu.check();
}
