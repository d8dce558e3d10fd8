/** Every syntax check sees a planted violation and leaves good code alone. */
import { describe, expect, it } from "vitest";
import * as check from "./syntax-checks.ts";
import type { Finding } from "./text-checks.ts";
import type { SourceFile } from "./tree.ts";

const file = (text: string, path = "src/mm/fault.ts"): SourceFile => ({ path, text });
const body = (count: number): string => "  x();\n".repeat(count);
const rules = (findings: Finding[]): string[] => findings.map(({ rule }) => rule);
const subjects = (findings: Finding[]): string[] => findings.map(({ subject }) => subject);

describe("the function checks", () => {
  it("measure functions from the first line to the last", () => {
    expect(check.checkFunctionLength(file(`function f() {\n${body(68)}}\n`))).toEqual([]);
    const [finding] = check.checkFunctionLength(file(`function f() {\n${body(69)}}\n`));
    expect(finding).toEqual({
      rule: "function-length",
      subject: "src/mm/fault.ts#f",
      detail: "71 lines",
    });
  });

  it("do not count the comment above a function", () => {
    const comment = `/**\n${" * Why.\n".repeat(10)} */\n`;
    expect(check.checkFunctionLength(file(`${comment}function f() {\n${body(68)}}\n`))).toEqual([]);
  });

  it.each([
    ["function* walk() {\n@}", "walk"],
    ["class A {\n  method() {\n@  }\n}", "A.method"],
    ["class A {\n  *method() {\n@  }\n}", "A.method"],
    ["class A {\n  #hidden() {\n@  }\n}", "A.#hidden"],
    ["class A {\n  constructor() {\n@  }\n}", "A.constructor"],
    ["class A {\n  get size() {\n@  }\n}", "A.size"],
    ["const arrow = () => {\n@};", "arrow"],
    ["run(() => {\n@});", "anonymous"],
  ])("measure every kind of function: %j", (text, name) => {
    const long = check.checkFunctionLength(file(text.replace("@", body(80))));
    expect(subjects(long)).toEqual([`src/mm/fault.ts#${name}`]);
    expect(check.checkFunctionLength(file(text.replace("@", body(10))))).toEqual([]);
  });

  it("count parameters", () => {
    expect(check.checkParameters(file("function f(a, b, c, d) {}"))).toEqual([]);
    expect(subjects(check.checkParameters(file("function f(a, b, c, d, e) {}")))).toEqual([
      "src/mm/fault.ts#f",
    ]);
    const method = "interface I { m(a: A, b: A, c: A, d: A, e: A): void }";
    expect(rules(check.checkParameters(file(method)))).toEqual(["parameters"]);
  });
});

describe("the type checks", () => {
  it("see enums", () => {
    expect(check.checkEnum(file('const kind = { enum: "enum" } as const; // enum\n'))).toEqual([]);
    expect(rules(check.checkEnum(file("enum Kind { A }")))).toEqual(["enum"]);
    expect(rules(check.checkEnum(file("export const enum Kind { A }")))).toEqual(["enum"]);
  });

  it("see any as a type, not as a word", () => {
    expect(check.checkAny(file("/** Any: any. */ const any = list.any(x as unknown);"))).toEqual(
      [],
    );
    for (const bad of ["let x: any;", "f(x as any);", "type A = any[];", "Array<any>"]) {
      expect(rules(check.checkAny(file(bad)))).toEqual(["any"]);
    }
  });
});

describe("the check that the core is plain", () => {
  it.each([
    "async function f() {}",
    "const f = async () => 1;",
    "await x;",
    "async function f() { await using a = b; }",
    "async function f() { for await (const a of b) x(); }",
    "new Promise(() => {});",
    "function f(): Promise<void> {}",
    "setTimeout(f, 1);",
    "Date.now();",
    "new Date();",
    "performance.now();",
    "globalThis.performance.now();",
    "Math.random();",
    "queueMicrotask(f);",
  ])("sees %j", (text) => {
    expect(rules(check.checkCoreIsPlain(file(text)))).toContain("core-is-plain");
  });

  it.each([
    "// No Promise, no await, no Date.now().",
    'const text = "await Promise";',
    "const x = counters.performance + stamp.Date;",
    "const record = { performance: 1 };",
    "Math.max(1, random);",
    "function* f() { using a = yield* b(); }",
  ])("allows %j", (text) => {
    expect(check.checkCoreIsPlain(file(text))).toEqual([]);
  });

  it("asks it of the core only", () => {
    for (const folder of check.CORE_FOLDERS) {
      const inCore = file("Date.now();", `src/${folder}/a.ts`);
      expect(rules(check.checkCoreIsPlain(inCore))).toEqual(["core-is-plain"]);
    }
    expect(check.checkCoreIsPlain(file("Date.now();", "src/machine/a.ts"))).toEqual([]);
  });
});
