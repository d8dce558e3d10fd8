/** Statements of JavaScript as statements of the intermediate form. */

import type {
  AssignmentExpression,
  CallExpression,
  ConditionalExpression,
  DoWhileStatement,
  ExpressionStatement,
  ForStatement,
  IfStatement,
  LogicalExpression,
  Node,
  ReturnStatement,
  SequenceExpression,
  Expression as SyntaxExpression,
  UnaryExpression,
  UpdateExpression,
  VariableDeclaration,
  WhileStatement,
} from "acorn";
import { assignment, declaration, update } from "./assignments.ts";
import type { Context } from "./context.ts";
import {
  BOOL,
  coerced,
  constant,
  type Expression,
  F32,
  folded,
  has,
  hasEffect,
  I32,
  join,
  partsOf,
  type Statement,
  type Type,
  typeName,
  U32,
  VOID,
} from "./form/index.ts";
import { meaningOf } from "./names.ts";
import { truth } from "./operators.ts";

const REFUSED: Readonly<Record<string, string>> = {
  ClassDeclaration: "a kernel has numbers and pointers, no objects",
  DebuggerStatement: "a GPU cannot stop here; leave it out",
  ForInStatement: "count instead: for (let j = 0; j < n; j++)",
  ForOfStatement: "count instead: for (let j = 0; j < n; j++)",
  FunctionDeclaration: "a kernel has no functions within; hand it over in uses",
  LabeledStatement: "break and continue leave the innermost loop; use a flag for others",
  SwitchStatement: "write if and else",
  ThrowStatement: "a kernel cannot throw; store a number that says what is wrong",
  TryStatement: "nothing throws in a kernel; leave it out",
};

function lowerStatement(context: Context, node: Node): readonly Statement[] {
  switch (node.type) {
    case "EmptyStatement":
      return [];
    case "BlockStatement":
      return block(context, (node as unknown as { body: readonly Node[] }).body);
    case "VariableDeclaration":
      return checked(context, node, declaration(context, node as VariableDeclaration));
    case "ExpressionStatement": {
      const { directive, expression } = node as ExpressionStatement;
      return directive === undefined ? effect(context, expression) : [];
    }
    case "IfStatement":
      return branch(context, node as IfStatement);
    case "ForStatement":
      return context.scoped(() => forLoop(context, node as ForStatement));
    case "WhileStatement": {
      const { test, body } = node as WhileStatement;
      const { first, ...head } = testOf(context, test);
      return [
        { op: "for", init: [], update: [], ...head, body: [...first, ...inner(context, body)] },
      ];
    }
    case "DoWhileStatement": {
      const { test, body } = node as DoWhileStatement;
      const lowered = inner(context, body);
      return [{ op: "do", test: condition(context, test), body: lowered }];
    }
    case "ReturnStatement":
      return giveBack(context, node as ReturnStatement);
    case "BreakStatement":
    case "ContinueStatement":
      return [{ op: node.type === "BreakStatement" ? "break" : "continue" }];
  }
  return context.refuse(node, REFUSED[node.type] ?? "a kernel has no such statement");
}

export function block(context: Context, body: readonly Node[]): readonly Statement[] {
  return context.scoped(() => body.flatMap((each) => lowerStatement(context, each)));
}

const inner = (context: Context, body: Node): readonly Statement[] => block(context, [body]);

/** An expression for what it does. Minifiers write `a && f()` and `a, b` for statements. */
export function effect(context: Context, node: SyntaxExpression): readonly Statement[] {
  switch (node.type) {
    case "AssignmentExpression":
      return checked(context, node, assignment(context, node as AssignmentExpression));
    case "UpdateExpression":
      return checked(context, node, update(context, node as UpdateExpression));
    case "SequenceExpression":
      return (node as SequenceExpression).expressions.flatMap((each) => effect(context, each));
    case "LogicalExpression": {
      const { operator, left, right } = node as LogicalExpression;
      if (operator === "??") break;
      const test = condition(context, left);
      const body = effect(context, right);
      const [yes, no] = operator === "&&" ? [body, []] : [[], body];
      return chosen(test, yes, no);
    }
    case "ConditionalExpression": {
      const { test, consequent, alternate } = node as ConditionalExpression;
      const lowered = condition(context, test);
      return chosen(lowered, effect(context, consequent), effect(context, alternate));
    }
    case "CallExpression": {
      const call = called(context, node as CallExpression);
      return call === undefined ? [] : checked(context, node, [{ op: "call", call }]);
    }
    case "UnaryExpression": {
      const { operator, argument } = node as UnaryExpression;
      if (operator === "void" || operator === "!") return effect(context, argument);
      break;
    }
    case "AwaitExpression":
    case "YieldExpression":
      context.expression(node);
      break;
  }
  return context.refuse(node, "this has no effect; leave it out");
}

function called(context: Context, node: CallExpression): Expression | undefined {
  const call = context.call(node);
  if (call.op === "call" || hasEffect(call)) return call;
  if (call.type.kind === "none") return undefined;
  return context.refuse(node, "this has no effect; leave it out");
}

function chosen(
  test: Expression,
  yes: readonly Statement[],
  no: readonly Statement[],
): readonly Statement[] {
  if (test.op === "constant") return test.value === true ? yes : no;
  if (yes.length > 0 || no.length === 0) return [{ op: "if", test, yes, no }];
  const not = folded({ op: "unary", type: BOOL, operator: "!", operand: test });
  return [{ op: "if", test: not, yes: no, no: [] }];
}

function condition(context: Context, node: Node): Expression {
  const test = truth(context, node);
  checkWhole(context, node, test, false);
  return test.type.kind === "none" ? NEVER : test;
}

/** Stands for a condition of which nothing is known yet; never in the end. */
const NEVER: Expression = {
  op: "logical",
  type: BOOL,
  operator: "&&",
  left: constant(BOOL, false),
  right: constant(BOOL, false),
};

interface LoopTest {
  readonly test?: Expression;
  /** What comes before it, in each pass. */
  readonly first: readonly Statement[];
}

function testOf(context: Context, node: Node | null | undefined): LoopTest {
  if (node === null || node === undefined) return { first: [] };
  const [before, last] = leading(context, node);
  const test = condition(context, last);
  if (before.length === 0) return { test, first: [] };
  return { first: [...before, ...chosen(test, [], [{ op: "break" }])] };
}

/** `a, b`, as minifiers write it: what comes before the last, and that. */
function leading(context: Context, node: Node): readonly [readonly Statement[], Node] {
  if (node.type !== "SequenceExpression" || meaningOf(context, node) !== undefined)
    return [[], node];
  const { expressions } = node as SequenceExpression;
  const before = expressions.slice(0, -1).flatMap((each) => effect(context, each));
  return [before, expressions[expressions.length - 1]!];
}

function branch(context: Context, node: IfStatement): readonly Statement[] {
  const [before, last] = leading(context, node.test);
  const test = condition(context, last);
  const yes = inner(context, node.consequent);
  const no = node.alternate ? inner(context, node.alternate) : [];
  return [...before, ...chosen(test, yes, no)];
}

function forLoop(context: Context, node: ForStatement): readonly Statement[] {
  const { init } = node;
  const first = init
    ? init.type === "VariableDeclaration"
      ? lowerStatement(context, init)
      : effect(context, init as SyntaxExpression)
    : [];
  const { first: before, ...test } = testOf(context, node.test);
  const body = [...before, ...inner(context, node.body)];
  const steps = node.update ? effect(context, node.update) : [];
  for (const step of steps) {
    if (step.op === "assign" || step.op === "call") continue;
    context.refuse(node.update!, "only names change in the head of a loop; write it in the body");
  }
  return [{ op: "for", init: first, ...test, update: steps, body }];
}

function giveBack(context: Context, node: ReturnStatement): readonly Statement[] {
  const { argument } = node;
  if (!argument) {
    giveType(context, node, VOID);
    return [{ op: "return" }];
  }
  if (context.isMain) {
    context.refuse(node, "nobody takes what a kernel returns; store it, and write return;");
  }
  const [before, last] = leading(context, argument);
  const value = context.expression(last);
  if (value.type.kind === "none") return [];
  giveType(context, node, value.type);
  const result = settled(context.result);
  context.hint(value.type, result);
  const given = coerced(value, result) ?? value;
  return checked(context, node, [...before, { op: "return", value: given }]);
}

function giveType(context: Context, node: Node, type: Type): void {
  const result = join(context.result, type);
  if (result === undefined) {
    const rule = `it returns ${typeName(context.result)} elsewhere, and here ${typeName(type)}`;
    context.mismatch(node, rule);
  } else context.grow(context.resultVariable, type);
}

/** Of the results of a function that are integers of the text only. */
export const settled = (type: Type): Type =>
  type.kind === "literal" ? I32 : type.kind === "f32" && !type.isWhole ? F32 : type;

/** A call that stores, or an atomic, stands by itself: then it is known when it happens. */
function checked(
  context: Context,
  node: Node,
  statements: readonly Statement[],
): readonly Statement[] {
  for (const statement of statements) {
    if (statement.op === "call") checkWhole(context, node, statement.call, true);
    else if ("value" in statement && statement.value !== undefined) {
      checkWhole(context, node, statement.value, true);
    }
    if (statement.op === "storeElement") checkWhole(context, node, statement.index, false);
    if (statement.op === "store") {
      const place = { op: "address", type: U32, address: statement.address } as const;
      checkWhole(context, node, place, false);
    }
  }
  return statements;
}

function checkWhole(context: Context, node: Node, value: Expression, mayCall: boolean): void {
  const whole = unconverted(value);
  const parts = mayCall && hasEffect(whole) ? partsOf(whole) : [value];
  if (!parts.some((part) => has(part, hasEffect))) return;
  const isAtomic = parts.some((part) => has(part, ({ op }) => op === "atomic"));
  const what = isAtomic ? "an atomic" : "a function that stores";
  const rule = `${what} is called by itself; put its result in a const before`;
  context.mismatch(node, rule);
}

const unconverted = (value: Expression): Expression =>
  value.op === "convert" ? unconverted(value.operand) : value;

/** Whether nothing comes after them. */
export function isEnd(body: readonly Statement[]): boolean {
  return body.some((statement) => {
    if (statement.op === "return") return true;
    if (statement.op === "if") return isEnd(statement.yes) && isEnd(statement.no);
    if (statement.op !== "for") return false;
    const isEndless =
      statement.test === undefined ||
      (statement.test.op === "constant" && statement.test.value === true);
    return isEndless && !hasBreak(statement.body);
  });
}

function hasBreak(body: readonly Statement[]): boolean {
  return body.some((statement) => {
    if (statement.op === "break") return true;
    return statement.op === "if" && (hasBreak(statement.yes) || hasBreak(statement.no));
  });
}
