/**
 * What a kernel calls to load and store more than a word: every kind of scalar, vectors, and
 * records as columns. Short code is fast code here: every call is inlined, a compiler takes seconds
 * for it, and a software adapter runs all that stands outside of loops, whoever takes that branch.
 */
import { isInRegisters, isSpilled } from "./store-log.ts";

/** Functions for a log of at least `logSize` words. Below them: `load_u32`, `store_u32`. */
export function loadsOf(logSize: number): string {
  const vectors = (["u", "i", "f"] as const).flatMap((letter) =>
    [2, 3, 4].map((width) => vectorFunctions(letter, width, logSize)),
  );
  const records = [3, 4].map((columns) => recordFunction(columns, logSize));
  return [SCALARS, WORDS, ...vectors, ...records].join("\n");
}

const SCALARS = `fn load_i32(address: u32) -> i32 { return bitcast<i32>(load_u32(address)); }
fn load_f32(address: u32) -> f32 { return bitcast<f32>(load_u32(address)); }
fn store_i32(address: u32, value: i32) { store_u32(address, bitcast<u32>(value)); }
fn store_f32(address: u32, value: f32) { store_u32(address, bitcast<u32>(value)); }`;

/**
 * Neighbouring words may straddle two pages that are far apart in memory: where the first is, and
 * what those behind the end of its page count from.
 */
const WORDS = `fn os_words(address: u32, count: u32) -> vec2u {
  let last = address + 4u * (count - 1u);
  let first = os_table[address >> 12u];
  let second = os_table[last >> 12u];
  let isOdd = (address & 3u) != 0u;
  if ((first & second & 1u) == 0u || isOdd) {
    os_fault(select(address, last, !isOdd && (first & 1u) != 0u), select(0u, 2u, isOdd));
    return vec2u(os_MISS);
  }
  return vec2u(
    ((first >> 8u) << 10u) | ((address >> 2u) & 1023u),
    (((second >> 8u) << 10u) | ((last >> 2u) & 1023u)) - (count - 1u),
  );
}`;

interface Load {
  readonly type: string;
  readonly width: number;
  /** Loads word by word and returns. */
  readonly wordByWord: string;
  /** The value, from its words. */
  readonly compose: (words: readonly string[]) => string;
}

/**
 * Words that may be in the log are looked for there: one by one where that takes a search, else by
 * comparing them with what is in the registers.
 */
function bodyOf({ type, width, wordByWord, compose }: Load, logSize: number): string {
  const range = Array.from({ length: width }, (_, k) => k);
  const words = range.map((k) => `word${k}`);
  const isCompared = logSize > 0 && isInRegisters(logSize);
  const load = range.map(
    (k) => `let at${k} = select(at.x, at.y, left <= ${k}u) + ${k}u;
  ${isCompared ? "var" : "let"} word${k} = os_memory[at${k}];`,
  );
  const compare = range.flatMap((k) =>
    Array.from(
      { length: isCompared ? logSize : 0 },
      (_, j) => `word${k} = select(word${k}, os_value${j}, at${k} == os_at${j});`,
    ),
  );
  return [
    isInRegisters(logSize) ? "" : `if (os_logged != 0u) { ${wordByWord} }`,
    `let at = os_words(address, ${width}u);`,
    `if (at.x == os_MISS) { return ${type}(); }`,
    "let left = 1024u - ((address >> 2u) & 1023u);",
    ...load,
    isCompared ? `if (os_logged != 0u) { ${compare.join("\n    ")} }` : "",
    `return ${compose(words)};`,
  ]
    .filter((line) => line !== "")
    .join("\n  ");
}

function vectorFunctions(letter: "u" | "i" | "f", width: number, logSize: number): string {
  const scalar = letter === "f" ? "f32" : `${letter}32`;
  const type = `vec${width}${letter}`;
  const stores = isSpilled(logSize)
    ? `for (var k = 0u; k < ${width}u; k++) { store_${scalar}(address + 4u * k, value[k]); }`
    : Array.from(
        { length: width },
        (_, k) => `store_${scalar}(address + ${4 * k}u, value[${k}]);`,
      ).join(" ");
  const body = bodyOf(
    {
      type,
      width,
      wordByWord: `var value: ${type};
    for (var k = 0u; k < ${width}u; k++) { value[k] = load_${scalar}(address + 4u * k); }
    return value;`,
      compose: (words) => `bitcast<${type}>(vec${width}u(${words.join(", ")}))`,
    },
    logSize,
  );
  return `fn load_${type}(address: u32) -> ${type} {
  ${body}
}
fn store_${type}(address: u32, value: ${type}) { ${stores} }`;
}

/** Records of 48 and 64 bytes at once, as columns: one translation instead of three or four. */
function recordFunction(columns: number, logSize: number): string {
  const type = `mat${columns}x4f`;
  const column = (words: readonly string[], k: number): string =>
    `bitcast<vec4f>(vec4u(${words.slice(4 * k, 4 * k + 4).join(", ")}))`;
  const body = bodyOf(
    {
      type,
      width: 4 * columns,
      wordByWord: `var value: ${type};
    for (var k = 0u; k < ${4 * columns}u; k++) {
      value[k >> 2u][k & 3u] = load_f32(address + 4u * k);
    }
    return value;`,
      compose: (words) =>
        `${type}(${Array.from({ length: columns }, (_, k) => column(words, k)).join(", ")})`,
    },
    logSize,
  );
  return `fn load_${type}(address: u32) -> ${type} {
  ${body}
}`;
}
