/** Members and elements: what they are in memory, how they are read, and what may be stored. */

import type { MemberExpression, Node, Expression as SyntaxExpression } from "acorn";
import { strideOf } from "../layout.ts";
import { type Schema, type StructSchema, schemaName } from "../schema.ts";
import type { Context } from "./context.ts";
import {
  type Address,
  asI32,
  asU32,
  coerced,
  converted,
  type Expression,
  elementAt,
  isInteger,
  isNumber,
  isSame,
  NOTHING,
  placeAt,
  type Type,
  typeName,
  typeOfMemory,
} from "./form/index.ts";

/** A piece of memory. */
export interface MemoryPlace {
  readonly schema: Schema;
  readonly address: Address;
}

/** Its value: loaded, or its address where it is more than a value. */
export function valueAt({ schema, address }: MemoryPlace): Expression {
  const type = typeOfMemory(schema);
  const isAddress = schema.kind === "struct" || schema.kind === "array";
  if (!isAddress) return { op: "load", type, address };
  const isPlain = address.offset === 0 && address.indices.length === 0;
  return isPlain && isSame(address.base.type, type)
    ? address.base
    : { op: "address", type, address };
}

/** What `a.b` or `a[b]` is in memory; nothing, if types are not known yet. */
export function placeOf(context: Context, node: MemberExpression): MemoryPlace | undefined {
  if (node.optional) context.refuse(node, "?. hides a null pointer; test it: if (p) …");
  const object = node.object as SyntaxExpression;
  const base = context.expression(object);
  if (base.type.kind === "none") return undefined;
  const field = fieldName(node);
  if (field !== undefined) return memberOf(context, node, base, field);
  return elementOf(context, node, base);
}

function fieldName({ property, computed }: MemberExpression): string | undefined {
  if (!computed && property.type === "Identifier") return property.name;
  if (property.type !== "Literal" || typeof property.value !== "string") return undefined;
  return property.value;
}

function memberOf(
  context: Context,
  node: Node,
  base: Expression,
  name: string,
): MemoryPlace | undefined {
  const struct = structOf(base.type);
  if (struct === undefined) {
    const { type } = base;
    const isList = type.kind === "array" || type.kind === "ptr";
    const rule = isList ? "has elements, p[i], and no members" : "has no members";
    context.mismatch(node, `${typeName(type)} ${rule}`);
    return undefined;
  }
  const schema = Object.hasOwn(struct.fields, name) ? struct.fields[name] : undefined;
  if (schema === undefined) {
    const fields = Object.keys(struct.fields).join(", ");
    context.mismatch(node, `${struct.name} has no field ${name} (it has ${fields})`);
    return undefined;
  }
  return { schema, address: placeAt(base, struct.offsets[name]!) };
}

const structOf = (type: Type): StructSchema | undefined =>
  type.kind === "ptr" && type.to?.kind === "struct" ? type.to : undefined;

function elementOf(
  context: Context,
  node: MemberExpression,
  base: Expression,
): MemoryPlace | undefined {
  const { type } = base;
  const schema =
    type.kind === "ptr" ? type.to : type.kind === "array" ? type.schema.element : undefined;
  if (schema === undefined) {
    context.mismatch(node, `${typeName(type)} has no elements`);
    return undefined;
  }
  const index = indexOf(context, node.property);
  return index && { schema, address: elementAt(base, index, strideOf(schema)) };
}

/** As a u32. */
function indexOf(context: Context, node: Node): Expression | undefined {
  const index = context.expression(node);
  const { type } = index;
  if (type.kind === "none") return undefined;
  if (type.kind === "u32") return index;
  if (type.kind === "literal") return index.op === "constant" ? asU32(index) : asU32(asI32(index));
  if (type.kind === "i32" || (type.kind === "f32" && type.isWhole)) return asU32(index);
  const rule = isNumber(type) ? "; write Math.floor(x) or u32(x)" : "";
  context.mismatch(node, `an index is an integer, and this is ${typeName(type)}${rule}`);
  return undefined;
}

/** `value` as it is stored there: integers wrap, as they do in typed arrays. */
export function storable(
  context: Context,
  node: Node,
  schema: Schema,
  value: Expression,
): Expression {
  if (value.type.kind === "none") return NOTHING;
  if (schema.kind === "struct" || schema.kind === "array") {
    const what = schema.kind === "struct" ? "fields" : "elements";
    return context.mismatch(node, `${schemaName(schema)} is not stored whole; assign its ${what}`);
  }
  const type = typeOfMemory(schema);
  const from = value.type;
  context.hint(from, type, true);
  if (isInteger(type)) {
    const isWhole =
      isInteger(from) || from.kind === "literal" || (from.kind === "f32" && from.isWhole);
    if (isWhole) return converted(value, type);
    const rule =
      from.kind === "f32" ? `; write Math.floor(x) or ${type.kind}(x)` : ruleFor(from, type);
    return context.mismatch(
      node,
      `${schemaName(schema)} is stored here, not ${typeName(from)}${rule}`,
    );
  }
  const fit = coerced(value, type);
  if (fit !== undefined) return fit;
  const rule = `${schemaName(schema)} is stored here, not ${typeName(from)}${ruleFor(from, type)}`;
  return context.mismatch(node, rule);
}

function ruleFor(from: Type, to: Type): string {
  if (from.kind === "bool" && isNumber(to)) return "; write test ? 1 : 0";
  return from.kind === "ptr" && isNumber(to) ? "; write u32(pointer)" : "";
}
