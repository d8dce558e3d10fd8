/** Expressions of JavaScript as typed expressions, or refused with what to write instead. */

import type {
  BinaryExpression,
  CallExpression,
  ConditionalExpression,
  Identifier,
  Literal,
  LogicalExpression,
  MemberExpression,
  Node,
  UnaryExpression,
} from "acorn";
import { callExpression } from "./calls.ts";
import type { Context } from "./context.ts";
import {
  BOOL,
  choose,
  coerced,
  constant,
  type Expression,
  isNumber,
  join,
  NOTHING,
  numberConstant,
  scalarType,
  typeName,
} from "./form/index.ts";
import { mathConstant } from "./math.ts";
import { type Meaning, meaningOf, notInToolkit, unknownMember, unknownName } from "./names.ts";
import { binaryExpression, truth, unaryExpression } from "./operators.ts";
import { componentOf, fieldName, localElement, placeOf, valueAt } from "./places.ts";

/** What else there is in JavaScript, and what to write. */
const REFUSED: Readonly<Record<string, string>> = {
  ArrayExpression: "a kernel makes no arrays; hand one over as an argument",
  ArrowFunctionExpression: "a kernel has no functions within; hand it over in uses",
  AssignmentExpression: "an assignment stands by itself; write it as a statement before",
  AwaitExpression: "a kernel cannot wait; it gets its pages by itself",
  ChainExpression: "?. hides a null pointer; test it: if (p) …",
  ClassExpression: "a kernel has numbers and pointers, no objects",
  FunctionExpression: "a kernel has no functions within; hand it over in uses",
  ImportExpression: "a kernel imports nothing; hand functions and constants over in uses",
  MetaProperty: "a kernel knows nothing around it; hand it over as an argument",
  NewExpression: "a kernel makes no objects, but const a = new Uint32Array(8) and its like",
  ObjectExpression: "a kernel has numbers and pointers, no objects",
  SequenceExpression: "write one statement for each",
  TaggedTemplateExpression: "a kernel has no text",
  TemplateLiteral: "a kernel has no text",
  ThisExpression: "a kernel has no this; hand values over as arguments",
  UpdateExpression: "++ and -- stand by themselves; write the statement before or after",
  YieldExpression: "a kernel runs through; it cannot stop in between",
};

export function lowerExpression(context: Context, node: Node): Expression {
  switch (node.type) {
    case "Literal":
      return literal(context, node as Literal);
    case "Identifier":
      return identifier(context, node as Identifier);
    case "UnaryExpression":
      return unaryExpression(context, node as UnaryExpression);
    case "BinaryExpression":
      return binaryExpression(context, node as BinaryExpression);
    case "LogicalExpression":
      return logical(context, node as LogicalExpression);
    case "ConditionalExpression":
      return conditional(context, node as ConditionalExpression);
    case "MemberExpression":
      return member(context, node as MemberExpression);
    case "CallExpression":
      return value(context, node, callExpression(context, node as CallExpression));
    case "SequenceExpression": {
      const meaning = meaningOf(context, node);
      if (meaning !== undefined) return meant(context, node, meaning);
      break;
    }
  }
  return context.refuse(node, REFUSED[node.type] ?? "a kernel has no such expression");
}

function value(context: Context, node: Node, expression: Expression): Expression {
  if (expression.type.kind !== "void") return expression;
  return context.mismatch(node, "it gives no value; call it as a statement");
}

function literal(context: Context, node: Literal): Expression {
  const given = node.value;
  if (typeof given === "number") return numberConstant(given);
  if (typeof given === "boolean") return constant(BOOL, given);
  if (typeof given === "bigint")
    context.refuse(node, "a kernel has numbers of 32 bits; leave out the n");
  if (given === null && node.regex === undefined)
    context.refuse(node, "write NULL for no pointer; test by if (p)");
  return context.refuse(node, "a kernel has no text; numbers and pointers only");
}

function identifier(context: Context, node: Identifier): Expression {
  const meaning = meaningOf(context, node);
  if (meaning === undefined) return context.refuse(node, unknownName(node.name));
  return meant(context, node, meaning);
}

function meant(context: Context, node: Node, meaning: Meaning): Expression {
  switch (meaning.kind) {
    case "variable": {
      const { variable } = meaning;
      if (variable.constant !== undefined) return variable.constant;
      const { type } = variable;
      if (type.kind === "none") return context.mismatch(node, "it never gets a value");
      if (type.kind === "local") context.refuse(node, "use its elements, a[j]");
      const isOpen = type.kind === "literal";
      return { op: "variable", type: isOpen ? { ...type, names: [variable] } : type, variable };
    }
    case "argument":
      return argument(context, node, meaning.name);
    case "constant":
      return typeof meaning.value === "boolean"
        ? constant(BOOL, meaning.value)
        : numberConstant(meaning.value);
    case "tool":
      if (meaning.name === "NULL") return constant({ kind: "ptr", to: undefined }, 0);
      return context.refuse(node, "this is a function: call it");
    case "helper":
      return context.refuse(node, notAValue(context.kernel.uses[meaning.name]));
    case "global":
      return global(context, node, meaning.name);
    default:
      return context.refuse(node, "read one of its members");
  }
}

const notAValue = (given: unknown): string =>
  typeof given === "function"
    ? "this is a function: call it"
    : "uses takes numbers, booleans and functions; hand memory over as an argument";

function argument(context: Context, node: Node, name: string): Expression {
  const type = context.kernel.argument(name);
  if (type === undefined) {
    const known = context.kernel.argumentNames.join(", ") || "none";
    return context.refuse(node, `${name} is not an argument of this kernel (${known})`);
  }
  return { op: "argument", type, name };
}

function global(context: Context, node: Node, name: string): Expression {
  if (name === "Infinity") return numberConstant(Number.POSITIVE_INFINITY);
  const rule = name === "Math" ? "call one of its functions" : "a kernel cannot count on it";
  return context.refuse(node, name === "NaN" ? "GPUs need not keep NaN apart; use a flag" : rule);
}

function member(context: Context, node: MemberExpression): Expression {
  const { object } = node;
  if (object.type === "Identifier") {
    const meaning = meaningOf(context, object);
    const name = fieldName(node);
    if (meaning === undefined) {
      const whole = meaningOf(context, node);
      if (whole !== undefined) return meant(context, node, whole);
      context.refuse(node, unknownMember(object.name, name));
    }
    if (name !== undefined && meaning?.kind === "arguments") return argument(context, node, name);
    if (name !== undefined && meaning?.kind === "toolkit") {
      const tool = meaningOf(context, node);
      return tool === undefined
        ? context.refuse(node, notInToolkit(name))
        : meant(context, node, tool);
    }
    if (name !== undefined && meaning?.kind === "global" && meaning.name === "Math") {
      return mathConstant(context, node, name);
    }
  }
  const element = elementValue(context, node);
  if (element !== undefined) return element;
  const base = context.expression(object);
  return componentOf(context, node, base) ?? loaded(placeOf(context, node, base));
}

const loaded = (place: ReturnType<typeof placeOf>): Expression =>
  place === undefined ? NOTHING : valueAt(place);

/** Of an array of the invocation's own: an element, or how many there are. */
function elementValue(context: Context, node: MemberExpression): Expression | undefined {
  const element = localElement(context, node);
  if (element === undefined) return undefined;
  const { array, index } = element;
  if (array.type.kind !== "local") return NOTHING;
  if (index !== undefined) {
    return { op: "element", type: scalarType(array.type.element), array, index };
  }
  const { property } = node;
  const isLength = property.type === "Identifier" && property.name === "length";
  if (isLength) return numberConstant(array.type.length);
  return context.refuse(node, "such an array has elements, a[j], and a length");
}

function logical(context: Context, node: LogicalExpression): Expression {
  const { operator } = node;
  if (operator === "??") context.refuse(node, "nothing is undefined in a kernel; write p ? p : q");
  const left = truth(context, node.left, () => choiceFor(context, node));
  const right = truth(context, node.right);
  if (left.type.kind === "none" || right.type.kind === "none") return NOTHING;
  if (left.op === "constant") return left.value === (operator === "&&") ? right : left;
  return { op: "logical", type: BOOL, operator, left, right };
}

/** What to write for `x || 5` of numbers, which is no condition. */
function choiceFor(context: Context, { operator, right }: LogicalExpression): string {
  if (!isNumber(context.expression(right).type)) return "x !== 0";
  const other = context.textOf(right);
  return operator === "||" ? `x !== 0 ? x : ${other}` : `x !== 0 ? ${other} : x`;
}

function conditional(context: Context, node: ConditionalExpression): Expression {
  const test = truth(context, node.test);
  const yes = context.expression(node.consequent);
  const no = context.expression(node.alternate);
  const type = join(yes.type, no.type);
  if (type === undefined) {
    const both = `${typeName(yes.type)} and ${typeName(no.type)}`;
    return context.mismatch(node, `both sides are of one type, and these are ${both}`);
  }
  context.unite(yes.type, no.type);
  if ([test, yes, no].some((each) => each.type.kind === "none")) {
    // What is known already counts: a name that is chosen from may be given by itself.
    return yes.type.kind === "none" ? (no.type.kind === "none" ? NOTHING : no) : yes;
  }
  const chosen = choose(test, coerced(yes, type)!, coerced(no, type)!);
  return { ...chosen, type } as Expression;
}
