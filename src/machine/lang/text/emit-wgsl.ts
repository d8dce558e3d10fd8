/**
 * A kernel as WGSL: `fn main(i: u32)` over `args`, `load_u32`, `store_f32` and so on. The text is
 * short and plain, since the driver looks at it: names that never change are `let`, loops with a
 * test are `for`, and only helper functions of the program become functions.
 */
import {
  type Expression,
  type LoweredFunction,
  type Program,
  type Statement,
  type Variable,
  wordOf,
} from "../form/index.ts";
import { TextWriter } from "./text-writer.ts";
import {
  type Around,
  bare,
  bracketed,
  isSafe,
  wgslAddress,
  wgslExpression,
  wgslType,
} from "./wgsl-expression.ts";
import { isWgslName } from "./wgsl-names.ts";

export function wgslText({ functions, main }: Program): string {
  const specials = new Specials();
  const texts = [...functions, main].map((each) => functionText(each, specials));
  return [...specials.lines, ...texts].join("\n");
}

/** Infinities and NaN: WGSL has no constants for them, and none that is computed from constants. */
class Specials {
  readonly #words = new Map<string, string>();

  name(value: number): string {
    const name = Number.isNaN(value) ? "k_nan" : value > 0 ? "k_infinity" : "k_minus_infinity";
    const bits = new Uint32Array(new Float32Array([value]).buffer)[0]!;
    this.#words.set(name, `var<private> ${name}: u32 = ${bits}u;`);
    return `bitcast<f32>(${name})`;
  }

  get lines(): readonly string[] {
    return [...this.#words.values()];
  }
}

function functionText(lowered: LoweredFunction, specials: Specials): string {
  const writer = new TextWriter(isWgslName);
  const parameters = lowered.parameters.map(
    (variable) => `${writer.nameOf(variable)}: ${wgslType(variable.type)}`,
  );
  const isVoid = lowered.result.kind === "void";
  const result = isVoid ? "" : ` -> ${wgslType(lowered.result)}`;
  const body = new WgslBody(writer, specials);
  writer.block(`fn ${lowered.name}(${parameters.join(", ")})${result} {`, () => {
    body.statements(lowered.body);
    // Every path has returned; WGSL does not know it of loops.
    const isKnown = isVoid || lowered.body[lowered.body.length - 1]?.op === "return";
    if (!isKnown) writer.line(`return ${wgslType(lowered.result)}();`);
  });
  return writer.text;
}

class WgslBody implements Around {
  readonly #writer: TextWriter;
  readonly #specials: Specials;

  constructor(writer: TextWriter, specials: Specials) {
    this.#writer = writer;
    this.#specials = specials;
  }

  nameOf(variable: Variable): string {
    return this.#writer.nameOf(variable);
  }

  line(text: string): void {
    this.#writer.line(text);
  }

  apart<Result>(body: () => Result): { readonly lines: string[]; readonly result: Result } {
    return this.#writer.apart(body);
  }

  special(value: number): string {
    return this.#specials.name(value);
  }

  statements(body: readonly Statement[]): void {
    for (const statement of body) this.#statement(statement);
  }

  #statement(statement: Statement): void {
    switch (statement.op) {
      case "if":
        this.#if(statement);
        return;
      case "for":
        this.#for(statement);
        return;
      case "do":
        this.#do(statement);
        return;
      case "return":
        this.line(
          statement.value === undefined ? "return;" : `return ${this.#bare(statement.value)};`,
        );
        return;
      case "break":
      case "continue":
        this.line(`${statement.op};`);
        return;
      case "assign":
        if (this.#choice(statement)) return;
        break;
    }
    this.line(`${this.#simple(statement)};`);
  }

  /** `at = test ? a : b` as an `if`, where `select` would load both. */
  #choice({ variable, value }: Extract<Statement, { op: "assign" }>): boolean {
    if (value.op !== "choose" || isSafe(value)) return false;
    const { test, yes, no } = value;
    this.#if({
      op: "if",
      test,
      yes: [{ op: "assign", variable, value: yes }],
      no: [{ op: "assign", variable, value: no }],
    });
    return true;
  }

  /** What may stand in the head of a `for`. */
  #simple(statement: Statement): string {
    switch (statement.op) {
      case "declare":
        return this.#declaration(statement.variable, statement.value);
      case "assign":
        return this.#assignment(statement.variable, statement.value);
      case "store": {
        const address = bare(wgslAddress(statement.address, this));
        return `store_${wordOf(statement.value.type)}(${address}, ${this.#bare(statement.value)})`;
      }
      case "storeElement": {
        const { array, index, value } = statement;
        return `${this.nameOf(array)}[${this.#bare(index)}] = ${this.#bare(value)}`;
      }
      case "call":
        return this.#bare(statement.call);
      default:
        throw new TypeError(`no statement of a head: ${statement.op}`);
    }
  }

  #declaration(variable: Variable, value: Expression | undefined): string {
    // Said, since not every driver makes it zero again where a loop comes back.
    if (value === undefined) return `var ${this.nameOf(variable)} = ${wgslType(variable.type)}()`;
    const text = this.#bare(value);
    return `${variable.isWritten ? "var" : "let"} ${this.nameOf(variable)} = ${text}`;
  }

  /** `j++` and `j += 2u`: by such the driver knows loops that end soon. */
  #assignment(variable: Variable, value: Expression): string {
    const name = this.nameOf(variable);
    const isStep =
      value.op === "binary" &&
      (value.operator === "+" || value.operator === "-") &&
      value.left.op === "variable" &&
      value.left.variable === variable;
    if (!isStep) return `${name} = ${this.#bare(value)}`;
    const { operator, right, type } = value;
    const isOne = right.op === "constant" && right.value === 1 && type.kind !== "f32";
    return isOne ? `${name}${operator}${operator}` : `${name} ${operator}= ${this.#bare(right)}`;
  }

  #if({ test, yes, no }: Extract<Statement, { op: "if" }>): void {
    const text = `if ${bracketed(wgslExpression(test, this))} {`;
    if (no.length === 0) {
      this.#writer.block(text, () => this.statements(yes));
      return;
    }
    const next = no.length === 1 && no[0]!.op === "if" ? no[0] : undefined;
    const { lines } = this.apart(() => next && this.#if(next));
    // Nothing stands before the next test: it can follow at once.
    if (lines[0]?.startsWith("if (")) {
      this.#writer.block(text, () => this.statements(yes), `} else ${lines[0]}`);
      for (const line of lines.slice(1)) this.line(line);
      return;
    }
    this.#writer.block(text, () => this.statements(yes), "} else {");
    this.#inner(() => this.statements(no));
    this.line("}");
  }

  #inner(body: () => void): void {
    for (const line of this.apart(body).lines) this.line(`  ${line}`);
  }

  #for(loop: Extract<Statement, { op: "for" }>): void {
    const { init, update, body } = loop;
    if (init.length > 1) {
      this.#writer.block("{", () => {
        this.statements(init);
        this.#for({ ...loop, init: [] });
      });
      return;
    }
    const first = this.#headOf(init);
    const step = this.#headOf(update);
    const test = this.apart(() => (loop.test === undefined ? "" : this.#bare(loop.test)));
    if (first === undefined) {
      this.#writer.block("{", () => {
        this.statements(init);
        this.#for({ ...loop, init: [] });
      });
      return;
    }
    const isPlain = test.lines.length === 0 && step !== undefined;
    if (isPlain) {
      const isWhile = first === "" && step === "" && test.result !== "";
      const head = isWhile
        ? `while (${test.result}) {`
        : `for (${first}; ${test.result}; ${step}) {`;
      this.#writer.block(head, () => this.statements(body));
      return;
    }
    this.#writer.block("{", () => {
      this.statements(init);
      this.#writer.block("loop {", () => {
        for (const line of test.lines) this.line(line);
        if (test.result !== "") this.line(`if (!(${test.result})) { break; }`);
        this.statements(body);
        if (update.length > 0) this.#writer.block("continuing {", () => this.statements(update));
      });
    });
  }

  /** As one piece of the head of a loop, if it can be. */
  #headOf(statements: readonly Statement[]): string | undefined {
    if (statements.length === 0) return "";
    if (statements.length > 1) return undefined;
    const { lines, result } = this.apart(() => this.#simple(statements[0]!));
    return lines.length === 0 ? result : undefined;
  }

  #do({ test, body }: Extract<Statement, { op: "do" }>): void {
    this.#writer.block("loop {", () => {
      this.statements(body);
      this.#writer.block("continuing {", () => {
        this.line(`break if !(${this.#bare(test)});`);
      });
    });
  }

  #bare(expression: Expression): string {
    return bare(wgslExpression(expression, this));
  }
}
