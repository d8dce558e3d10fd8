/**
 * Which pointer arguments a kernel stores through, as its text says: the arguments that take part
 * in the address of a store, also by way of names (`let place = args.image + 4u * i`). What a
 * function returns is no part of it: an address that was loaded says nothing about where from. A
 * hint: what is not found is not known to be stored to.
 */
import { blankComments } from "./source-text.ts";

const STORE = /\b(?:store_\w+|set_[A-Za-z]\w*|atomic[A-Z]\w*_[ui]32)\s*\(/g;
const DEFINITION = /\b(?:let|var|const)\s+(\w+)\s*(?::[^=;]*)?=([^;]*);/g;

export function storedArguments(text: string): ReadonlySet<string> {
  const code = blankComments(text);
  const definitions = new Map<string, string>();
  for (const [, name, value] of code.matchAll(DEFINITION)) {
    definitions.set(name!, `${definitions.get(name!) ?? ""} ${value}`);
  }
  const stored = new Set<string>();
  const waiting = Array.from(code.matchAll(STORE), ({ 0: call, index }) =>
    firstArgument(code, index + call.length),
  );
  for (let text = waiting.pop(); text !== undefined; text = waiting.pop()) {
    for (const [, argument, name] of withoutCalls(text).matchAll(
      /\bargs\.(\w+)|\b([A-Za-z_]\w*)/g,
    )) {
      if (argument !== undefined) stored.add(argument);
      const value = name === undefined ? undefined : definitions.get(name);
      if (value === undefined) continue;
      definitions.delete(name!);
      waiting.push(value);
    }
  }
  return stored;
}

/** From `start` to the comma or the bracket that ends it. */
function firstArgument(code: string, start: number): string {
  let depth = 0;
  let at = start;
  for (; at < code.length; at++) {
    const letter = code[at];
    if (letter === "(") depth++;
    else if (depth === 0 && (letter === "," || letter === ")")) break;
    else if (letter === ")") depth--;
  }
  return code.slice(start, at);
}

/** What is left of an expression when its calls are gone, from the innermost brackets out. */
function withoutCalls(expression: string): string {
  let left = expression;
  for (let before = ""; before !== left; ) {
    before = left;
    left = left.replace(/([A-Za-z_]\w*\s*)?\(([^()]*)\)/g, (_, call: string | undefined, inner) =>
      call === undefined ? ` ${inner} ` : " ",
    );
  }
  return left;
}
