/**
 * Bounds the loops of a kernel: an invocation that missed a page goes on with zeros to find more
 * faults, and a loop that waits for another value would never end. A check at the start of each
 * loop body stops it. A small tokenizer is enough: WGSL has no strings, and no expression of it
 * holds a brace.
 */

/** Text that was inserted: after this column (1-based) of this line of the original. */
export interface Insertion {
  readonly line: number;
  readonly column: number;
  readonly length: number;
}

const GUARD = " if (os_stop()) { break; }";

export function guardLoops(code: string): {
  readonly code: string;
  readonly insertions: readonly Insertion[];
} {
  const places = loopBodies(code);
  const insertions: Insertion[] = [];
  let guarded = "";
  let from = 0;
  for (const place of places) {
    guarded += code.slice(from, place) + GUARD;
    from = place;
    const before = code.slice(0, place).split("\n");
    const column = before[before.length - 1]!.length;
    insertions.push({ line: before.length, column, length: GUARD.length });
  }
  return { code: guarded + code.slice(from), insertions };
}

/** Offsets just after the opening brace of every loop body. */
function loopBodies(code: string): number[] {
  const places: number[] = [];
  const blank = blankComments(code);
  for (const match of blank.matchAll(/\b(?:for|while|loop)\b/g)) {
    const body = openingBrace(blank, match.index + match[0].length);
    if (body >= 0) places.push(body + 1);
  }
  return places;
}

/** The first brace after `at` that is outside of parentheses. */
function openingBrace(code: string, at: number): number {
  let depth = 0;
  for (let i = at; i < code.length; i++) {
    const letter = code[i];
    if (letter === "(") depth++;
    else if (letter === ")") depth--;
    else if (letter === "{" && depth === 0) return i;
  }
  return -1;
}

/** Same length and lines, with comments (block comments nest) blanked out. */
function blankComments(code: string): string {
  let blank = "";
  let depth = 0;
  let isLine = false;
  for (let i = 0; i < code.length; i++) {
    const two = code.slice(i, i + 2);
    if (isLine) isLine = code[i] !== "\n";
    else if (depth === 0 && two === "//") isLine = true;
    else if (two === "/*" || (two === "*/" && depth > 0)) {
      depth += two === "/*" ? 1 : -1;
      blank += "  ";
      i++;
      continue;
    }
    blank += isLine || depth > 0 ? (code[i] === "\n" ? "\n" : " ") : code[i];
  }
  return blank;
}
