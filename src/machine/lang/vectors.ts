/**
 * Vectors: constructors, and functions on vectors and numbers alike, also as methods. Both texts
 * get the same sums of products, so that they round alike.
 */
import type { CallExpression, Node } from "acorn";
import {
  type VectorName,
  vec2f,
  vec2i,
  vec2u,
  vec3f,
  vec3i,
  vec3u,
  vec4f,
  vec4i,
  vec4u,
} from "../schema.ts";
import type { Context } from "./context.ts";
import {
  arithmetic,
  asF32,
  binary,
  choose,
  component,
  constant,
  construct,
  converted,
  type Expression,
  F32,
  intrinsic,
  isNumber,
  isSame,
  NOTHING,
  negative,
  numberConstant,
  once,
  scalarType,
  type Type,
  typeName,
} from "./form/index.ts";
import { operation, unite } from "./operators.ts";

type VectorType = Extract<Type, { kind: "vector" }>;

const SCHEMAS = { vec2f, vec2i, vec2u, vec3f, vec3i, vec3u, vec4f, vec4i, vec4u } as const;

const isVector = (type: Type): type is VectorType => type.kind === "vector";

/** `vec3f(1, 2, 3)`, `vec3f(1)`, `vec4f(v, 1)`, `vec3f(v)` of another kind. */
export function constructed(
  context: Context,
  node: CallExpression,
  name: string,
  operands: readonly Expression[],
): Expression {
  const schema = SCHEMAS[name as VectorName];
  const type: VectorType = { kind: "vector", schema };
  const scalar = scalarType(schema.component);
  for (const [k, operand] of operands.entries()) {
    if (operand.type.kind === "none") return NOTHING;
    if (isNumber(operand.type) || isVector(operand.type)) continue;
    const rule = `${name} takes numbers and vectors, and this is ${typeName(operand.type)}`;
    return context.mismatch(node.arguments[k]!, rule);
  }
  return named(operands, (given) => {
    const parts = given.flatMap((each) => partsOf(each));
    const isOne = parts.length === 1;
    if (!isOne && parts.length !== schema.length) {
      const rule = `${name} has ${schema.length} components, and these are ${parts.length}`;
      return context.mismatch(node, rule);
    }
    return construct(type, (k) => converted(parts[isOne ? 0 : k]!, scalar));
  });
}

const partsOf = (operand: Expression): readonly Expression[] =>
  isVector(operand.type)
    ? Array.from({ length: operand.type.schema.length }, (_, k) => component(operand, k))
    : [operand];

/** Each operand computed once. */
function named(
  operands: readonly Expression[],
  body: (operands: readonly Expression[]) => Expression,
): Expression {
  const next = (done: readonly Expression[]): Expression =>
    done.length === operands.length
      ? body(done)
      : kept(operands[done.length]!, (operand) => next([...done, operand]));
  return next([]);
}

/** A constructed vector is its components; they need no name as a whole. */
const kept = (operand: Expression, body: (operand: Expression) => Expression): Expression =>
  operand.op === "construct" && operand.operands.every(({ op }) => op === "constant")
    ? body(operand)
    : once(operand, body);

/** `dot(a, b)`, and `a.dot(b)`; numbers are taken for vectors of equal components. */
export function vectorCall(
  context: Context,
  node: Node,
  name: string,
  operands: readonly Expression[],
): Expression {
  for (const { type } of operands) {
    if (type.kind === "none") return NOTHING;
    if (isNumber(type) || isVector(type)) continue;
    return context.mismatch(node, `${name} takes vectors and numbers, no ${typeName(type)}`);
  }
  const type = operands.map((each) => each.type).find(isVector);
  if (type === undefined) return ofNumbers(context, node, name, operands);
  const same: Expression[] = [];
  for (const operand of operands) {
    const fit = isVector(operand.type) ? operand : splat(context, node, operand, type);
    if (fit === undefined) return NOTHING;
    if (!isSame(fit.type, type)) {
      const rule = `${typeName(type)} and ${typeName(fit.type)} do not mix`;
      return context.mismatch(node, rule);
    }
    same.push(fit);
  }
  const isFloat = type.schema.component === "f32";
  if (!isFloat && !WHOLE_TOO.has(name)) {
    return context.mismatch(node, `${name} is for floats, and this is ${typeName(type)}`);
  }
  if (name === "cross" && type.schema.length !== 3) {
    return context.mismatch(node, `cross is for vectors of 3, and this is ${typeName(type)}`);
  }
  return ofVectors(name, type, same);
}

/** What vectors of integers have, too. */
const WHOLE_TOO = new Set("add sub mul div mod neg dot min max abs clamp".split(" "));

function splat(
  context: Context,
  node: Node,
  operand: Expression,
  type: VectorType,
): Expression | undefined {
  const scalar = scalarType(type.schema.component);
  if (scalar.kind !== "f32") {
    const sides = unite(context, node, [operand, constant(scalar, 1)]);
    if (sides === undefined) return undefined;
    if (!isSame(sides[0].type, scalar)) {
      context.mismatch(node, `${typeName(type)} and ${typeName(operand.type)} do not mix`);
      return undefined;
    }
  }
  return once(converted(operand, scalar), (x) => construct(type, () => x));
}

const OPERATORS = { add: "+", sub: "-", mul: "*", div: "/", mod: "%" } as const;

function ofVectors(name: string, type: VectorType, operands: readonly Expression[]): Expression {
  const [a, b, c] = operands as [Expression, Expression, Expression];
  if (name in OPERATORS) return arithmetic(OPERATORS[name as "add"], a, b);
  const scalar = scalarType(type.schema.component);
  const each = (value: number): Expression =>
    construct(type, () => converted(numberConstant(value), scalar));
  switch (name) {
    case "neg":
      return type.schema.component === "u32" ? arithmetic("-", each(0), a) : negative(a);
    case "dot":
      return dot(a, b, scalar);
    case "length":
      return lengthOf(a);
    case "distance":
      return lengthOf(arithmetic("-", a, b));
    case "normalize":
      return once(a, (v) =>
        once(lengthOf(v), (size) =>
          arithmetic(
            "/",
            v,
            construct(type, () => size),
          ),
        ),
      );
    case "reflect":
      return once(a, (v) =>
        once(b, (n) => {
          const twice = arithmetic("*", numberConstantF32(2), dot(n, v, scalar));
          return once(twice, (k) =>
            arithmetic(
              "-",
              v,
              arithmetic(
                "*",
                construct(type, () => k),
                n,
              ),
            ),
          );
        }),
      );
    case "abs":
      return type.schema.component === "u32" ? a : intrinsic("abs", type, a);
    default:
      return composed(name, type, [a, b, c], each);
  }
}

const numberConstantF32 = (value: number): Expression => asF32(numberConstant(value));

const lengthOf = (v: Expression): Expression =>
  intrinsic(
    "sqrt",
    F32,
    once(v, (each) => dot(each, each, F32)),
  );

/** In one order of sums on both sides: WGSL leaves it open for its own. */
function dot(a: Expression, b: Expression, scalar: Type): Expression {
  return kept(a, (v) =>
    kept(b, (w) => {
      const products = partsOf(v).map((part, k) => arithmetic("*", part, component(w, k)));
      return products.reduce(
        (sum, next) => ({ ...arithmetic("+", sum, next), type: scalar }) as Expression,
      );
    }),
  );
}

/** What is the same for a number and for each component of a vector. */
function composed(
  name: string,
  type: Type,
  [a, b, c]: readonly [Expression, Expression, Expression],
  each: (value: number) => Expression,
): Expression {
  switch (name) {
    case "clamp":
      return intrinsic("min", type, intrinsic("max", type, a, b), c);
    case "mix": {
      const from = once(c, (t) =>
        arithmetic("+", arithmetic("*", a, arithmetic("-", each(1), t)), arithmetic("*", b, t)),
      );
      return from;
    }
    case "fract":
      return once(a, (x) => arithmetic("-", x, intrinsic("floor", type, x)));
    case "step":
      return type.kind === "vector"
        ? named([a, b], ([edge, x]) =>
            construct(type, (k) => stepOf(component(edge!, k), component(x!, k))),
          )
        : stepOf(a, b);
    case "smoothstep": {
      const way = arithmetic("/", arithmetic("-", c, a), arithmetic("-", b, a));
      const limited = intrinsic("min", type, intrinsic("max", type, way, each(0)), each(1));
      return once(limited, (t) =>
        arithmetic(
          "*",
          arithmetic("*", t, t),
          arithmetic("-", each(3), arithmetic("*", each(2), t)),
        ),
      );
    }
    case "cross":
      return cross(type, a, b);
    case "min":
    case "max":
    case "pow":
      return intrinsic(name, type, a, b);
    default:
      return intrinsic(name, type, a);
  }
}

/** Of constants it is a constant. */
function cross(type: Type, a: Expression, b: Expression): Expression {
  if (a.op !== "construct" || b.op !== "construct") return intrinsic("cross", type, a, b);
  const product = (j: number, k: number): Expression =>
    arithmetic("*", a.operands[j]!, b.operands[k]!);
  return construct(type, (at) => {
    const [j, k] = [(at + 1) % 3, (at + 2) % 3];
    return arithmetic("-", product(j, k), product(k, j));
  });
}

const stepOf = (edge: Expression, x: Expression): Expression =>
  choose(binary(">=", x, edge), numberConstantF32(1), numberConstantF32(0));

/** The same functions on numbers. */
function ofNumbers(
  context: Context,
  node: Node,
  name: string,
  operands: readonly Expression[],
): Expression {
  if (name in OPERATORS) {
    const [a, b] = operands as [Expression, Expression];
    return operation(context, node, OPERATORS[name as "add"], [a, () => b]);
  }
  if (["dot", "cross", "reflect", "normalize"].includes(name)) {
    return context.mismatch(node, `${name} takes vectors, and these are numbers`);
  }
  const [a, b, c] = operands as [Expression, Expression, Expression];
  const isWhole = WHOLE_TOO.has(name) && operands.every(({ type }) => type.kind !== "f32");
  if (isWhole && (name === "min" || name === "max" || name === "clamp")) {
    return wholeExtreme(context, node, name, operands);
  }
  const floats = [a, b, c].map((each) => each && asF32(each)) as [
    Expression,
    Expression,
    Expression,
  ];
  if (name === "neg") return negative(floats[0]);
  if (name === "length") return intrinsic("abs", F32, floats[0]);
  if (name === "distance") return intrinsic("abs", F32, arithmetic("-", floats[0], floats[1]));
  return composed(name, F32, floats, numberConstantF32);
}

function wholeExtreme(
  context: Context,
  node: Node,
  name: string,
  operands: readonly Expression[],
): Expression {
  const [a, b] = unite(context, node, [operands[0]!, operands[1]!]) ?? [];
  if (a === undefined || b === undefined) return NOTHING;
  if (name !== "clamp") return intrinsic(name, a.type, a, b);
  const sides = unite(context, node, [intrinsic("max", a.type, a, b), operands[2]!]);
  return sides === undefined ? NOTHING : intrinsic("min", sides[0].type, ...sides);
}
