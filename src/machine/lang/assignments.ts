/** Declarations and assignments: to names, and to memory. */

import type {
  AssignmentExpression,
  BinaryExpression,
  Identifier,
  MemberExpression,
  Node,
  ObjectPattern,
  Expression as SyntaxExpression,
  UpdateExpression,
  VariableDeclaration,
  VariableDeclarator,
} from "acorn";
import { f32, i32, type ScalarName, u32 } from "../schema.ts";
import type { Context } from "./context.ts";
import {
  type Address,
  addressHas,
  coerced,
  constant,
  type Expression,
  isNumber,
  numberConstant,
  type Statement,
  scalarType,
  type Type,
  typeName,
  U32,
  type Variable,
} from "./form/index.ts";
import { meaningOf, notChanged } from "./names.ts";
import { operation } from "./operators.ts";
import {
  componentOf,
  localElement,
  type MemoryPlace,
  memberValue,
  placeOf,
  storable,
  valueAt,
} from "./places.ts";

export function declaration(context: Context, node: VariableDeclaration): readonly Statement[] {
  const { kind, declarations } = node;
  if (kind !== "let" && kind !== "const") {
    context.refuse(node, kind === "var" ? "write let or const" : "nothing is closed in a kernel");
  }
  return declarations.flatMap((each) => declared(context, each, kind === "const"));
}

function declared(
  context: Context,
  node: VariableDeclarator,
  isConst: boolean,
): readonly Statement[] {
  const { id, init } = node;
  if (id.type === "ObjectPattern" && init) return takenApart(context, id, init, isConst);
  if (id.type !== "Identifier") return context.refuse(id, "write a const for each");
  const variable = context.declare(id, id.name);
  const binding = { kind: "variable", variable, isFixed: isConst } as const;
  if (!init) {
    variable.isWritten = true;
    context.bind(id.name, binding);
    return [{ op: "declare", variable }];
  }
  const array = newArray(context, init);
  if (array !== undefined) {
    variable.type = array;
    variable.isWritten = true;
    context.bind(id.name, { ...binding, isFixed: true });
    return [{ op: "declare", variable }];
  }
  const value = context.expression(init);
  context.bind(id.name, binding);
  if (value.type.kind === "none") return [];
  if (isConst && value.op === "constant") {
    variable.constant = value;
    return [];
  }
  // It may have looked like one while less was known.
  delete variable.constant;
  if (value.type.kind === "void") context.refuse(init, "it gives no value");
  return [{ op: "declare", variable, value: taken(context, init, variable, value) }];
}

/** `const { key, left: next } = node`: fields, read one by one. */
function takenApart(
  context: Context,
  pattern: ObjectPattern,
  init: SyntaxExpression,
  isConst: boolean,
): readonly Statement[] {
  const given = context.expression(init);
  const whole: Variable = { name: "whole", type: given.type, isWritten: false };
  const base: Expression = { op: "variable", type: given.type, variable: whole };
  const statements: Statement[] = [{ op: "declare", variable: whole, value: given }];
  for (const property of pattern.properties) {
    const isPlain = property.type === "Property" && !property.computed;
    if (!isPlain || property.value.type !== "Identifier" || property.key.type !== "Identifier") {
      return context.refuse(property, "write a name, or name: other");
    }
    const { key, value } = property;
    const variable = context.declare(value, value.name);
    context.bind(value.name, { kind: "variable", variable, isFixed: isConst });
    const member =
      given.type.kind === "none" ? given : memberValue(context, property, base, key.name);
    if (member.type.kind === "none") continue;
    statements.push({ op: "declare", variable, value: taken(context, property, variable, member) });
  }
  return statements;
}

const ARRAYS: Readonly<Record<string, ScalarName>> = {
  Uint32Array: "u32",
  Int32Array: "i32",
  Float32Array: "f32",
};
const LENGTH_MAX = 4096;

/** `new Uint32Array(32)`: an array of the invocation's own. */
function newArray(context: Context, node: SyntaxExpression): Type | undefined {
  if (node.type !== "NewExpression" || node.callee.type !== "Identifier") return undefined;
  const { name } = node.callee;
  const isTyped = Object.hasOwn(ARRAYS, name) && context.lookup(name) === undefined;
  if (!isTyped) return undefined;
  const [given] = node.arguments;
  const length = given === undefined ? undefined : context.expression(given);
  const isLength =
    length?.op === "constant" && isNumber(length.type) && node.arguments.length === 1;
  const count = isLength ? Number(length.value) : 0;
  if (!Number.isInteger(count) || count < 1 || count > LENGTH_MAX) {
    const rule = `its length is a number of the text or of uses, 1 to ${LENGTH_MAX}`;
    context.refuse(node, rule);
  }
  return { kind: "local", element: ARRAYS[name]!, length: count };
}

/** `value` as one of the variable, whose type grows by it. */
function taken(context: Context, node: Node, variable: Variable, value: Expression): Expression {
  const isTaken = value.type.kind === "none" || context.grow(variable, value.type);
  const fit = isTaken ? coerced(value, variable.type) : undefined;
  if (fit !== undefined) return fit;
  const own = `${variable.name} is ${typeName(variable.type)}`;
  const rule = `${own}, and this is ${typeName(value.type)}`;
  const isNumber = ["u32", "i32"].includes(variable.type.kind);
  const hint = isNumber ? `; write ${variable.type.kind}(…)` : "";
  return context.mismatch(node, `${rule}${hint}`);
}

export function assignment(context: Context, node: AssignmentExpression): readonly Statement[] {
  const { operator, left, right } = node;
  if (operator === "||=" || operator === "&&=" || operator === "??=") {
    context.refuse(node, "write an if");
  }
  const combine =
    operator === "="
      ? () => context.expression(right)
      : (before: Expression) => {
          const plain = operator.slice(0, -1) as Exclude<BinaryExpression["operator"], "===">;
          const sides = [before, () => context.expression(right)] as const;
          // The operator's two sides are those of the assignment.
          return operation(context, node, plain as "+", sides);
        };
  return changed(context, left, combine, operator !== "=");
}

export function update(context: Context, node: UpdateExpression): readonly Statement[] {
  const operator = node.operator === "++" ? "+" : "-";
  const combine = (before: Expression): Expression =>
    operation(context, node, operator, [before, () => numberConstant(1)]);
  return changed(context, node.argument, combine, true);
}

type Combine = (before: Expression) => Expression;

/** `isRead`: the new value is made of the one before. */
function changed(
  context: Context,
  target: Node,
  combine: Combine,
  isRead: boolean,
): readonly Statement[] {
  if (target.type === "Identifier") return changedName(context, target as Identifier, combine);
  if (target.type !== "MemberExpression") {
    return context.refuse(target, "assign to names, fields and elements, one by one");
  }
  const member = target as MemberExpression;
  const element = localElement(context, member);
  if (element !== undefined) return changedElement(context, member, element, combine);
  const { object } = member;
  if (object.type === "Identifier" && meaningOf(context, object) === undefined) {
    return context.refuse(target, notChanged(object.name));
  }
  const base = context.expression(object);
  if (componentOf(context, member, base) !== undefined) {
    const rule = "vectors stay as they are; write v = vec3f(1, v.y, v.z), or assign in memory";
    context.mismatch(target, rule);
    return [];
  }
  const place = placeOf(context, member, base);
  if (place === undefined) return [];
  context.stores = true;
  if (!isRead) return [stored(context, target, place, combine(NEVER_READ))];
  if (!addressHas(place.address, costs)) {
    return [stored(context, target, place, combine(valueAt(place)))];
  }
  const variable: Variable = { name: "place", type: U32, isWritten: false };
  const value: Expression = { op: "address", type: U32, address: place.address };
  const start: Expression = { op: "variable", type: U32, variable };
  const once: MemoryPlace = { ...place, address: { base: start, offset: 0, indices: [] } };
  return [
    { op: "declare", variable, value },
    stored(context, target, once, combine(valueAt(once))),
  ];
}

function changedElement(
  context: Context,
  node: MemberExpression,
  { array, index }: { readonly array: Variable; readonly index?: Expression },
  combine: Combine,
): readonly Statement[] {
  if (index === undefined || array.type.kind !== "local") {
    return context.refuse(node, "its elements are assigned, a[j]");
  }
  const type = scalarType(array.type.element);
  const schema = { u32, i32, f32 }[array.type.element];
  const value = combine({ op: "element", type, array, index });
  return [{ op: "storeElement", array, index, value: storable(context, node, schema, value) }];
}

const NEVER_READ: Expression = constant(U32, 0);

/** Worth being done once. */
const costs = ({ op }: Expression): boolean =>
  ["load", "call", "atomic", "with", "choose"].includes(op);

function stored(context: Context, node: Node, place: MemoryPlace, value: Expression): Statement {
  const { schema, address } = place as { schema: MemoryPlace["schema"]; address: Address };
  return { op: "store", address, value: storable(context, node, schema, value) };
}

function changedName(context: Context, target: Identifier, combine: Combine): readonly Statement[] {
  const meaning = meaningOf(context, target);
  if (meaning === undefined) return context.refuse(target, notChanged(target.name));
  if (meaning.kind === "argument") {
    return context.refuse(target, `arguments stay; write let x = ${target.name}`);
  }
  const isUsed = meaning.kind === "constant" || meaning.kind === "helper";
  if (isUsed) return context.refuse(target, notChanged(target.name));
  if (meaning.kind !== "variable") return context.refuse(target, "this cannot be assigned");
  const { variable, isFixed } = meaning;
  if (isFixed) context.refuse(target, fixed(context, target.name, variable));
  variable.isWritten = true;
  const value = combine(context.expression(target));
  if (value.type.kind === "none") return [];
  return [{ op: "assign", variable, value: taken(context, target, variable, value) }];
}

function fixed({ source }: Context, name: string, { type }: Variable): string {
  if (type.kind === "local") return `an array stays; assign its elements, ${name}[j] = x`;
  const isGiven = source.node.params.some(
    (each) => each.type === "Identifier" && each.name === name,
  );
  if (!isGiven) return `${name} is a const; write let ${name} where it is made`;
  return `${name} is given and cannot change; write let x = ${name}, and change x`;
}
