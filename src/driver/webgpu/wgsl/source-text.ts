/** Places in WGSL text, and the text without its comments. */

/** All that ends a line in WGSL. */
const LINE_BREAK = /\r\n|[\n\v\f\r\u0085\u2028\u2029]/;

/** Both 1-based. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Text to be inserted at an offset. */
export interface Insert {
  readonly at: number;
  readonly text: string;
}

export function placeOf(code: string, offset: number): Place {
  const lines = code.slice(0, offset).split(LINE_BREAK);
  return { line: lines.length, column: lines[lines.length - 1]!.length + 1 };
}

export const countLines = (code: string): number => code.split(LINE_BREAK).length;

/** Same length and lines, with comments (block comments nest) blanked out. */
export function blankComments(code: string): string {
  let blank = "";
  let depth = 0;
  let isLine = false;
  for (let i = 0; i < code.length; i++) {
    const letter = code[i]!;
    const two = code.slice(i, i + 2);
    const isBreak = LINE_BREAK.test(letter);
    if (isLine) isLine = !isBreak;
    else if (depth === 0 && two === "//") isLine = true;
    else if (two === "/*" || (two === "*/" && depth > 0)) {
      depth += two === "/*" ? 1 : -1;
      blank += "  ";
      i++;
      continue;
    }
    blank += (isLine || depth > 0) && !isBreak ? " " : letter;
  }
  return blank;
}

/** Just behind what closes the bracket at `open`. */
export function closing(code: string, open: number, opens: string, closes: string): number {
  let depth = 0;
  for (let i = open; i < code.length; i++) {
    if (code[i] === opens) depth++;
    else if (code[i] === closes && --depth === 0) return i + 1;
  }
  return code.length;
}

/** The first brace after `at` that is outside of parentheses; -1 when there is none. */
export function openingBrace(code: string, at: number): number {
  let depth = 0;
  for (let i = at; i < code.length; i++) {
    const letter = code[i];
    if (letter === "(") depth++;
    else if (letter === ")") depth--;
    else if (letter === "{" && depth === 0) return i;
  }
  return -1;
}
