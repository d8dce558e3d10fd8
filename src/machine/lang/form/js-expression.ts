/**
 * Expressions as JavaScript that computes what a GPU does: integers of 32 bits that wrap, and
 * floats that are rounded after each operation. Names that begin with `$` are ours.
 */
import type { Address, Expression, Variable } from "./ir.ts";
import { isInteger, type Type } from "./type.ts";

/** What a variable is called. */
export type NameOf = (variable: Variable) => string;

/** What expressions call besides `Math`; memory comes with the kernel (`emit-js.ts`). */
export const NUMBER_TOOLS = `const $f = Math.fround;
const $u = (x) => (x > 0 ? (x < 4294967296 ? x >>> 0 : 4294967295) : 0);
const $i = (x) => (x > -2147483648 ? (x < 2147483648 ? x | 0 : 2147483647)
  : x <= -2147483648 ? -2147483648 : 0);
`;

/** The value of an expression that has only constants in it. */
export function evaluate(expression: Expression): number | boolean {
  const text = jsExpression(expression, ({ name }) => name);
  return new Function(`${NUMBER_TOOLS}return ${text};`)() as number | boolean;
}

export function jsExpression(expression: Expression, nameOf: NameOf): string {
  const text = (part: Expression): string => jsExpression(part, nameOf);
  switch (expression.op) {
    case "constant":
      return constantText(expression.value, expression.type);
    case "variable":
      return nameOf(expression.variable);
    case "argument":
      return `$arg_${expression.name}`;
    case "load":
      return `$load_${wordOf(expression.type)}(${jsAddress(expression.address, nameOf)})`;
    case "address":
      return `(${jsAddress(expression.address, nameOf)} >>> 0)`;
    case "unary":
      if (expression.type.kind === "vector") {
        return `$${wordOf(expression.type)}_neg(${text(expression.operand)})`;
      }
      return unaryText(expression.operator, text(expression.operand), expression.type);
    case "binary":
      if (expression.type.kind === "vector") {
        const list = `${text(expression.left)}, ${text(expression.right)}`;
        return `$${wordOf(expression.type)}_${OPERATIONS[expression.operator]}(${list})`;
      }
      return binaryText(expression, text(expression.left), text(expression.right));
    case "logical":
      return `(${text(expression.left)} ${expression.operator} ${text(expression.right)})`;
    case "choose": {
      const { test, yes, no } = expression;
      return `(${text(test)} ? ${text(yes)} : ${text(no)})`;
    }
    case "convert":
      return conversionText(text(expression.operand), expression.operand.type, expression.type);
    case "intrinsic": {
      const vector = expression.operands.find(({ type }) => type.kind === "vector");
      const operands = expression.operands.map(text);
      if (vector === undefined) return intrinsicText(expression.name, operands, expression.type);
      return `$${wordOf(vector.type)}_${expression.name}(${operands.join(", ")})`;
    }
    case "call":
      return `${expression.callee.name}(${expression.operands.map(text).join(", ")})`;
    case "atomic": {
      const list = [jsAddress(expression.address, nameOf), ...expression.operands.map(text)];
      return `$atomic${expression.name}_${wordOf(expression.word)}(${list.join(", ")})`;
    }
    case "construct":
      return `[${expression.operands.map(text).join(", ")}]`;
    case "component":
      return `${text(expression.operand)}[${expression.index}]`;
    case "element":
      return jsElement(expression.array, expression.index, nameOf);
    case "with": {
      const { variable, value, body } = expression;
      return `(${nameOf(variable)} = ${text(value)}, ${text(body)})`;
    }
  }
}

/** What the functions for vectors are called by. */
const OPERATIONS: Readonly<Record<string, string>> = {
  "+": "add",
  "-": "sub",
  "*": "mul",
  "/": "div",
  "%": "mod",
};

/** An index outside is an error: a GPU would take some other element. */
export function jsElement(array: Variable, index: Expression, nameOf: NameOf): string {
  const length = array.type.kind === "local" ? array.type.length : 0;
  if (index.op === "constant") return `${nameOf(array)}[${index.value}]`;
  return `${nameOf(array)}[$within(${jsExpression(index, nameOf)}, ${length})]`;
}

/** As a number of 32 bits, of either sign. */
export function jsAddress(address: Address, nameOf: NameOf): string {
  const parts = [jsExpression(address.base, nameOf)];
  for (const { index, stride } of address.indices) {
    parts.push(`Math.imul(${jsExpression(index, nameOf)}, ${stride})`);
  }
  if (address.offset !== 0) parts.push(String(address.offset));
  return parts.length === 1 ? parts[0]! : `(${parts.join(" + ")})`;
}

/** Which kind of word is loaded and stored for it. */
export const wordOf = (type: Type): string => {
  if (type.kind === "vector") return type.schema.name;
  return type.kind === "i32" || type.kind === "f32" ? type.kind : "u32";
};

function constantText(given: number | boolean, { kind }: Type): string {
  if (typeof given === "boolean") return String(given);
  const value = kind === "f32" ? Math.fround(given) : given;
  const isPlain = Number.isFinite(value) && (value > 0 || Object.is(value, 0));
  return isPlain ? String(value) : `(${Object.is(value, -0) ? "-0" : value})`;
}

/** The result of an operation on numbers as one of `type`. */
function wrapped(text: string, { kind }: Type): string {
  if (kind === "u32") return `(${text} >>> 0)`;
  if (kind === "i32") return `(${text} | 0)`;
  return kind === "f32" ? `$f(${text})` : `(${text})`;
}

export function unaryText(operator: "-" | "~" | "!", operand: string, type: Type): string {
  if (operator === "!") return `!${operand}`;
  // Of a float it is exact, and of the literal 0 it is no -0.
  if (operator === "-" && type.kind === "f32") return `(-${operand})`;
  return wrapped(operator === "-" ? `(0 - ${operand})` : `~${operand}`, type);
}

type Binary = Extract<Expression, { op: "binary" }>;

export function binaryText(
  {
    operator,
    type,
    left: { type: side },
  }: Pick<Binary, "operator" | "type"> & {
    readonly left: Pick<Expression, "type">;
  },
  left: string,
  right: string,
): string {
  switch (operator) {
    case "*":
      return isInteger(type)
        ? wrapped(`Math.imul(${left}, ${right})`, type)
        : wrapped(`${left} * ${right}`, type);
    case "===":
    case "!==":
    case "<":
    case "<=":
    case ">":
    case ">=":
      return `(${left} ${operator} ${right})`;
    case ">>":
      return side.kind === "u32" ? `(${left} >>> ${right})` : wrapped(`${left} >> ${right}`, type);
    default:
      return wrapped(`(${left} ${operator} ${right})`, type);
  }
}

function conversionText(operand: string, from: Type, to: Type): string {
  if (from.kind === "bool") return `(${operand} ? 1 : 0)`;
  if (to.kind === "f32") return `$f(${operand})`;
  if (from.kind === "f32") return `$${to.kind[0]}(${operand})`;
  return to.kind === "i32" ? `(${operand} | 0)` : `(${operand} >>> 0)`;
}

/** Those that are called otherwise in `Math`, or need no rounding. */
export function intrinsicText(name: string, operands: readonly string[], type: Type): string {
  const list = operands.join(", ");
  if (name === "clz") return `Math.clz32(${list})`;
  // As `round` is written in WGSL: exact.
  if (name === "round") return `$f(Math.ceil(Math.floor(${list} * 2) * 0.5))`;
  return wrapped(`Math.${name}(${list})`, type);
}
