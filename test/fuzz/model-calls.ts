/** What the system calls do to a process of the model, and which code each gives. */
import { Guess, ZERO } from "./guess.ts";
import {
  HUGE,
  isBeyondEnd,
  isShared,
  type Kind,
  type ModelObject,
  type ModelPage,
  type ModelSpace,
  newLoan,
  type Part,
  type Rights,
  SLOT_PAGES,
} from "./model-space.ts";

export interface NewMapping {
  readonly slot: number;
  readonly count: number;
  readonly rights: Rights;
  /** `thp` is anonymous private memory, advised. */
  readonly kind: Kind | "thp";
}

export function callMmap(space: ModelSpace, { slot, count, rights, kind }: NewMapping): string {
  const pages = kind === "ht" ? Math.ceil(count / HUGE) * HUGE : count;
  const start = slot * SLOT_PAGES;
  if (pages === 0) return "EINVAL";
  if (!space.isFree(start, start + pages)) return "EEXIST";
  const page = {
    kind: kind === "thp" ? "ap" : kind,
    object: newObject(slot, pages, kind),
    rights,
    advice: kind === "thp" ? "hugepage" : "",
    own: undefined,
    isAltered: false,
  } as const;
  space.map(
    start,
    Array.from({ length: pages }, (_, index) => ({ ...page, index, loan: newLoan() })),
  );
  return "OK";
}

function newObject(slot: number, pages: number, kind: string): ModelObject | undefined {
  const firstWord = 0xf000_0000 + slot * 0x1_0000;
  if (kind === "as") return { words: new Array<Guess>(pages).fill(ZERO) };
  if (kind !== "fp" && kind !== "fs") return undefined;
  return { words: Array.from({ length: pages }, (_, i) => Guess.of(BigInt(firstWord + i))) };
}

export function callMunmap(space: ModelSpace, start: number, count: number): string {
  return count > 0 && space.unmap(start, start + count) ? "OK" : "EINVAL";
}

export interface NewRights {
  readonly start: number;
  readonly count: number;
  readonly rights: Rights;
}

/** Stops at the first hole; what came before it is changed. */
export function callMprotect(space: ModelSpace, { start, count, rights }: NewRights): string {
  let at = start;
  for (const part of space.parts(start, start + count)) {
    if (part.start !== at) return "ENOMEM";
    if (!space.alter(part, { rights })) return "EINVAL";
    at = part.end;
  }
  return at === start + count ? "OK" : "ENOMEM";
}

export interface Advised {
  readonly start: number;
  readonly count: number;
  readonly advice: string;
}

export function callMadvise(space: ModelSpace, { start, count, advice }: Advised): string {
  const end = start + count;
  if (advice === "populate_read" || advice === "populate_write") {
    return populate(space, { start, end, isWrite: advice === "populate_write" });
  }
  // holes are passed over, and named at the end
  let at = start;
  let code = "OK";
  for (const part of space.parts(start, end)) {
    if (part.start !== at) code = "ENOMEM";
    at = part.end;
    const failed = advisePart(space, part, advice);
    if (failed !== undefined) return failed;
  }
  return at === end ? code : "ENOMEM";
}

interface Populated {
  readonly start: number;
  readonly end: number;
  readonly isWrite: boolean;
}

function populate(space: ModelSpace, { start, end, isWrite }: Populated): string {
  for (let at = start; at < end; at++) {
    if (space.at(at) === undefined) return "ENOMEM";
    const access = space.access(at, isWrite);
    if (access !== "OK") return access === "BUS" ? "EFAULT" : "EINVAL";
  }
  return "OK";
}

function advisePart(space: ModelSpace, part: Part, advice: string): string | undefined {
  switch (advice) {
    case "dontneed":
      return dontneed(space, part);
    case "remove":
      return remove(space, part);
    case "hugepage":
    case "nohugepage":
      return space.alter(part, { advice }) ? undefined : "EINVAL";
    default:
      throw new Error(`unknown advice ${advice}`);
  }
}

/** Private pages forget what was written; huge ones only where they are covered whole. */
function dontneed(space: ModelSpace, { start, end, page }: Part): string | undefined {
  const isHuge = page.kind === "ht";
  if (isHuge && start % HUGE !== 0) return "EINVAL";
  const until = isHuge ? end - (end % HUGE) : end;
  if (!isShared(page)) for (let at = start; at < until; at++) space.dropOwn(at);
  return undefined;
}

/** Punches a hole in what is behind a shared mapping, for everybody who maps it. */
function remove(space: ModelSpace, { start, end, page }: Part): string | undefined {
  if (page.kind === "ap") return "EINVAL";
  if (!isShared(page)) return "EACCES";
  for (let at = start; at < end; at++) {
    if (!isBeyondEnd(space.at(at)!)) space.setWord(at, ZERO);
  }
  return undefined;
}

export interface Moved {
  readonly from: number;
  readonly count: number;
  readonly to: number;
  readonly newCount: number;
}

/** What is known of a move: one code, or a choice with what follows from OK. */
export type MoveResult = string | { readonly choice: readonly string[]; readonly ok: () => void };

/** The target and a tail that gets lost are unmapped even when the move fails after that. */
export function callMremap(space: ModelSpace, moved: Moved): MoveResult {
  const { from, to } = moved;
  let { count, newCount } = moved;
  if (newCount === 0) return "EINVAL";
  const first = space.at(from);
  if (first === undefined) return "EFAULT";
  if (first.kind === "ht") {
    count = Math.ceil(count / HUGE) * HUGE;
    newCount = Math.ceil(newCount / HUGE) * HUGE;
    if (from % HUGE !== 0 || newCount > count) return "EINVAL";
  }
  if (from + count > to && to + newCount > from) return "EINVAL";
  if (!space.unmap(to, to + newCount)) return "EINVAL";
  if (count > newCount) {
    if (!space.unmap(from + newCount, from + count)) return "EINVAL";
    count = newCount;
  }
  if (space.at(from) === undefined) return "EFAULT";
  if (count === 0 && !isShared(first)) return "EINVAL";
  const move = (): void => moveArea(space, { from, count, to, newCount });
  const isOne = space.isOneArea(from, from + count);
  if (isOne === "no") return "EFAULT";
  if (isOne === "perhaps") return { choice: ["OK", "EFAULT"], ok: move };
  move();
  return "OK";
}

/** Moves pages with what they hold; where there are more than before, the area has grown. */
function moveArea(space: ModelSpace, { from, count, to, newCount }: Moved): void {
  const first = space.at(from)!;
  const pages: ModelPage[] = [];
  for (let i = 0; i < newCount; i++) {
    const old = i < count ? space.at(from + i) : undefined;
    const fresh = { own: undefined, loan: newLoan(), isAltered: false };
    pages.push(old ?? { ...first, ...fresh, index: first.index + i });
  }
  space.unmap(from, from + count);
  space.map(to, pages);
}
