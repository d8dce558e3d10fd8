/**
 * A function's own text as a syntax tree. What `toString` gives of a function is an expression
 * (arrows, function expressions) or, for a method, a part of an object.
 */
import { type ArrowFunctionExpression, type FunctionExpression, parseExpressionAt } from "acorn";
import { invalid } from "../error.ts";
import { show } from "../given.ts";
import { Refusal } from "./refusal.ts";

export interface SourceFunction {
  /** For messages: `main`, or the name in `uses`. */
  readonly name: string;
  /** As the function gives it. */
  readonly text: string;
  /** What was parsed; offsets of nodes are in it. */
  readonly parsed: string;
  /** Characters of `parsed` before `text`. */
  readonly shift: number;
  readonly node: ArrowFunctionExpression | FunctionExpression;
}

const OPTIONS = { ecmaVersion: "latest", sourceType: "module" } as const;

/** Throws EINVAL for what has no text of its own, `Refusal` for functions of another kind. */
export function parseFunction(name: string, given: unknown): SourceFunction {
  if (typeof given !== "function") {
    throw invalid("kernel", `${name} must be a function, got ${show(given)}`);
  }
  const text = Function.prototype.toString.call(given);
  if (/\{\s*\[native code\]\s*\}\s*$/.test(text)) {
    const why = "native and bound functions have no text";
    throw invalid("kernel", `${name} must be a function of the program's own: ${why}`);
  }
  const node = parsed(name, text);
  if (node === undefined) {
    throw invalid("kernel", `${name} must be an arrow, a function or a method, got ${show(given)}`);
  }
  if (node.node.async || node.node.generator) {
    const what = node.node.async ? "an async function waits" : "a generator stops in between";
    throw new Refusal(node, node.node, `${what}, and a kernel cannot; write a plain function`);
  }
  return node;
}

function parsed(name: string, text: string): SourceFunction | undefined {
  for (const [before, after] of WRAPPINGS) {
    const whole = `${before}${text}${after}`;
    try {
      let found: unknown = parseExpressionAt(whole, 0, OPTIONS);
      if (before === "({") {
        found = (found as { properties: { value: unknown }[] }).properties[0]?.value;
      }
      const node = found as SourceFunction["node"];
      if (node?.type !== "ArrowFunctionExpression" && node?.type !== "FunctionExpression") continue;
      return { name, text, parsed: whole, shift: before.length, node };
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  return undefined;
}

const WRAPPINGS: readonly (readonly [string, string])[] = [
  ["(", ")"],
  ["({", "})"],
];
