/**
 * Style checks on the syntax tree. Each takes one file and returns what it finds; words inside
 * comments and strings never count.
 */
import ts from "typescript";
import type { Finding } from "./text-checks.ts";
import type { SourceFile } from "./tree.ts";

const FUNCTION_LINES_MAX = 70;
const PARAMETERS_MAX = 4;

/** The layers that must run anywhere and be replayable: no promises, clocks or dice of their own. */
export const CORE_FOLDERS = [
  ...["base", "trace", "sync", "phys", "dma", "notifier", "mm", "hmm", "devmem", "device"],
];

/** Globals that reach for the world outside a machine. */
const WORLDLY = new Set([
  ...["Promise", "Date", "performance", "queueMicrotask", "crypto", "fetch"],
  ...["setTimeout", "setInterval", "setImmediate"],
]);

export function checkFunctionLength(file: SourceFile): Finding[] {
  return findNodes(file, (node, source) => {
    if (!ts.isFunctionLike(node) || !("body" in node) || node.body === undefined) return undefined;
    const start = source.getLineAndCharacterOfPosition(node.getStart(source)).line;
    const count = source.getLineAndCharacterOfPosition(node.getEnd()).line - start + 1;
    if (count <= FUNCTION_LINES_MAX) return undefined;
    const subject = `${file.path}#${nameOf(node, source)}`;
    return { rule: "function-length", subject, detail: `${count} lines` };
  });
}

export function checkParameters(file: SourceFile): Finding[] {
  return findNodes(file, (node, source) => {
    if (!ts.isFunctionLike(node) || node.parameters.length <= PARAMETERS_MAX) return undefined;
    const subject = `${file.path}#${nameOf(node, source)}`;
    return { rule: "parameters", subject, detail: `${node.parameters.length} parameters` };
  });
}

export function checkEnum(file: SourceFile): Finding[] {
  return findNodes(file, (node, source) =>
    ts.isEnumDeclaration(node) ? at("enum", file, node, source) : undefined,
  );
}

export function checkAny(file: SourceFile): Finding[] {
  return findNodes(file, (node, source) =>
    node.kind === ts.SyntaxKind.AnyKeyword ? at("any", file, node, source) : undefined,
  );
}

/** `async`, `await`, promises, timers, clocks and random numbers in a core folder. */
export function checkCoreIsPlain(file: SourceFile): Finding[] {
  if (!CORE_FOLDERS.some((folder) => file.path.startsWith(`src/${folder}/`))) return [];
  return findNodes(file, (node, source) =>
    isWorldly(node) ? at("core-is-plain", file, node, source) : undefined,
  );
}

function isWorldly(node: ts.Node): boolean {
  switch (node.kind) {
    case ts.SyntaxKind.AsyncKeyword:
    case ts.SyntaxKind.AwaitKeyword:
    case ts.SyntaxKind.AwaitExpression:
      return true;
    case ts.SyntaxKind.VariableDeclarationList:
      return (node.flags & ts.NodeFlags.AwaitUsing) === ts.NodeFlags.AwaitUsing;
    case ts.SyntaxKind.PropertyAccessExpression:
      return isWorldlyProperty(node as ts.PropertyAccessExpression);
    case ts.SyntaxKind.Identifier:
      return WORLDLY.has((node as ts.Identifier).text) && !isMemberName(node as ts.Identifier);
    default:
      return false;
  }
}

/** `Math.random`, and a worldly global that is reached through `globalThis`. */
function isWorldlyProperty(node: ts.PropertyAccessExpression): boolean {
  if (!ts.isIdentifier(node.expression)) return false;
  const owner = node.expression.text;
  return (
    (owner === "Math" && node.name.text === "random") ||
    (owner === "globalThis" && WORLDLY.has(node.name.text))
  );
}

/** Whether the word only names a member of something else, as in `record.performance`. */
function isMemberName(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return parent.name === node;
  if (ts.isQualifiedName(parent)) return parent.right === node;
  return (
    (ts.isPropertyAssignment(parent) ||
      ts.isPropertySignature(parent) ||
      ts.isPropertyDeclaration(parent) ||
      ts.isMethodDeclaration(parent) ||
      ts.isMethodSignature(parent)) &&
    parent.name === node
  );
}

type Judge = (node: ts.Node, source: ts.SourceFile) => Finding | undefined;

function findNodes(file: SourceFile, judge: Judge): Finding[] {
  const source = ts.createSourceFile(file.path, file.text, ts.ScriptTarget.ESNext, true);
  const findings: Finding[] = [];
  const visit = (node: ts.Node): void => {
    const finding = judge(node, source);
    if (finding !== undefined) findings.push(finding);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return findings;
}

function at(rule: string, file: SourceFile, node: ts.Node, source: ts.SourceFile): Finding {
  const { line } = source.getLineAndCharacterOfPosition(node.getStart(source));
  const word = node.getText(source).split("\n")[0] ?? "";
  return { rule, subject: file.path, detail: `line ${line + 1}: ${word}` };
}

/** `Class.method`, a function's own name, or that of what it is assigned to. */
function nameOf(node: ts.SignatureDeclaration, source: ts.SourceFile): string {
  const { parent } = node;
  const named = node.name === undefined && ts.isVariableDeclaration(parent) ? parent : node;
  const name = ts.isConstructorDeclaration(node)
    ? "constructor"
    : (named.name?.getText(source) ?? "anonymous");
  const owner = ts.isClassLike(parent) ? `${parent.name?.text ?? "class"}.` : "";
  return `${owner}${name}`;
}
