/**
 * Bounds the loops of a kernel: nothing can stop a GPU, so nothing that runs on it may be
 * endless; and an invocation that missed a page goes on with zeros to find more faults, where a
 * loop that waits for another value would never end. A check at the start of each loop body
 * stops it, but for short loops that are known to end (`counted-loops.ts`). A small tokenizer is
 * enough: WGSL has no strings, and no expression of it holds a brace.
 */

import { argsHoists } from "./args-hoists.ts";
import { countedLoops } from "./counted-loops.ts";
import { blankComments, closing, type Insert, openingBrace, placeOf } from "./source-text.ts";

/** Text that was inserted: after this column (1-based) of this line of the original. */
export interface Insertion {
  readonly line: number;
  readonly column: number;
  readonly length: number;
}

/** One test and no call: a branch with more in it made an empty loop seven times as slow. */
const GUARD = " os_left -= 1; if (os_left < 0)";

/** Where all of a group must take the same way. */
const GROUP_GUARD = " os_left -= 1; if (os_mustLeave())";

/** A loop that its own code leaves by `break`, and no loop or switch in it. */
function isLeft(body: string): boolean {
  let own = body;
  for (const { index } of body.matchAll(/\b(?:for|while|loop|switch)\b/g)) {
    const brace = openingBrace(body, index);
    const end = closing(body, brace, "{", "}");
    if (brace > 0) own = own.slice(0, index) + " ".repeat(end - index) + own.slice(end);
  }
  return /\bbreak\b/.test(own);
}

/** The code with its guards, and with what it reads in loops at hand (`args-hoists.ts`). */
export function guardLoops(
  code: string,
  hasArgs: boolean,
  isGroup = false,
): {
  readonly code: string;
  readonly insertions: readonly Insertion[];
  /** No loop and no call of its own functions: an invocation takes no longer than its text is. */
  readonly isBounded: boolean;
} {
  const insertions: Insertion[] = [];
  let guarded = "";
  let from = 0;
  const blank = blankComments(code);
  const hoists = hasArgs ? argsHoists(blank) : [];
  const inserted = [...guardsOf(blank, isGroup), ...hoists].sort((a, b) => a.at - b.at);
  for (const { at, text } of inserted) {
    guarded += code.slice(from, at) + text;
    from = at;
    const { line, column } = placeOf(code, at);
    insertions.push({ line, column: column - 1, length: text.length });
  }
  return { code: guarded + code.slice(from), insertions, isBounded: !isGroup && isBounded(blank) };
}

/** Text of this length has no work that is worth a limit. */
const BOUNDED_MAX = 4096;

const isBounded = (code: string): boolean =>
  code.length <= BOUNDED_MAX &&
  !/\b(?:for|while|loop)\b/.test(code) &&
  (code.match(/\bfn\b/g)?.length ?? 0) <= 1;

/**
 * A loop that ends by its condition is left by `break`. For one that need not (`loop`, `for`
 * without a condition) that would be an end that its function does not expect: it may have no
 * return statement behind it. There the guard returns a zero value; but `continuing` blocks
 * allow no return, hence no such loop.
 */
function guardsOf(code: string, isGroup: boolean): Insert[] {
  const functions = functionsOf(code);
  const continuing = [...code.matchAll(/\bcontinuing\b/g)].map(({ index }) => {
    const start = openingBrace(code, index);
    return { start, end: closing(code, start, "{", "}") };
  });
  const counted = countedLoops(code);
  const waiting = wordsThatWait(code);
  const guards: Insert[] = [];
  // Loops up to here are in one that is counted, and counted with it.
  let charged = -1;
  for (const { 0: word, index } of code.matchAll(/\b(?:for|while|loop)\b/g)) {
    const brace = openingBrace(code, index);
    if (brace < 0) continue;
    const passes = counted.get(index);
    if (passes !== undefined) {
      if (index > charged) guards.push({ at: index, text: `os_left -= ${passes}; ` });
      charged = Math.max(charged, closing(code, brace, "{", "}"));
      continue;
    }
    const mayReturn = !continuing.some(({ start, end }) => index > start && index < end);
    const returns = functions.findLast(({ start }) => start < index)?.returns ?? "";
    const isEndless = word === "loop" || /^for\s*\([^;]*;\s*;/.test(code.slice(index, brace));
    const end = closing(code, brace, "{", "}");
    // After a return that not all of a group make no barrier may follow.
    const mustReturn =
      isEndless && mayReturn && !(isGroup && isLeft(code.slice(brace + 1, end - 1)));
    const leave = mustReturn ? `return${returns && ` ${returns}()`}` : "break";
    const waits = isGroup && waiting.test(code.slice(index, end));
    const say = isGroup && !waits ? "os_tell(); " : "";
    guards.push({ at: brace + 1, text: `${waits ? GROUP_GUARD : GUARD} { ${say}${leave}; }` });
  }
  return guards;
}

/** Barriers, and the names of functions that have some, directly or not. */
function wordsThatWait(code: string): RegExp {
  const words = ["workgroupBarrier", "workgroupUniformLoad"];
  const bodies = Array.from(code.matchAll(/\bfn\s+([A-Za-z_]\w*)/g), ({ 1: name, index }) => {
    const brace = openingBrace(code, index);
    const body = brace < 0 ? "" : code.slice(brace, closing(code, brace, "{", "}"));
    return { name: name!, body };
  });
  const any = (): RegExp => new RegExp(String.raw`\b(?:${words.join("|")})\s*\(`);
  for (let before = 0; before !== words.length; ) {
    before = words.length;
    const found = bodies.filter(({ name, body }) => !words.includes(name) && any().test(body));
    words.push(...found.map(({ name }) => name));
  }
  return any();
}

function functionsOf(code: string): { readonly start: number; readonly returns: string }[] {
  return [...code.matchAll(/\bfn\b/g)].map(({ index }) => {
    const head = code.slice(index, Math.max(index, openingBrace(code, index)));
    const arrow = head.lastIndexOf("->");
    return { start: index, returns: arrow < 0 ? "" : head.slice(arrow + 2).trim() };
  });
}
