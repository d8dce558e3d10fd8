/**
 * Makes expressions of the intermediate form. What has only constants in it becomes a constant:
 * WGSL refuses constant expressions that overflow, and would compute them by other rules.
 */
import type { Address, Arithmetic, Constant, Expression, Variable } from "./ir.ts";
import { evaluate } from "./js-expression.ts";
import {
  BOOL,
  F32,
  I32,
  isInteger,
  isSame,
  NONE,
  scalarType,
  type Type,
  U32,
  WHOLE,
} from "./type.ts";

const U32_END = 2 ** 32;
const I32_END = 2 ** 31;

export const constant = (type: Type, value: number | boolean): Constant => ({
  op: "constant",
  type,
  value,
});

/** Stands where types do not fit yet. */
export const NOTHING: Constant = constant(NONE, 0);

/** A number of the text: an integer takes the type that its use asks for. */
export function numberConstant(value: number): Constant {
  if (!Number.isInteger(value)) return constant(F32, Math.fround(value));
  // Not rounded yet: `x | 0` of it has its lowest bits.
  if (value >= U32_END || value < -I32_END) return constant(WHOLE, value);
  if (value >= I32_END) return constant(U32, value);
  const isNegative = value < 0;
  return constant({ kind: "literal", isNegative, isZero: value === 0, names: [] }, value + 0);
}

/** As a constant, if all that it needs are constants. */
export function folded(expression: Expression): Expression {
  const parts = operandsOf(expression);
  if (parts === undefined || !parts.every(({ op }) => op === "constant")) return expression;
  const isLiteral = expression.type.kind === "literal";
  const value = evaluate(isLiteral ? untyped(expression) : expression);
  return isLiteral ? numberConstant(value as number) : constant(expression.type, value);
}

/** The operands of what can be computed beforehand. */
function operandsOf(expression: Expression): readonly Expression[] | undefined {
  switch (expression.op) {
    case "unary":
    case "convert":
      return [expression.operand];
    case "binary":
      return [expression.left, expression.right];
    case "intrinsic":
      return expression.operands;
    default:
      return undefined;
  }
}

/** Integers of the text are computed as JavaScript computes them. */
const untyped = (expression: Expression): Expression => ({ ...expression, type: NONE });

/** A literal as a value of `type`. */
function retyped(expression: Expression, type: Type): Expression {
  if (expression.type.kind !== "literal") return converted(expression, type);
  const isComputed = expression.op !== "constant" && expression.op !== "choose";
  // By way of i32, which has all of them.
  const isOther = type.kind === "f32" || (type.kind === "u32" && expression.type.isNegative);
  if (isOther && isComputed) return converted(retyped(expression, I32), type);
  switch (expression.op) {
    case "constant": {
      const value = expression.value as number;
      if (type.kind === "u32") return constant(type, value >>> 0);
      return constant(type.kind === "f32" ? WHOLE : type, value);
    }
    case "choose": {
      const { yes, no } = expression;
      return { ...expression, type, yes: retyped(yes, type), no: retyped(no, type) };
    }
    case "unary":
      return { ...expression, type, operand: retyped(expression.operand, type) };
    case "binary": {
      const { operator, left, right } = expression;
      const isShift = operator === "<<" || operator === ">>";
      const by = isShift ? right : retyped(right, type);
      return { ...expression, type, left: retyped(left, type), right: by };
    }
    case "intrinsic": {
      const operands = expression.operands.map((each) => retyped(each, type));
      return { ...expression, type, operands };
    }
    case "with":
      return { ...expression, type, body: retyped(expression.body, type) };
    default:
      return { ...expression, type };
  }
}

/** From a number or a truth to a number of another type. */
export function converted(expression: Expression, type: Type): Expression {
  if (expression.type.kind === "literal") return retyped(expression, type);
  if (isSame(expression.type, type)) return expression;
  return folded({ op: "convert", type, operand: expression });
}

/** As `type`, where that changes no value but its rounding; nothing where it might. */
export function coerced(expression: Expression, type: Type): Expression | undefined {
  const from = expression.type;
  if (from.kind === "none" || type.kind === "none") return NOTHING;
  if (from.kind === "literal") {
    if (type.kind === "u32" && from.isNegative) return undefined;
    if (type.kind === "ptr" && !from.isZero) return undefined;
    const isFit = isInteger(type) || ["f32", "ptr", "literal"].includes(type.kind);
    if (!isFit) return undefined;
    return type.kind === "literal" ? expression : retyped(expression, type);
  }
  if (type.kind === "f32" && isInteger(from)) return converted(expression, type);
  return isSame(from, type) ? expression : undefined;
}

export function binary(
  operator: Extract<Expression, { op: "binary" }>["operator"],
  left: Expression,
  right: Expression,
): Expression {
  const isTest = ["===", "!==", "<", "<=", ">", ">="].includes(operator);
  if (isConstantVector(left) && isConstantVector(right)) {
    return construct(left.type, (k) => binary(operator, left.operands[k]!, right.operands[k]!));
  }
  // Nothing around a condition says what its sides are.
  const isOpen = isTest && left.type.kind === "literal";
  if (isOpen && !(left.op === "constant" && right.op === "constant")) {
    return binary(operator, asI32(left), asI32(right));
  }
  // What WGSL refuses in the text, and JavaScript makes 0 of.
  const isNone = isInteger(left.type) && (operator === "/" || operator === "%");
  if (isNone && right.op === "constant" && right.value === 0) return constant(left.type, 0);
  return folded({ op: "binary", type: isTest ? BOOL : resultOf(left.type), operator, left, right });
}

/** Of an operation on values of that type nothing more is known. */
export function resultOf(type: Type): Type {
  if (type.kind === "f32") return F32;
  return type.kind === "literal" ? { ...type, isZero: false } : type;
}

export const arithmetic = (operator: Arithmetic, left: Expression, right: Expression): Expression =>
  binary(operator, left, right);

export function intrinsic(name: string, type: Type, ...operands: Expression[]): Expression {
  const isEach = type.kind === "vector" && operands.every(isConstantVector);
  if (!isEach) return folded({ op: "intrinsic", type, name, operands });
  const scalar = scalarType(type.schema.component);
  return construct(type, (k) =>
    intrinsic(name, scalar, ...operands.map((each) => component(each, k))),
  );
}

export function construct(type: Type, part: (k: number) => Expression): Expression {
  const length = type.kind === "vector" ? type.schema.length : 0;
  return { op: "construct", type, operands: Array.from({ length }, (_, k) => part(k)) };
}

/** WGSL would compute it beforehand, and refuse what comes out. */
const isConstantVector = (
  expression: Expression,
): expression is Extract<Expression, { op: "construct" }> =>
  expression.op === "construct" && expression.operands.every(({ op }) => op === "constant");

export function component(operand: Expression, index: number): Expression {
  const type = operand.type.kind === "vector" ? scalarType(operand.type.schema.component) : NONE;
  if (operand.op === "construct") return operand.operands[index]!;
  if (operand.op !== "load") return { op: "component", type, operand, index };
  const { address } = operand;
  return { op: "load", type, address: { ...address, offset: address.offset + 4 * index } };
}

export const negative = (operand: Expression): Expression =>
  isConstantVector(operand)
    ? construct(operand.type, (k) => negative(operand.operands[k]!))
    : folded({ op: "unary", type: operand.type, operator: "-", operand });

/** Whether it costs nothing to write it twice. */
const isSimple = ({ op }: Expression): boolean =>
  op === "constant" || op === "variable" || op === "argument";

/** `body` of the value, which is computed once. */
export function once(given: Expression, body: (value: Expression) => Expression): Expression {
  if (isSimple(given)) return body(given);
  const value = given.type.kind === "literal" ? asI32(given) : given;
  const variable: Variable = { name: "value", type: value.type, isWritten: false };
  const made = body({ op: "variable", type: value.type, variable });
  return { op: "with", type: made.type, variable, value, body: made };
}

/** The address of what lies behind a pointer, an array or within something. */
export function placeAt(base: Expression, offset: number): Address {
  if (base.op !== "address") return { base, offset, indices: [] };
  return { ...base.address, offset: base.address.offset + offset };
}

/** The element `index` (u32) from there on. */
export function elementAt(base: Expression, index: Expression, stride: number): Address {
  const place = placeAt(base, 0);
  if (index.op === "constant") {
    const offset = (place.offset + Math.imul(index.value as number, stride)) >>> 0;
    return { ...place, offset };
  }
  return { ...place, indices: [...place.indices, { index, stride }] };
}

export const pointerTest = (pointer: Expression): Expression =>
  binary("!==", pointer, constant(pointer.type, 0));

/** Of integers: the quotient as an integer; 0 for a division by 0. */
export function integerDivision(
  left: Expression,
  right: Expression,
  way: "trunc" | "floor" | "ceil",
): Expression {
  const { type } = left;
  if (way === "trunc" || (way === "floor" && type.kind === "u32")) {
    return arithmetic("/", left, right);
  }
  const zero = constant(type, 0);
  return once(left, (a) =>
    once(right, (b) => {
      const isRest = binary("!==", arithmetic("%", a, b), zero);
      const isBelow = binary(way === "floor" ? "<" : ">=", binary("^", a, b), zero);
      const test = type.kind === "u32" ? isRest : both(isRest, isBelow);
      const one = choose(test, constant(type, 1), zero);
      return arithmetic(way === "floor" ? "-" : "+", arithmetic("/", a, b), one);
    }),
  );
}

function both(left: Expression, right: Expression): Expression {
  if (left.op === "constant") return left.value === true ? right : left;
  return { op: "logical", type: BOOL, operator: "&&", left, right };
}

/** `yes` and `no` are of one type. */
export function choose(test: Expression, yes: Expression, no: Expression): Expression {
  if (test.op === "constant") return test.value === true ? yes : no;
  return { op: "choose", type: yes.type, test, yes, no };
}

export const asI32 = (expression: Expression): Expression => converted(expression, I32);
export const asU32 = (expression: Expression): Expression => converted(expression, U32);
export const asF32 = (expression: Expression): Expression => converted(expression, F32);
