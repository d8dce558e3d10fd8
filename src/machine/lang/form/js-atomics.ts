/** Atomics in JavaScript: those of `Atomics`, on the words of the window. */
import type { Atomic } from "./ir.ts";

/** What `Atomics` has; the order of two numbers it has not. */
const OPERATIONS: Readonly<Record<Exclude<Atomic, "Min" | "Max">, string>> = {
  Load: "load",
  Store: "store",
  Add: "add",
  Sub: "sub",
  And: "and",
  Or: "or",
  Xor: "xor",
  Exchange: "exchange",
  CompareExchange: "compareExchange",
};

const GIVEN: Readonly<Record<string, string>> = { Load: "", CompareExchange: ", compare, value" };

/** The functions for atomics that `text` calls: `$atomicAdd_u32(at, value)`. */
export function atomicTools(text: string): string {
  const names = new Set(text.match(/\$atomic[A-Z]\w*_[ui]32/g));
  return [...names].map((name) => `${toolText(name)}\n`).join("");
}

function toolText(name: string): string {
  const [, operation, word] = /^\$atomic([A-Za-z]+)_(\w+)$/.exec(name)!;
  const need = `at >>>= 0; $memory.need(at, 4, ${operation !== "Load"}); at >>>= 2;`;
  if (operation !== "Min" && operation !== "Max") {
    const given = GIVEN[operation!] ?? ", value";
    const call = `Atomics.${OPERATIONS[operation as "Add"]}($${word}, at${given})`;
    return `const ${name} = (at${given}) => { ${need} return ${call}; };`;
  }
  return `const ${name} = (at, value) => {
  ${need}
  for (let old = Atomics.load($${word}, at); ; ) {
    const wanted = Math.${operation.toLowerCase()}(old, value);
    const seen = Atomics.compareExchange($${word}, at, old, wanted);
    if (seen === old) return old;
    old = seen;
  }
};`;
}
