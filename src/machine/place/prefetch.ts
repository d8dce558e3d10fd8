/** Memory that is brought to where it will be needed, beforehand: `Space.prefetch`. */
import { PAGE_SIZE } from "../../base/index.ts";
import type { EnginePort } from "../engine/index.ts";
import { errorCode, hmmError, invalid } from "../error.ts";
import { show } from "../given.ts";
import { type MemoryRange, piecesOf } from "./place.ts";

export type PrefetchTarget = "device" | "cpu";

/** Brings `range` there piece by piece, so that nobody waits for all of it: bytes that came. */
export async function prefetchRange(
  port: EnginePort,
  range: MemoryRange,
  to: PrefetchTarget,
  { call, write }: { readonly call: string; readonly write: boolean },
): Promise<number> {
  if (to !== "device" && to !== "cpu") {
    throw invalid(call, `to must be "device" or "cpu", got ${show(to)}`);
  }
  let pages = 0;
  let since: number | undefined;
  for (const piece of piecesOf(range)) {
    if (to === "cpu") {
      const came = await port.call("home", piece);
      if (came < 0) throw refused(call, came, range, piece.start);
      pages += came;
      continue;
    }
    const ask = { ...piece, write, ...(since !== undefined && { since }) };
    const answer = await port.call("prefetch", ask);
    if (answer.result < 0) throw refused(call, answer.result, range, answer.address ?? piece.start);
    pages += answer.pages;
    since = answer.since;
  }
  return pages * PAGE_SIZE;
}

const refused = (call: string, result: number, { bytes }: MemoryRange, address: number) =>
  hmmError({
    code: errorCode(result),
    call,
    detail: `cannot bring all of ${bytes} bytes`,
    address,
  });
