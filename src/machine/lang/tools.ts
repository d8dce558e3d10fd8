/** The functions and constants that a kernel knows by name, or from its toolkit. */

const SCALARS = ["u32", "i32", "f32"];
const VECTORS = [2, 3, 4].flatMap((width) => ["u", "i", "f"].map((kind) => `vec${width}${kind}`));
const ONE = "neg length normalize abs sign floor ceil trunc fract sqrt exp log sin cos".split(" ");
const TWO = "add sub mul div mod dot cross distance min max pow step reflect".split(" ");
const THREE = "clamp mix smoothstep".split(" ");

const CHANGES = "Store Add Sub Min Max And Or Xor Exchange".split(" ");

/** Each with the least and most operands. */
const TOOLS: ReadonlyMap<string, readonly [number, number]> = new Map<
  string,
  readonly [number, number]
>([
  ...SCALARS.map((name) => [name, [1, 1]] as const),
  ...VECTORS.map((name) => [name, [1, Number(name[3])]] as const),
  ...ONE.map((name) => [name, [1, 1]] as const),
  ...TWO.map((name) => [name, [2, 2]] as const),
  ...THREE.map((name) => [name, [3, 3]] as const),
  ...CHANGES.map((name) => [`atomic${name}`, [3, 3]] as const),
  ["atomicLoad", [2, 2]],
  ["atomicCompareExchange", [4, 4]],
  ["NULL", [0, 0]],
]);

export const isTool = (name: string): boolean => TOOLS.has(name);

/** Those that a program imports; the others are in the toolkit only. */
export const isImported = (name: string): boolean =>
  (isTool(name) && /^atomic|^NULL$/.test(name)) || [...SCALARS, ...VECTORS].includes(name);

/** Nothing for what is no function. */
export const operandsOf = (name: string): readonly [number, number] => TOOLS.get(name)!;

/** What a vector has as a method, with itself as the first operand. */
export const isMethod = (name: string): boolean =>
  [...ONE, ...TWO, ...THREE].includes(name) && name !== "step" && name !== "smoothstep";
