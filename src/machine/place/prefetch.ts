/** Memory that is brought to where it will be needed, beforehand: here or to the device. */
import { PAGE_SIZE } from "../../base/index.ts";
import type { Ask, Outcome } from "../engine/index.ts";
import { invalid } from "../error.ts";
import { show } from "../given.ts";
import { type Asker, ask, askSync } from "./ask.ts";
import { touched } from "./outcome.ts";
import { type MemoryRange, piecesOf } from "./place.ts";

export type PrefetchTarget = "device" | "cpu";

/** Makes `what` ready piece by piece: `Space.populate`. */
export async function populate(asker: Asker, what: Ask<"populate">): Promise<void> {
  for (const piece of piecesOf(what)) {
    touched(asker.call, await ask(asker, "populate", piece), what);
  }
}

export function populateSync(asker: Asker, what: Ask<"populate">): void {
  for (const piece of piecesOf(what)) {
    touched(asker.call, askSync(asker, "populate", piece), what);
  }
}

/** Brings `range` there piece by piece, so that nobody waits for all of it: bytes that came. */
export async function prefetchRange(
  asker: Asker,
  range: MemoryRange,
  to: PrefetchTarget,
  write: boolean,
): Promise<number> {
  if (to !== "device" && to !== "cpu") {
    throw invalid(asker.call, `to must be "device" or "cpu", got ${show(to)}`);
  }
  const check = (outcome: Outcome, piece: MemoryRange): void =>
    touched(asker.call, { address: piece.start, ...outcome }, { ...range, write });
  let pages = 0;
  let since: number | undefined;
  for (const piece of piecesOf(range)) {
    if (to === "cpu") {
      const came = await ask(asker, "home", piece);
      check({ result: came }, piece);
      pages += came;
      continue;
    }
    const what = { ...piece, write, ...(since !== undefined && { since }) };
    const answer = await ask(asker, "prefetch", what);
    check(answer, piece);
    pages += answer.pages;
    since = answer.since;
  }
  return pages * PAGE_SIZE;
}
