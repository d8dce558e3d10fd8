/**
 * Vectors in JavaScript are arrays of numbers that nobody writes to. What is done with them are
 * functions, made for those that a text calls: `$vec3f_add`, `$vec3f_dot`, `$load_vec3f`.
 */
import type { Expression } from "./ir.ts";
import { binaryText, intrinsicText, unaryText } from "./js-expression.ts";
import { scalarType, type Type } from "./type.ts";

const OPERATORS: Readonly<Record<string, Extract<Expression, { op: "binary" }>["operator"]>> = {
  add: "+",
  sub: "-",
  mul: "*",
  div: "/",
  mod: "%",
};

/** The functions for vectors that `text` calls. */
export function vectorTools(text: string): string {
  const names = new Set(text.match(/\$(?:load_|store_)?vec[234][uif]\w*/g));
  return [...names].map((name) => `${toolText(name)}\n`).join("");
}

function toolText(name: string): string {
  const [, access, width, letter, operation] = /^\$(load_|store_)?vec(\d)([uif])_?(\w*)$/.exec(
    name,
  )!;
  const range = Array.from({ length: Number(width) }, (_, k) => k);
  const word = letter === "f" ? "f32" : letter === "i" ? "i32" : "u32";
  const need = (write: boolean): string =>
    `at >>>= 0; $memory.need(at, ${4 * range.length}, ${write}); at >>>= 2;`;
  if (access === "load_") {
    const parts = range.map((k) => `$${word}[at + ${k}]`);
    return `const ${name} = (at) => { ${need(false)} return [${parts.join(", ")}]; };`;
  }
  if (access === "store_") {
    const parts = range.map((k) => `$${word}[at + ${k}] = v[${k}];`);
    return `const ${name} = (at, v) => { ${need(true)} ${parts.join(" ")} };`;
  }
  return `const ${name} = (a, b) => ${bodyOf(operation!, range, scalarType(word))};`;
}

function bodyOf(operation: string, range: readonly number[], type: Type): string {
  const product = (j: number, k: number): string =>
    binaryText({ operator: "*", type, left: { type } }, `a[${j}]`, `b[${k}]`);
  const combined = (operator: "+" | "-", a: string, b: string): string =>
    binaryText({ operator, type, left: { type } }, a, b);
  if (operation === "dot") {
    return range.map((k) => product(k, k)).reduce((a, b) => combined("+", a, b));
  }
  if (operation === "cross") {
    const parts = range.map((k) => [(k + 1) % 3, (k + 2) % 3] as const);
    return `[${parts.map(([j, k]) => combined("-", product(j, k), product(k, j))).join(", ")}]`;
  }
  return `[${range.map((k) => eachText(operation, k, type)).join(", ")}]`;
}

function eachText(operation: string, k: number, type: Type): string {
  const operator = OPERATORS[operation];
  const [a, b] = [`a[${k}]`, `b[${k}]`];
  if (operator !== undefined) return binaryText({ operator, type, left: { type } }, a, b);
  if (operation === "neg") return unaryText("-", a, type);
  const isTwo = ["min", "max", "pow", "atan2"].includes(operation);
  return intrinsicText(operation, isTwo ? [a, b] : [a], type);
}
