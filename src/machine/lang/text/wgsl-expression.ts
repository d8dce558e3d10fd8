/**
 * Expressions as WGSL. WGSL has no `?:` that leaves out what is not chosen, and no place for a
 * value that is needed twice, so an expression may need statements before it: `before` collects
 * them, and what may not always run becomes an `if`.
 */
import {
  type Address,
  type Expression,
  has,
  isInteger,
  type Type,
  type Variable,
  wordOf,
} from "../form/index.ts";

/** The text around an expression. */
export interface Around {
  nameOf(variable: Variable): string;
  /** Writes a line before the statement that is being written. */
  line(text: string): void;
  /** What `body` would write there. */
  apart<Result>(body: () => Result): { readonly lines: string[]; readonly result: Result };
  /** A constant that no literal can be. */
  special(value: number): string;
}

export function wgslExpression(expression: Expression, around: Around): string {
  const text = (part: Expression): string => wgslExpression(part, around);
  switch (expression.op) {
    case "constant":
      return constantText(expression.value, expression.type, around);
    case "variable":
      return around.nameOf(expression.variable);
    case "argument":
      return `args.${expression.name}`;
    case "load":
      return `load_${wordOf(expression.type)}(${bare(wgslAddress(expression.address, around))})`;
    case "address":
      return wgslAddress(expression.address, around);
    case "unary":
      return `${expression.operator}${text(expression.operand)}`.replace(/^--/, "- -");
    case "binary":
      return binaryText(expression, around);
    case "logical":
      return logicalText(expression, around);
    case "choose":
      return choiceText(expression, around);
    case "convert":
      return conversionText(expression, around);
    case "intrinsic":
      return intrinsicText(expression.name, expression.operands.map(text));
    case "call": {
      const operands = expression.operands.map((each) => bare(text(each)));
      return `${expression.callee.name}(${operands.join(", ")})`;
    }
    case "atomic": {
      const address = bare(wgslAddress(expression.address, around));
      const list = [address, ...expression.operands.map((each) => bare(text(each)))];
      return `atomic${expression.name}_${wordOf(expression.word)}(${list.join(", ")})`;
    }
    case "construct": {
      const parts = expression.operands.map((each) => bare(text(each)));
      return `${wgslType(expression.type)}(${parts.join(", ")})`;
    }
    case "component":
      return `${text(expression.operand)}.${"xyzw"[expression.index]}`;
    case "element":
      return `${around.nameOf(expression.array)}[${bare(text(expression.index))}]`;
    case "with": {
      const value = bare(text(expression.value));
      around.line(`let ${around.nameOf(expression.variable)} = ${value};`);
      return text(expression.body);
    }
  }
}

export function wgslType(type: Type): string {
  if (type.kind === "vector") return type.schema.name;
  if (type.kind === "local") return `array<${type.element}, ${type.length}>`;
  return type.kind === "ptr" || type.kind === "array" ? "u32" : type.kind;
}

/** Without the brackets around all of it. */
export function bare(text: string): string {
  if (!text.startsWith("(")) return text;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "(") depth++;
    else if (text[i] === ")" && --depth === 0)
      return i === text.length - 1 ? text.slice(1, -1) : text;
  }
  return text;
}

export function wgslAddress(address: Address, around: Around): string {
  const parts = [wgslExpression(address.base, around)];
  for (const { index, stride } of address.indices) {
    parts.push(`${stride}u * ${wgslExpression(index, around)}`);
  }
  if (address.offset !== 0) parts.push(`${address.offset}u`);
  return parts.length === 1 ? parts[0]! : `(${parts.join(" + ")})`;
}

function constantText(value: number | boolean, { kind }: Type, around: Around): string {
  if (typeof value === "boolean") return String(value);
  if (kind === "f32") {
    if (!Number.isFinite(Math.fround(value))) return around.special(Math.fround(value));
    const digits = `${Object.is(value, -0) ? "-0" : Math.fround(value)}f`.replace("e+", "e");
    return value < 0 || Object.is(value, -0) ? `(${digits})` : digits;
  }
  if (kind !== "i32") return `${value}u`;
  if (value === -(2 ** 31)) return "i32(-2147483648)";
  return value < 0 ? `(${value}i)` : `${value}i`;
}

/** The nearest integer: WGSL by itself stops at the largest f32 that is one of the type. */
function conversionText(
  { type, operand }: Extract<Expression, { op: "convert" }>,
  around: Around,
): string {
  const value = wgslExpression(operand, around);
  const isCut = operand.type.kind === "f32" && isInteger(type);
  const end = type.kind === "u32" ? 2 ** 32 : 2 ** 31;
  if (!isCut || mostOf(operand) < end) return `${wgslType(type)}(${bare(value)})`;
  const x = named(value, operand, around);
  const most = constantText(end - 1, type, around);
  return `select(${type.kind}(${x}), ${most}, ${x} >= ${constantText(end, operand.type, around)})`;
}

/** What a float is at most, as far as it can be seen. */
function mostOf(expression: Expression): number {
  if (expression.op === "constant") return Number(expression.value);
  if (expression.op !== "intrinsic") return Number.POSITIVE_INFINITY;
  const { name, operands } = expression;
  if (["sin", "cos", "fract"].includes(name)) return 1;
  if (name === "min") return Math.min(...operands.map(mostOf));
  if (name === "clamp") return mostOf(operands[2]!);
  const isRounding = ["floor", "ceil", "trunc", "round"].includes(name);
  return isRounding ? Math.ceil(mostOf(operands[0]!)) : Number.POSITIVE_INFINITY;
}

function binaryText(
  { operator, type, left, right }: Extract<Expression, { op: "binary" }>,
  around: Around,
): string {
  const a = inChain(operator, left, wgslExpression(left, around));
  let b = wgslExpression(right, around);
  if (operator === "===" || operator === "!==") return `(${a} ${operator.slice(0, 2)} ${b})`;
  const isWhole = isInteger(type) || (type.kind === "vector" && type.schema.component !== "f32");
  // A constant divisor may have a 0 in it, which WGSL refuses.
  if (operator === "%" && isWhole && right.op === "construct") {
    return `(${a} % ${named(b, right, around)})`;
  }
  if (operator !== "/" || !isWhole) return `(${a} ${operator} ${b})`;
  // JavaScript makes 0 of a division by 0, and WGSL the dividend.
  if (right.op === "constant") return right.value === 0 ? `${b}` : `(${a} / ${b})`;
  b = named(b, right, around);
  const zero = type.kind === "vector" ? `${wgslType(type)}()` : constantText(0, type, around);
  return `select(${a} / ${b}, ${zero}, ${b} == ${zero})`;
}

/** What may stand on the left of an operator without brackets. */
const CHAINS: Readonly<Record<string, readonly string[]>> = {
  "+": ["+", "-", "*"],
  "-": ["+", "-", "*"],
  "*": ["*"],
  "&": ["&"],
  "|": ["|"],
  "^": ["^"],
  "&&": ["&&"],
  "||": ["||"],
};

function inChain(operator: string, left: Expression, text: string): string {
  const isOperation = left.op === "binary" || left.op === "logical";
  return isOperation && CHAINS[operator]?.includes(left.operator) ? bare(text) : text;
}

/** A name for a value that is needed twice. */
function named(text: string, { op, type }: Expression, around: Around): string {
  if (op === "variable" || op === "argument") return text;
  const variable: Variable = { name: "value", type, isWritten: false };
  around.line(`let ${around.nameOf(variable)} = ${bare(text)};`);
  return around.nameOf(variable);
}

function logicalText(
  { operator, left, right }: Extract<Expression, { op: "logical" }>,
  around: Around,
): string {
  const a = inChain(operator, left, wgslExpression(left, around));
  const { lines, result: b } = around.apart(() => wgslExpression(right, around));
  if (lines.length === 0) return `(${a} ${operator} ${b})`;
  const variable: Variable = { name: "test", type: left.type, isWritten: true };
  const name = around.nameOf(variable);
  around.line(`var ${name} = ${bare(a)};`);
  around.line(`if (${operator === "&&" ? name : `!${name}`}) {`);
  for (const line of [...lines, `${name} = ${bare(b)};`]) around.line(`  ${line}`);
  around.line("}");
  return name;
}

/** `select` computes both: only what is there without a load, a call or a statement. */
function choiceText(
  { type, test, yes, no }: Extract<Expression, { op: "choose" }>,
  around: Around,
): string {
  const c = wgslExpression(test, around);
  const a = around.apart(() => wgslExpression(yes, around));
  const b = around.apart(() => wgslExpression(no, around));
  const isShort = a.lines.length + b.lines.length === 0 && isSafe(yes) && isSafe(no);
  if (isShort) return `select(${bare(b.result)}, ${bare(a.result)}, ${bare(c)})`;
  const variable: Variable = { name: "chosen", type, isWritten: true };
  const name = around.nameOf(variable);
  around.line(`var ${name}: ${wgslType(type)};`);
  around.line(`if ${bracketed(c)} {`);
  for (const line of [...a.lines, `${name} = ${bare(a.result)};`]) around.line(`  ${line}`);
  around.line("} else {");
  for (const line of [...b.lines, `${name} = ${bare(b.result)};`]) around.line(`  ${line}`);
  around.line("}");
  return name;
}

export const bracketed = (text: string): string => `(${bare(text)})`;

/** It touches no memory, wherever it points. */
export const isSafe = (expression: Expression): boolean =>
  !has(expression, ({ op }) => op === "load" || op === "call" || op === "atomic");

function intrinsicText(name: string, operands: readonly string[]): string {
  const list = operands.map(bare).join(", ");
  if (name === "clz") return `countLeadingZeros(${list})`;
  // Away from zero at .5 in JavaScript only upwards; WGSL's own goes to the even one.
  if (name === "round") return `ceil(floor(${operands[0]} * 2f) * 0.5f)`;
  return `${name}(${list})`;
}
