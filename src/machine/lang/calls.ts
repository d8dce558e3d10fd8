/** Calls: of `Math`, of tools that a kernel knows by name, of helper functions. */

import type { CallExpression, MemberExpression, Node, Expression as SyntaxExpression } from "acorn";
import type { ScalarName } from "../schema.ts";
import { atomicCall } from "./atomics.ts";
import type { Context } from "./context.ts";
import {
  coerced,
  constant,
  converted,
  type Expression,
  isNumber,
  NOTHING,
  scalarType,
  typeName,
  type Variable,
} from "./form/index.ts";
import { checkCount, mathCall } from "./math.ts";
import { meaningOf, unknownCall } from "./names.ts";
import { isMethod, operandsOf } from "./tools.ts";
import { constructed, vectorCall } from "./vectors.ts";

export function callExpression(context: Context, node: CallExpression): Expression {
  if (node.optional) context.refuse(node, "?.() is of no use: a kernel knows what it calls");
  const callee = node.callee as SyntaxExpression;
  if (callee.type === "MemberExpression" && isMath(context, callee)) {
    return mathCall(context, node, propertyName(context, callee));
  }
  const meaning = meaningOf(context, callee);
  if (meaning === undefined && callee.type === "MemberExpression") {
    const method = methodCall(context, node, callee);
    if (method !== undefined) return method;
  }
  switch (meaning?.kind) {
    case "tool":
      return toolCall(context, node, meaning.name);
    case "helper":
      return helperCall(context, node, meaning.name);
    case undefined:
      return unknownCall(context, callee);
    default:
      return context.refuse(callee, "this is no function");
  }
}

function isMath(context: Context, callee: MemberExpression): boolean {
  if (callee.object.type !== "Identifier" || callee.object.name !== "Math") return false;
  return meaningOf(context, callee.object)?.kind === "global";
}

function propertyName(context: Context, { property, computed }: MemberExpression): string {
  if (!computed && property.type === "Identifier") return property.name;
  return context.refuse(property, "write the name of the function");
}

function toolCall(context: Context, node: CallExpression, name: string): Expression {
  const range = operandsOf(name);
  if (range[1] === 0) return context.refuse(node, `${name} is no function`);
  checkCount(context, node, range);
  if (name.startsWith("atomic")) return atomicCall(context, node, name);
  const operands = node.arguments.map((each) => context.expression(each));
  if (name.startsWith("vec")) return constructed(context, node, name, operands);
  if (name in SCALARS) return scalarCall(context, node, name as "u32", operands[0]!);
  return vectorCall(context, node, name, operands);
}

const SCALARS = { u32: 1, i32: 1, f32: 1 };

/** `u32(x)` and its like. */
function scalarCall(
  context: Context,
  node: CallExpression,
  name: ScalarName,
  operand: Expression,
): Expression {
  const { type } = operand;
  const target = scalarType(name);
  if (type.kind === "none") return NOTHING;
  if (isNumber(type) || type.kind === "bool") return converted(operand, target);
  if (type.kind === "ptr" && name === "u32") {
    return operand.op === "constant"
      ? constant(target, operand.value)
      : { op: "convert", type: target, operand };
  }
  return context.mismatch(node, `${name} takes a number, and this is ${typeName(type)}`);
}

/** `a.dot(b)` of vectors. */
function methodCall(
  context: Context,
  node: CallExpression,
  callee: MemberExpression,
): Expression | undefined {
  const name = callee.property.type === "Identifier" ? callee.property.name : "";
  const { object } = callee;
  const isFree = object.type === "Identifier" && meaningOf(context, object) === undefined;
  if (callee.computed || !isMethod(name) || isFree) return undefined;
  const first = context.expression(object);
  if (first.type.kind === "none") return NOTHING;
  if (first.type.kind !== "vector") return undefined;
  const [least, most] = operandsOf(name);
  checkCount(context, node, [least - 1, most - 1]);
  const others = node.arguments.map((each) => context.expression(each));
  return vectorCall(context, node, name, [first, ...others]);
}

function helperCall(context: Context, node: CallExpression, name: string): Expression {
  checkCount(context, node, [0, 16]);
  const operands = node.arguments.map((each) => context.expression(each));
  if (operands.some(({ type }) => type.kind === "none")) return NOTHING;
  for (const [k, { type }] of operands.entries()) {
    if (type.kind === "void") return context.refuse(node.arguments[k]!, "it gives no value");
  }
  const callee = context.kernel.instance(
    context,
    node,
    name,
    operands.map(({ type }) => type),
  );
  if (callee.stores) context.stores = true;
  const given = operands.map((operand, i) =>
    operandFor(context, node.arguments[i]!, operand, callee.parameters[i]!),
  );
  return { op: "call", type: callee.result, callee, operands: given };
}

function operandFor(
  context: Context,
  node: Node,
  operand: Expression,
  { type, isOpen }: Variable,
): Expression {
  if (isOpen !== true) context.hint(operand.type, type);
  return (
    coerced(operand, type) ??
    context.mismatch(node, `${typeName(type)} is wanted here, not ${typeName(operand.type)}`)
  );
}
