/** `Math`: what WGSL has, too, and what to write instead of the rest. */

import type { CallExpression, Node } from "acorn";
import type { Context } from "./context.ts";
import {
  arithmetic,
  asF32,
  asI32,
  binary,
  choose,
  constant,
  type Expression,
  F32,
  I32,
  intrinsic,
  isInteger,
  isNumber,
  NOTHING,
  numberConstant,
  once,
  resultOf,
  typeName,
  U32,
  WHOLE,
} from "./form/index.ts";
import { cutOperand, isZeroNode, power, unite } from "./operators.ts";

const CONSTANTS = new Set(["E", "LN10", "LN2", "LOG10E", "LOG2E", "PI", "SQRT1_2", "SQRT2"]);

/** Functions of one float that are called the same in WGSL. */
const FLOAT = new Set(
  `sqrt sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh exp log log2`.split(/\s+/),
);

const INSTEAD: Readonly<Record<string, string>> = {
  random: "hand over random numbers in an array, or compute a hash of i",
  cbrt: "write Math.pow(x, 1 / 3)",
  expm1: "write Math.exp(x) - 1",
  log1p: "write Math.log(1 + x)",
  sumPrecise: "add in a loop",
  f16round: "a kernel has no f16",
};

/** `Math.PI`. */
export function mathConstant(context: Context, node: Node, name: string): Expression {
  if (CONSTANTS.has(name)) return numberConstant(Math[name as "PI"]);
  if (name in Math) return context.refuse(node, `Math.${name} is a function: call it`);
  return context.refuse(node, `Math has no ${name}`);
}

/** Each with the least and most operands. */
const FUNCTIONS: Readonly<Record<string, readonly [number, number]>> = {
  abs: [1, 1],
  sign: [1, 1],
  floor: [1, 1],
  ceil: [1, 1],
  round: [1, 1],
  trunc: [1, 1],
  min: [1, 16],
  max: [1, 16],
  imul: [2, 2],
  clz32: [1, 1],
  fround: [1, 1],
  log10: [1, 1],
  hypot: [1, 4],
  pow: [2, 2],
  atan2: [2, 2],
  ...Object.fromEntries([...FLOAT].map((name) => [name, [1, 1]])),
};

export function mathCall(context: Context, node: CallExpression, name: string): Expression {
  const range = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name]! : undefined;
  if (range === undefined) {
    const isThere = name in Math;
    const rule = isThere ? (INSTEAD[name] ?? "a kernel has it not") : "";
    return context.refuse(node, isThere ? `no Math.${name} here: ${rule}` : `Math has no ${name}`);
  }
  checkCount(context, node, range);
  const isCut = name === "floor" || name === "ceil" || name === "trunc";
  const operands = node.arguments.map((each) =>
    isCut ? cutOperand(context, each, name) : context.expression(each),
  );
  for (const [i, { type }] of operands.entries()) {
    if (type.kind === "none") return NOTHING;
    if (isNumber(type)) continue;
    const rule = `Math.${name} wants numbers, and this is ${typeName(type)}`;
    return context.mismatch(node.arguments[i]!, rule);
  }
  return called(context, node, name, operands);
}

export function checkCount(
  context: Context,
  node: CallExpression,
  [least, most]: readonly [number, number],
): void {
  const { length } = node.arguments;
  const spread = node.arguments.find(({ type }) => type === "SpreadElement");
  if (spread !== undefined) context.refuse(spread, "write the operands one by one");
  if (length >= least && length <= most) return;
  const wanted = least === most ? `${least}` : `${least} to ${most}`;
  context.refuse(node, `it takes ${wanted} operands, and these are ${length}`);
}

function called(
  context: Context,
  node: CallExpression,
  name: string,
  operands: readonly Expression[],
): Expression {
  const [x, y] = operands as [Expression, Expression];
  if (FLOAT.has(name)) return intrinsic(name, F32, asF32(x));
  switch (name) {
    case "abs":
      return x.type.kind === "u32" ? x : intrinsic("abs", resultOf(x.type), x);
    case "sign":
      return sign(x);
    case "floor":
    case "ceil":
    case "round":
    case "trunc":
      return x.type.kind === "f32" ? intrinsic(name, WHOLE, x) : x;
    case "min":
    case "max":
      return extreme(context, node, name, operands);
    case "imul":
      return isWhole(context, node, operands) ? binary("*", asI32(x), asI32(y)) : NOTHING;
    case "clz32": {
      if (!isWhole(context, node, operands)) return NOTHING;
      const value = x.type.kind === "literal" ? asI32(x) : x;
      return intrinsic("clz", value.type.kind === "u32" ? U32 : I32, value);
    }
    case "fround":
      return asF32(x);
    case "log10":
      return arithmetic("*", intrinsic("log", F32, asF32(x)), numberConstant(Math.LOG10E));
    case "hypot":
      return hypot(operands.map(asF32));
    case "pow":
      return power(context, node, x, y);
    default:
      return intrinsic(name, F32, asF32(x), asF32(y));
  }
}

function isWhole(context: Context, node: Node, operands: readonly Expression[]): boolean {
  const other = operands.find(({ type }) => !isInteger(type) && type.kind !== "literal");
  if (other === undefined) return true;
  context.mismatch(node, `integers are wanted here, and one is ${typeName(other.type)}`);
  return false;
}

function sign(x: Expression): Expression {
  const { type } = x;
  if (type.kind === "u32")
    return choose(binary("===", x, constant(U32, 0)), constant(U32, 0), constant(U32, 1));
  return type.kind === "literal" ? intrinsic("sign", I32, asI32(x)) : intrinsic("sign", type, x);
}

/** `min` and `max` of any number of operands, two by two. */
function extreme(
  context: Context,
  node: CallExpression,
  name: "min" | "max",
  operands: readonly Expression[],
): Expression {
  let result = operands[0]!;
  for (const next of operands.slice(1)) {
    const sides = unite(context, node, [result, next]);
    if (sides === undefined) return NOTHING;
    const [a, b] = sides;
    if (name === "max" && a.type.kind === "u32" && node.arguments.some(isZeroNode)) {
      return context.mismatch(node, "a u32 is never below 0, so this is no limit; write i32(x)");
    }
    const isBoth = isWholeFloat(result) && isWholeFloat(next);
    result = intrinsic(name, a.type.kind === "f32" && isBoth ? WHOLE : resultOf(a.type), a, b);
  }
  return result;
}

const isWholeFloat = ({ type }: Expression): boolean =>
  (type.kind === "f32" && type.isWhole) || isInteger(type) || type.kind === "literal";

function hypot(operands: readonly Expression[]): Expression {
  if (operands.length === 1) return intrinsic("abs", F32, operands[0]!);
  const squares = operands.map((each) => once(each, (x) => arithmetic("*", x, x)));
  return intrinsic(
    "sqrt",
    F32,
    squares.reduce((a, b) => arithmetic("+", a, b)),
  );
}
