/** The functions and constants that a kernel knows by name, or from its toolkit. */

/** Each with the least and most operands. */
const TOOLS: Readonly<Record<string, readonly [number, number]>> = {
  u32: [1, 1],
  i32: [1, 1],
  f32: [1, 1],
  NULL: [0, 0],
};

export const isTool = (name: string): boolean => Object.hasOwn(TOOLS, name);

/** Nothing for what is no function. */
export const operandsOf = (name: string): readonly [number, number] => TOOLS[name]!;
