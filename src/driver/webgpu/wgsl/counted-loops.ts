/**
 * Loops that end by themselves, soon, whatever the kernel computes: `for (var k = 0u; k < 5u; k++)`
 * with literals, whose body does not write `k` and calls none of the kernel's own functions. They
 * need no guard: their passes are charged at once, before they begin. A few plain rules on the text
 * decide, and no is always a safe answer.
 */
import { closing } from "./source-text.ts";

/** Passes of a loop, with those of the loops in it, that nobody counts. */
const PASSES_MAX = 64;

const NUMBER = String.raw`(-?\d{1,9})[iu]?`;
const HEAD = new RegExp(
  String.raw`^for\s*\(\s*var\s+(\w+)\s*(?::\s*[iu]32\s*)?=\s*${NUMBER}\s*;` +
    String.raw`\s*\1\s*(<=?|>=?)\s*${NUMBER}\s*;` +
    String.raw`\s*\1\s*(?:(\+\+|--)|([-+])=\s*${NUMBER}|(/=\s*2|>>=\s*1|\*=\s*2|<<=\s*1)u?)` +
    String.raw`\s*\)\s*\{`,
);
const CALL = /\b([A-Za-z_]\w*)\s*\(/g;
const FUNCTION = /\bfn\s+([A-Za-z_]\w*)/g;
const LOOP = /\b(?:for|while|loop)\b/g;

/** Where such loops begin, in text without comments, and their passes with those in them. */
export function countedLoops(code: string): ReadonlyMap<number, number> {
  const counted = new Map<number, number>();
  // Names of other letters would not be seen.
  if (/[^\0-\x7f]/.test(code)) return counted;
  const functions = new Set(Array.from(code.matchAll(FUNCTION), ([, name]) => name!));
  for (const { index } of code.matchAll(LOOP)) {
    const passes = passesOf(code, index, functions);
    if (passes <= PASSES_MAX && mayPrecede(code, index)) counted.set(index, passes);
  }
  return counted;
}

/** A statement may stand before the one at `at`: that has no attribute. */
const mayPrecede = (code: string, at: number): boolean => /[{};]\s*$/.test(code.slice(0, at));

/** Of the loop at `at` with those in it; infinite, if that is not known. */
function passesOf(code: string, at: number, functions: ReadonlySet<string>): number {
  const head = HEAD.exec(code.slice(at));
  if (head === null) return Number.POSITIVE_INFINITY;
  const [text, name, first, test, last, step, sign, by, factor] = head;
  const change = step === undefined ? Number(`${sign}${by}`) : Number(`${step[0]}1`);
  const passes =
    factor === undefined
      ? passesFrom(Number(first), test!, Number(last), change)
      : passesByHalves(Number(first), test!, Number(last), /^[*<]/.test(factor));
  const start = at + text.length;
  const body = code.slice(start, closing(code, start - 1, "{", "}"));
  // Also in brackets: (k) = 0, &(k).
  const isWritten = new RegExp(
    String.raw`(?:\+\+|--|&)[\s(]*\b${name}\b|` +
      String.raw`\b${name}\b[\s)]*(?:\+\+|--|(?:[-+*/%&|^]|<<|>>)?=(?!=))`,
  );
  if (isWritten.test(body)) return Number.POSITIVE_INFINITY;
  for (const [, called] of body.matchAll(CALL)) {
    if (functions.has(called!)) return Number.POSITIVE_INFINITY;
  }
  let inner = 1;
  for (const { index } of body.matchAll(LOOP)) inner *= passesOf(body, index, functions);
  return passes * inner;
}

/** Of a number that is halved while it is above another, or doubled while it is below. */
function passesByHalves(first: number, test: string, last: number, isDoubled: boolean): number {
  const isKnown = isDoubled ? test.startsWith("<") && last < 2 ** 30 : test === ">" && last >= 0;
  if (first < 1 || !isKnown) return Number.POSITIVE_INFINITY;
  const end = last + Number(test === "<=");
  let passes = 0;
  for (let at = first; isDoubled ? at < end : at > last; at = isDoubled ? 2 * at : at >>> 1) {
    passes++;
  }
  return Math.max(1, passes);
}

/** Up by steps that wrap nowhere, or down by one to what it must meet. */
function passesFrom(first: number, test: string, last: number, change: number): number {
  const way = last - first + Number(test.endsWith("="));
  if (test.startsWith("<") && change > 0) return Math.max(1, Math.ceil(way / change));
  if (test === ">" && change === -1) return Math.max(1, -way);
  return Number.POSITIVE_INFINITY;
}
