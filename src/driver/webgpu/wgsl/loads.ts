/**
 * What a kernel calls to load and store more than a word: every kind of scalar, vectors, and
 * records as columns. Short code is fast code here: every call is inlined, a compiler takes seconds
 * for it, and a software adapter runs all that stands outside of loops, whoever takes that branch.
 */
import { isInRegisters, isSpilled, type Way, wordAt } from "./store-log.ts";

/** Functions that use `load_u32` and `store_u32`. */
export function loadsOf(way: Way): string {
  const vectors = (["u", "i", "f"] as const).flatMap((letter) =>
    [2, 3, 4].map((width) => vectorFunctions(letter, width, way)),
  );
  const records = [3, 4].map((columns) => recordFunction(columns, way));
  return [SCALARS, ...vectors, ...records].join("\n");
}

const SCALARS = `fn load_i32(address: u32) -> i32 { return bitcast<i32>(load_u32(address)); }
fn load_f32(address: u32) -> f32 { return bitcast<f32>(load_u32(address)); }
fn store_i32(address: u32, value: i32) { store_u32(address, bitcast<u32>(value)); }
fn store_f32(address: u32, value: f32) { store_u32(address, bitcast<u32>(value)); }`;

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
function bodyOf({ type, width, wordByWord, compose }: Load, way: Way): string {
  const { log, isDirect, storesParts } = way;
  const range = Array.from({ length: width }, (_, k) => k);
  const words = range.map((k) => `word${k}`);
  const isCompared = log.isRead && isInRegisters(log.size) && !storesParts;
  const load = range.map(
    (k) => `let at${k} = ${isDirect ? "at" : `select(at.x, at.y, left <= ${k}u)`} + ${k}u;
  ${isCompared ? "var" : "let"} word${k} = ${wordAt(`at${k}`, way)};`,
  );
  const compare = range.flatMap((k) =>
    Array.from(
      { length: isCompared ? log.size : 0 },
      (_, j) => `word${k} = select(word${k}, os_value${j}, at${k} == os_at${j});`,
    ),
  );
  return [
    log.isRead && !isCompared ? `if (os_logged != 0u) { ${wordByWord} }` : "",
    `let at = os_words(address, ${width}u);`,
    isDirect ? "" : `if (at.x == os_MISS) { return ${type}(); }`,
    isDirect ? "" : "let left = 1024u - ((address >> 2u) & 1023u);",
    ...load,
    isCompared && log.size > 0 ? `if (os_logged != 0u) { ${compare.join("\n    ")} }` : "",
    `return ${compose(words)};`,
  ]
    .filter((line) => line !== "")
    .join("\n  ");
}

function vectorFunctions(letter: "u" | "i" | "f", width: number, way: Way): string {
  const scalar = letter === "f" ? "f32" : `${letter}32`;
  const type = `vec${width}${letter}`;
  const stores = isSpilled(way.log.size)
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
    way,
  );
  return `fn load_${type}(address: u32) -> ${type} {
  ${body}
}
fn store_${type}(address: u32, value: ${type}) { ${stores} }`;
}

/** Records of 48 and 64 bytes at once, as columns: one translation instead of three or four. */
function recordFunction(columns: number, way: Way): string {
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
    way,
  );
  return `fn load_${type}(address: u32) -> ${type} {
  ${body}
}`;
}
