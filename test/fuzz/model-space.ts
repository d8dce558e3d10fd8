/**
 * One process as its own program sees it: which pages are mapped, with which rights, and what
 * they hold. A page is a number, slot * `SLOT_PAGES` + page in the slot.
 *
 * Linux keeps neighbouring pages in areas and some rules are about areas: where one may begin
 * inside pages that look alike, there is a seam. Whether two like areas were merged again is
 * nothing that a program can rely on, so a seam means "perhaps", except in huge pages of a pool,
 * whose areas are never merged.
 */
import { type Guess, ZERO } from "./guess.ts";

export const SLOT_PAGES = 0x1_0000;
/** A huge page of the pool, in pages. */
export const HUGE = 512;

export type Rights = "rw" | "r" | "none";
export type Kind = "ap" | "as" | "fp" | "fs" | "ht";
export type Advice = "" | "hugepage" | "nohugepage";

/** A file, or shared memory: it ends after its words. */
export interface ModelObject {
  readonly words: Guess[];
}

export interface ModelPage {
  readonly kind: Kind;
  /** What is behind the page, except behind anonymous private memory and huge pages of a pool. */
  readonly object: ModelObject | undefined;
  /** Which page of the object. */
  readonly index: number;
  readonly rights: Rights;
  readonly advice: Advice;
  /** What a private page holds that somebody wrote to. */
  readonly own: Guess | undefined;
  readonly loan: Loan;
  /** Whether it was cloned or its rights changed since the CPU last wrote to it. */
  readonly isAltered: boolean;
}

/**
 * The one thing about places that a program sees: a device does not ask for a page that it holds
 * itself, so it cannot write to one that was moved to it while the CPU might not write to it.
 */
export interface Loan {
  /** Devices that may hold the page. */
  readonly devices: Set<number>;
  /** Whether the CPU may be locked out because some device has it exclusively. */
  isExclusive: boolean;
  /** Whether parent and child may have this very page. */
  isCloned: boolean;
}

export const newLoan = (): Loan => ({ devices: new Set(), isExclusive: false, isCloned: false });

/** Mapped pages without a seam inside; all look alike. */
export interface Part {
  readonly start: number;
  readonly end: number;
  readonly page: ModelPage;
}

export const isShared = (page: ModelPage): boolean => page.kind === "as" || page.kind === "fs";

/** Whether the page lies after the end of what is behind it: an access is a bus error. */
export const isBeyondEnd = ({ object, index }: ModelPage): boolean =>
  object !== undefined && index >= object.words.length;

export class ModelSpace {
  readonly #pages: Map<number, ModelPage>;
  readonly #seams: Set<number>;
  // pages that a device may hold exclusively, by device
  readonly #exclusive = new Map<number, Set<number>>();

  constructor(pages?: Map<number, ModelPage>, seams?: Set<number>) {
    this.#pages = pages ?? new Map();
    this.#seams = seams ?? new Set();
  }

  get pages(): ReadonlyMap<number, ModelPage> {
    return this.#pages;
  }

  /** What a child sees: the same files and shared memory, and copies of what is private. */
  clone(): ModelSpace {
    for (const [at, page] of this.#pages) {
      page.loan.isCloned = true;
      this.#pages.set(at, { ...page, isAltered: true });
    }
    return new ModelSpace(new Map(this.#pages), new Set(this.#seams));
  }

  /** No device holds anything any more. */
  endLoans(): void {
    for (const { loan } of this.#pages.values()) loan.devices.clear();
  }

  at(page: number): ModelPage | undefined {
    return this.#pages.get(page);
  }

  /** What an access by the CPU gets. */
  access(at: number, isWrite: boolean): "OK" | "SEGV" | "BUS" {
    const page = this.#pages.get(at);
    if (page === undefined || page.rights === "none") return "SEGV";
    if (isWrite && page.rights !== "rw") return "SEGV";
    return isBeyondEnd(page) ? "BUS" : "OK";
  }

  /** What the page holds. It must be accessible. */
  word(at: number): Guess {
    const page = this.#pages.get(at)!;
    return page.own ?? page.object?.words[page.index] ?? ZERO;
  }

  setWord(at: number, word: Guess): void {
    const page = this.#pages.get(at)!;
    if (isShared(page)) page.object!.words[page.index] = word;
    else this.#pages.set(at, { ...page, own: word });
  }

  /** Forgets what was written to a private page. */
  dropOwn(at: number): void {
    const page = this.#pages.get(at)!;
    this.#pages.set(at, { ...page, own: undefined, loan: newLoan(), isAltered: false });
  }

  /** The CPU has read the page: it is in system memory, and nobody has it exclusively. */
  noteLoad(at: number): void {
    for (const pages of this.#exclusive.values()) pages.delete(at);
    const { loan } = this.#pages.get(at)!;
    if (loan.isCloned) return;
    loan.devices.clear();
    loan.isExclusive = false;
  }

  /** The CPU has written to the page: it is in system memory, and its own. */
  noteStore(at: number): void {
    this.noteLoad(at);
    this.#pages.set(at, { ...this.#pages.get(at)!, loan: newLoan(), isAltered: false });
  }

  /** Exclusive access follows the page; what the device knows of it is about the address. */
  noteExclusive(at: number, device: number): void {
    const page = this.#pages.get(at);
    if (page !== undefined) page.loan.isExclusive = true;
    const pages = this.#exclusive.get(device) ?? new Set();
    this.#exclusive.set(device, pages.add(at));
  }

  mayBeExclusive(at: number, device: number): boolean {
    return this.#exclusive.get(device)?.has(at) === true;
  }

  /** Whether the device may hold the page and not be able to write to it. */
  mayBeStuck(at: number, device: number): boolean {
    const page = this.#pages.get(at);
    if (page === undefined || !page.loan.devices.has(device)) return false;
    return page.isAltered || page.rights === "r";
  }

  isFree(start: number, end: number): boolean {
    for (let at = start; at < end; at++) if (this.#pages.has(at)) return false;
    return true;
  }

  /** Maps `pages` in a row from `start`, as one area. */
  map(start: number, pages: readonly ModelPage[]): void {
    pages.forEach((page, i) => {
      this.#pages.set(start + i, page);
      this.#seams.delete(start + i);
    });
    this.#seams.add(start).add(start + pages.length);
  }

  /** Removes what is there; false, with nothing removed, when a huge page would be cut. */
  unmap(start: number, end: number): boolean {
    if (this.#cutsHuge(start)) return false;
    this.#seams.add(start);
    if (this.#cutsHuge(end)) return false;
    this.#seams.add(end);
    for (let at = start; at < end; at++) this.#pages.delete(at);
    return true;
  }

  /** The parts of [start, end) in order; what is not mapped is left out. */
  parts(start: number, end: number): Part[] {
    const parts: { start: number; end: number; page: ModelPage }[] = [];
    for (let at = start; at < end; at++) {
      const page = this.#pages.get(at);
      const last = parts.at(-1);
      if (page === undefined) continue;
      if (last?.end === at && !this.#seams.has(at)) last.end = at + 1;
      else parts.push({ start: at, end: at + 1, page });
    }
    return parts;
  }

  /** Changes how a part is mapped; false, with nothing changed, when a huge page would be cut. */
  alter(part: Part, change: { rights?: Rights; advice?: Advice }): boolean {
    const { rights = part.page.rights, advice = part.page.advice } = change;
    if (rights === part.page.rights && advice === part.page.advice) return true;
    if (part.page.kind === "ht") {
      if (part.start % HUGE !== 0) return false;
      this.#seams.add(part.start);
      if (part.end % HUGE !== 0) return false;
    }
    this.#seams.add(part.start).add(part.end);
    for (let at = part.start; at < part.end; at++) {
      const page = this.#pages.get(at)!;
      const isAltered = page.isAltered || rights !== page.rights;
      this.#pages.set(at, { ...page, rights, advice, isAltered });
    }
    return true;
  }

  /** Whether [start, end) lies in one area. */
  isOneArea(start: number, end: number): "yes" | "no" | "perhaps" {
    const parts = this.parts(start, end);
    const first = parts[0];
    if (first === undefined) return start === end ? "yes" : "no";
    let at = start;
    for (const { start: from, end: to, page } of parts) {
      if (from !== at) return "no";
      at = to;
      if (page.rights !== first.page.rights || page.advice !== first.page.advice) return "no";
      if (page.kind !== first.page.kind || page.object !== first.page.object) return "no";
      if (page.object !== undefined && page.index - from !== first.page.index - start) return "no";
    }
    if (at !== end) return "no";
    if (parts.length === 1) return "yes";
    return first.page.kind === "ht" ? "no" : "perhaps";
  }

  #cutsHuge(at: number): boolean {
    return (
      at % HUGE !== 0 &&
      this.#pages.get(at)?.kind === "ht" &&
      this.#pages.get(at - 1)?.kind === "ht"
    );
  }
}
