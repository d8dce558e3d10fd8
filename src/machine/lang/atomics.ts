/** Atomics: `atomicAdd(list, k, 1)` of an element, `atomicAdd(node, "count", 1)` of a field. */
import type { CallExpression, MemberExpression, Node, Expression as SyntaxExpression } from "acorn";
import { type Schema, schemaName } from "../schema.ts";
import type { Context } from "./context.ts";
import { type Atomic, type Expression, NOTHING, scalarType, VOID } from "./form/index.ts";
import { meaningOf } from "./names.ts";
import { placeOf, storable } from "./places.ts";

/** `name` is that of a tool, `atomicAdd`; the operands have been counted. */
export function atomicCall(context: Context, node: CallExpression, name: string): Expression {
  const [holder, key, ...given] = node.arguments as SyntaxExpression[];
  checkShared(context, holder!);
  const base = context.expression(holder!);
  if (base.type.kind === "vector" && base.op !== "load") {
    const rule = `a vector is a value; name it where it lies: ${name}(list[k], "x", …)`;
    return context.mismatch(holder!, rule);
  }
  const place = placeOf(context, memberOf(node, holder!, key!), base);
  if (place === undefined) return NOTHING;
  const { schema, address } = place;
  if (schema.kind !== "scalar" || schema.name === "f32") {
    return context.mismatch(node, ruleFor(schema, name));
  }
  const operation = name.slice("atomic".length) as Atomic;
  if (operation !== "Load") context.stores = true;
  const operands = given.map((each) => storable(context, each, schema, context.expression(each)));
  if (operands.some(({ type }) => type.kind === "none")) return NOTHING;
  const word = scalarType(schema.name);
  const type = operation === "Store" ? VOID : word;
  return { op: "atomic", type, name: operation, word, address, operands };
}

/** `holder[key]`, as it would be read. */
const memberOf = (
  { start, end }: Node,
  object: SyntaxExpression,
  property: SyntaxExpression,
): MemberExpression => ({
  type: "MemberExpression",
  start,
  end,
  object,
  property,
  computed: true,
  optional: false,
});

function checkShared(context: Context, holder: SyntaxExpression): void {
  const meaning = meaningOf(context, holder);
  if (meaning?.kind !== "variable" || meaning.variable.type.kind !== "local") return;
  context.refuse(holder, "it is the invocation's own, and nobody else changes it; assign a[j]");
}

function ruleFor(schema: Schema, name: string): string {
  const own = `atomics are for u32 and i32, and this is ${schemaName(schema)}`;
  switch (schema.kind) {
    case "scalar":
      return `${own}; keep a fixed point in an i32: ${name}(list, k, Math.round(x * 1024))`;
    case "struct":
      return `${own}; name a field: ${name}(p[k], "field", …)`;
    case "array":
      return `${own}; take an element: ${name}(p.items, k, …)`;
    case "vector":
      return `${own}; name a component of integers: ${name}(p[k], "x", …)`;
    default:
      return `${own}; keep an index in a u32 instead`;
  }
}
