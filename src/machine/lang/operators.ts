/** Operators of JavaScript on typed values. */

import type { BinaryExpression, Identifier, Literal, Node, UnaryExpression } from "acorn";
import type { Context } from "./context.ts";
import {
  type Arithmetic,
  arithmetic,
  asF32,
  asI32,
  asU32,
  BOOL,
  binary,
  type Comparison,
  coerced,
  constant,
  converted,
  type Expression,
  F32,
  folded,
  I32,
  integerDivision,
  intrinsic,
  isInteger,
  isNumber,
  isSame,
  join,
  NOTHING,
  once,
  pointerTest,
  type Type,
  typeName,
  U32,
} from "./form/index.ts";

export function binaryExpression(context: Context, node: BinaryExpression): Expression {
  const { operator } = node;
  switch (operator) {
    case "===":
    case "!==":
      refuseNothing(context, node);
      return comparison(context, node, operator);
    case "<":
    case "<=":
    case ">":
    case ">=":
      return comparison(context, node, operator);
    case "==":
    case "!=":
      refuseNothing(context, node);
      return context.refuse(node, `== and != convert before they compare; write ${operator}=`);
    case "in":
    case "instanceof":
      return context.refuse(node, "a kernel has numbers and pointers, no objects");
    default: {
      const cuts = (operator === "|" || operator === ">>>") && isZeroNode(node.right);
      const left = cuts ? cutOperand(context, node.left, "trunc") : context.expression(node.left);
      return operation(context, node, operator, [left, () => context.expression(node.right)]);
    }
  }
}

/** `at !== undefined`, `at != null`: a pointer is a condition by itself. */
function refuseNothing(context: Context, node: BinaryExpression): void {
  const { operator, left, right } = node;
  const other = isNothing(context, left) ? right : isNothing(context, right) ? left : undefined;
  if (other === undefined) return;
  const test = `${operator.startsWith("!") ? "" : "!"}${context.textOf(other)}`;
  context.refuse(node, `nothing is undefined in a kernel; a pointer is a condition: if (${test})`);
}

function isNothing(context: Context, node: Node): boolean {
  if (node.type === "Literal") return (node as Literal).value === null && !("regex" in node);
  if (node.type !== "Identifier") return false;
  const { name } = node as Identifier;
  return name === "undefined" && context.lookup(name) === undefined;
}

export const isZeroNode = (node: Node): boolean =>
  node.type === "Literal" && (node as Literal).value === 0;

type Operator = Exclude<
  BinaryExpression["operator"],
  Comparison | "==" | "!=" | "in" | "instanceof"
>;

/** Of a binary expression, or of a compound assignment. */
export function operation(
  context: Context,
  node: Node,
  operator: Operator,
  [left, rightOf]: readonly [Expression, () => Expression],
): Expression {
  const right = rightOf();
  if (left.type.kind === "none" || right.type.kind === "none") return NOTHING;
  switch (operator) {
    case "<<":
    case ">>":
    case ">>>":
      return shift(context, node, operator, [left, right]);
    case "&":
    case "|":
    case "^":
      return bitwise(context, node, operator, [left, right]);
    case "**":
      return power(context, node, left, right);
    default:
      return arithmeticOperation(context, node, operator, [left, right]);
  }
}

type Sides = readonly [Expression, Expression];

function arithmeticOperation(
  context: Context,
  node: Node,
  operator: Arithmetic,
  sides: Sides,
): Expression {
  const united = unite(context, node, sides);
  if (united === undefined) return NOTHING;
  const [left, right] = united;
  if (operator !== "/") return arithmetic(operator, left, right);
  return arithmetic("/", asF32(left), asF32(right));
}

/** Both as numbers of one type; says why not. */
export function unite(
  context: Context,
  node: Node,
  [left, right]: Sides,
  isWeak = false,
): Sides | undefined {
  for (const { type } of [left, right]) {
    if (isNumber(type)) continue;
    context.mismatch(node, `numbers are wanted here, and one is ${typeName(type)}${hintFor(type)}`);
    return undefined;
  }
  const type = join(left.type, right.type);
  if (type === undefined) {
    context.mismatch(node, mixed(left.type, right.type));
    return undefined;
  }
  context.unite(left.type, right.type, isWeak);
  if (type.kind === "literal")
    return [
      { ...left, type },
      { ...right, type },
    ] as Sides;
  const target = type.kind === "f32" ? F32 : type;
  return [coerced(left, target)!, coerced(right, target)!];
}

function hintFor({ kind }: Type): string {
  if (kind === "bool") return "; write test ? 1 : 0";
  if (kind === "ptr") return "; index it, or write u32(pointer)";
  return kind === "vector" ? "; vectors have methods: a.add(b), a.mul(2)" : "";
}

function mixed(left: Type, right: Type): string {
  const isNegative = [left, right].some((type) => type.kind === "literal");
  if (isNegative) return "a u32 is never negative; write i32(x), or subtract";
  return `${left.kind} and ${right.kind} do not mix; write u32(…) or i32(…) for one of them`;
}

function comparison(context: Context, node: BinaryExpression, operator: Comparison): Expression {
  const left = context.expression(node.left);
  const right = context.expression(node.right);
  if (left.type.kind === "none" || right.type.kind === "none") return NOTHING;
  const isEquality = operator === "===" || operator === "!==";
  const type = join(left.type, right.type);
  const isOther = type?.kind === "bool" || type?.kind === "ptr";
  if (isEquality && isOther) return binary(operator, coerced(left, type)!, coerced(right, type)!);
  if (left.type.kind === "ptr" && right.type.kind === "ptr") {
    const both = `${typeName(left.type)} and ${typeName(right.type)}`;
    const rule = isEquality ? "compare pointers to one thing" : "compare pointers by === and !==";
    return context.mismatch(node, `${rule}; these are ${both}`);
  }
  const united = unite(context, node, [left, right]);
  if (united === undefined) return NOTHING;
  const [a, b] = united;
  if ((operator === ">=" || operator === "<") && isZeroNode(node.right) && a.op !== "constant") {
    // Who asks that counts down below 0.
    context.hint(a.type, I32);
    if (a.type.kind === "u32") {
      const what = operator === "<" ? "never" : "always";
      return context.mismatch(node, `a u32 is never negative, so this is ${what} so; write i32(x)`);
    }
  }
  return binary(operator, a, b);
}

const isZero = (expression: Expression): boolean =>
  expression.op === "constant" && expression.value === 0;

function bitwise(
  context: Context,
  node: Node,
  operator: "&" | "|" | "^",
  [left, right]: Sides,
): Expression {
  if (operator === "|" && isZero(right) && isNumber(left.type)) {
    return left.op === "constant" ? constant(I32, (left.value as number) | 0) : asI32(left);
  }
  for (const { type } of [left, right]) {
    if (isInteger(type) || type.kind === "literal") continue;
    const rule = type.kind === "f32" ? "; write Math.trunc(x) | 0 or u32(x)" : hintFor(type);
    return context.mismatch(
      node,
      `${operator} wants integers, and one is ${typeName(type)}${rule}`,
    );
  }
  const isBits = isInteger(left.type) || isInteger(right.type);
  // -1 is all bits, whatever the other side is.
  const negative = [left, right].find(({ type }) => type.kind === "literal" && type.isNegative);
  if (isBits && negative?.op === "constant") {
    const { type } = negative === left ? right : left;
    const bits = converted(negative, type);
    return negative === left ? binary(operator, bits, right) : binary(operator, left, bits);
  }
  // Bits are bits; JavaScript makes an i32 of both.
  const isMixed = isInteger(left.type) && isInteger(right.type) && !isSame(left.type, right.type);
  if (isMixed) return binary(operator, asI32(left), asI32(right));
  const united = unite(context, node, [left, right], true);
  return united === undefined ? NOTHING : binary(operator, ...united);
}

function shift(
  context: Context,
  node: Node,
  operator: "<<" | ">>" | ">>>",
  [left, right]: Sides,
): Expression {
  if (operator === ">>>" && isZero(right) && isNumber(left.type)) {
    return left.op === "constant" ? constant(U32, (left.value as number) >>> 0) : asU32(left);
  }
  for (const { type } of [left, right]) {
    if (isInteger(type) || type.kind === "literal") continue;
    return context.mismatch(node, `${operator} wants integers, and one is ${typeName(type)}`);
  }
  if (operator === ">>" && left.type.kind === "u32") {
    return context.mismatch(node, "a u32 has no sign; write >>> for it, or i32(x) >> n");
  }
  const value = operator === ">>>" ? asU32(left) : left;
  const count = asU32(right);
  const by = count.op === "constant" ? constant(count.type, (count.value as number) & 31) : count;
  if (value.type.kind === "literal" && by.op !== "constant") {
    return binary(shiftOf(operator), asI32(value), by);
  }
  return binary(shiftOf(operator), value, by);
}

const shiftOf = (operator: "<<" | ">>" | ">>>"): "<<" | ">>" => (operator === "<<" ? "<<" : ">>");

/**
 * The operand of what cuts fractions off: `Math.floor(a / b)`, `(a / b) | 0` and their like of
 * integers are divisions of integers.
 */
export function cutOperand(
  context: Context,
  node: Node,
  way: "trunc" | "floor" | "ceil",
): Expression {
  if (node.type !== "BinaryExpression" || (node as BinaryExpression).operator !== "/") {
    return context.expression(node);
  }
  const division = node as BinaryExpression;
  const sides = [context.expression(division.left), context.expression(division.right)] as const;
  if (sides.some(({ type }) => type.kind === "none")) return NOTHING;
  const type = join(sides[0].type, sides[1].type);
  const isWhole = type !== undefined && (isInteger(type) || type.kind === "literal");
  if (!isWhole) return arithmeticOperation(context, division, "/", sides);
  const [left, right] = unite(context, division, sides) ?? [NOTHING, NOTHING];
  if (left.type.kind !== "literal") return integerDivision(left, right, way);
  return integerDivision(asI32(left), asI32(right), way);
}

/** Small whole powers are products, which may be negative; `pow` is for bases above 0. */
export function power(
  context: Context,
  node: Node,
  left: Expression,
  right: Expression,
): Expression {
  for (const { type } of [left, right]) {
    if (type.kind === "none") return NOTHING;
    if (isNumber(type)) continue;
    return context.mismatch(node, `numbers are wanted here, and one is ${typeName(type)}`);
  }
  const base = asF32(left);
  const exponent = asF32(right);
  const times = (a: Expression, b: Expression): Expression => arithmetic("*", a, b);
  if (exponent.op === "constant" && base.op !== "constant") {
    const count = exponent.value;
    if (count === 2) return once(base, (x) => times(x, x));
    if (count === 3) return once(base, (x) => times(times(x, x), x));
    if (count === 4) return once(base, (x) => once(times(x, x), (square) => times(square, square)));
    if (count === 0.5) return intrinsic("sqrt", F32, base);
  }
  return intrinsic("pow", F32, base, exponent);
}

export function unaryExpression(context: Context, node: UnaryExpression): Expression {
  const { operator } = node;
  if (operator === "typeof" || operator === "void" || operator === "delete") {
    return context.refuse(node, `${operator} has no meaning in a kernel; leave it out`);
  }
  if (operator === "!") {
    const operand = truth(context, node.argument, () => "x === 0");
    return folded({ op: "unary", type: BOOL, operator, operand });
  }
  const operand = context.expression(node.argument);
  const { type } = operand;
  if (type.kind === "none") return NOTHING;
  if (!isNumber(type)) {
    const rule = `a number is wanted here, and this is ${typeName(type)}${hintFor(type)}`;
    return context.mismatch(node, rule);
  }
  if (operator === "+") return operand;
  if (operator === "~" && type.kind === "f32") {
    return context.mismatch(node, "~ wants an integer, and this is f32; write i32(x)");
  }
  if (operator === "-" && type.kind === "u32") {
    return context.mismatch(node, "a u32 is never negative; write -i32(x)");
  }
  if (type.kind !== "literal") return folded({ op: "unary", type, operator, operand });
  const negated = { ...type, isNegative: true, isZero: false };
  return folded({ op: "unary", type: negated, operator, operand });
}

/**
 * A condition: a truth, or a pointer, which is true unless it is null. `instead`: what to write
 * where it is a number.
 */
export function truth(context: Context, node: Node, instead = (): string => "x !== 0"): Expression {
  const expression = context.expression(node);
  const { type } = expression;
  if (type.kind === "bool" || type.kind === "none") return expression;
  if (type.kind === "ptr") return pointerTest(expression);
  // `!0` and `!1`, as minifiers write true and false.
  if (expression.op === "constant" && type.kind === "literal") {
    return constant(BOOL, expression.value !== 0);
  }
  const rule = isNumber(type) ? `; write ${instead()}` : "";
  return context.mismatch(node, `a condition is wanted here, and this is ${typeName(type)}${rule}`);
}
