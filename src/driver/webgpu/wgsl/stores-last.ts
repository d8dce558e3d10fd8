/**
 * Whether loads never follow a store in an invocation: then no load has to look into the store
 * log. A few plain rules on the text decide, and no is always a safe answer: all stores are in
 * `main`, the first of them is in no loop, and what comes after it calls nothing that could load.
 */
import { blankComments, closing } from "./source-text.ts";

const STORE = /\b(?:store_\w+|set_[A-Za-z]\w*)\s*\(/g;
const CALL = /\b([A-Za-z_]\w*)\s*\(/g;
const FUNCTION = /\bfn\s+([A-Za-z_]\w*)/g;

export function storesComeLast(text: string, accessors: string): boolean {
  const code = blankComments(text);
  // Names of other letters would not be seen.
  if (/[^\0-\x7f]/.test(code)) return false;
  const stores = [...code.matchAll(STORE)];
  const first = stores[0];
  if (first === undefined) return true;
  const main = blockAfter(code, code.search(/\bfn\s+main\b/));
  if (main === undefined) return false;
  if (stores.some(({ index }) => index < main.start || index >= main.end)) return false;
  for (const { index } of code.matchAll(/\b(?:for|while|loop)\b/g)) {
    const body = blockAfter(code, index);
    if (body === undefined || (index < first.index && first.index < body.end)) return false;
  }
  // What the first store is given is known before it happens.
  const after = closing(code, first.index + first[0].length - 1, "(", ")");
  const functions = new Set(
    [...`${code}\n${accessors}`.matchAll(FUNCTION)].map(([, name]) => name!),
  );
  const calls = [...code.slice(after, main.end).matchAll(CALL)].map(([, name]) => name!);
  return calls.every((name) => /^(?:store|set)_/.test(name) || !mayLoad(name, functions));
}

const mayLoad = (name: string, functions: ReadonlySet<string>): boolean =>
  name.startsWith("load_") || functions.has(name);

interface Block {
  readonly start: number;
  readonly end: number;
}

/** The first block in braces that begins behind `at`, outside of parentheses. */
function blockAfter(code: string, at: number): Block | undefined {
  let depth = 0;
  for (let i = at; i >= 0 && i < code.length; i++) {
    if (code[i] === "(") depth++;
    else if (code[i] === ")") depth--;
    else if (code[i] === "{" && depth === 0) return { start: i, end: closing(code, i, "{", "}") };
  }
  return undefined;
}
