/**
 * A kernel as JavaScript: a function that runs it for every index below a count. Every access is
 * said beforehand to `need`, as views do it, so it waits, or fails, as theirs do.
 */
import {
  atomicTools,
  type Expression,
  jsAddress,
  jsElement,
  jsExpression,
  type LoweredFunction,
  type NameOf,
  NUMBER_TOOLS,
  type Program,
  type Statement,
  type Type,
  type Variable,
  vectorTools,
  wordOf,
} from "../form/index.ts";
import { TextWriter } from "./text-writer.ts";

export interface KernelMemory {
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  /** Throws when the bytes may not be touched now. */
  need(address: number, bytes: number, write: boolean): void;
  /** Throws: an index of an array of the invocation's own is no index of it. */
  outside(index: number, length: number): never;
}

/** `words`: the values of the arguments, in their order. */
export type RunHere = (
  count: number,
  words: readonly number[],
  /** Makes the error of an invocation out of what it threw. */
  failed: (error: unknown, invocation: number) => unknown,
) => void;

export function jsFunction(program: Program, memory: KernelMemory): RunHere {
  return new Function("$memory", jsText(program))(memory) as RunHere;
}

function jsText({ args, functions, main }: Program): string {
  const names = Object.keys(args).map((name) => `$arg_${name}`);
  const texts = [...functions, main].map(functionText).join("\n");
  const tools = atomicTools(texts);
  return `"use strict";
${NUMBER_TOOLS}${["u32", "i32", "f32"].map(accessText).join("")}${vectorTools(texts)}${tools}
const $within = (index, length) => index < length ? index : $memory.outside(index, length);
${names.length === 0 ? "" : `let ${names.join(", ")};\n`}${texts}
return (count, words, failed) => {
  ${names.length === 0 ? "" : `[${names.join(", ")}] = words;`}
  let at = 0;
  try {
    for (; at < count; at++) ${main.name}(at);
  } catch (error) {
    throw failed(error, at);
  }
};`;
}

const accessText = (word: string): string => `const $${word} = $memory.${word};
const $load_${word} = (at) => { at >>>= 0; $memory.need(at, 4, false); return $${word}[at >>> 2]; };
const $store_${word} = (at, value) => {
  at >>>= 0;
  $memory.need(at, 4, true);
  $${word}[at >>> 2] = value;
};
`;

/** Words that the text itself uses, or that JavaScript keeps. */
const RESERVED = new Set(
  `arguments await break case catch class const continue debugger default delete do else enum eval
  export extends false finally for function if implements import in instanceof interface let new
  null package private protected public return static super switch this throw true try typeof
  undefined var void while with yield Math Infinity NaN count words failed at error main`.split(
    /\s+/,
  ),
);

function functionText(lowered: LoweredFunction): string {
  const writer = new TextWriter((name) => RESERVED.has(name));
  for (const variable of lowered.parameters) writer.nameOf(variable);
  const parameters = lowered.parameters.map((variable) => writer.nameOf(variable));
  const body = new JsBody(writer);
  const { lines } = writer.apart(() => body.statements(lowered.body));
  const temporaries = body.temporaries.length === 0 ? "" : `let ${body.temporaries.join(", ")};\n`;
  const list = parameters.join(", ");
  if (body.locals.length === 0) {
    return `function ${lowered.name}(${list}) {\n${temporaries}${lines.join("\n")}\n}`;
  }
  const arrays = body.locals.map(
    (each) => `const ${writer.nameOf(each)} = ${arrayText(each.type)};`,
  );
  const inner = `return (${list}) => {\n${temporaries}${lines.join("\n")}\n};`;
  return `const ${lowered.name} = (() => {\n${arrays.join("\n")}\n${inner}\n})();`;
}

const ARRAYS = { u32: "Uint32Array", i32: "Int32Array", f32: "Float32Array" } as const;

const arrayText = (type: Type): string =>
  type.kind === "local" ? `new ${ARRAYS[type.element]}(${type.length})` : "[]";

class JsBody {
  readonly #writer: TextWriter;
  /** Names of values that an expression keeps. */
  readonly temporaries: string[] = [];
  /** Arrays that are made once, and zeroed where they are declared. */
  readonly locals: Variable[] = [];

  constructor(writer: TextWriter) {
    this.#writer = writer;
  }

  statements(body: readonly Statement[]): void {
    for (const statement of body) this.#statement(statement);
  }

  #statement(statement: Statement): void {
    const writer = this.#writer;
    switch (statement.op) {
      case "declare":
      case "assign":
      case "storeElement":
      case "call":
        writer.line(`${this.#simple(statement)};`);
        return;
      case "store": {
        const address = jsAddress(statement.address, this.#nameOf);
        const word = wordOf(statement.value.type);
        writer.line(`$store_${word}(${address}, ${this.#text(statement.value)});`);
        return;
      }
      case "if":
        this.#if(statement);
        return;
      case "for":
        this.#for(statement);
        return;
      case "do":
        writer.block(
          "do {",
          () => this.statements(statement.body),
          `} while (${this.#text(statement.test)});`,
        );
        return;
      case "return":
        writer.line(
          statement.value === undefined ? "return;" : `return ${this.#text(statement.value)};`,
        );
        return;
      default:
        writer.line(`${statement.op};`);
    }
  }

  #if({ test, yes, no }: Extract<Statement, { op: "if" }>): void {
    const writer = this.#writer;
    const hasElse = no.length > 0;
    writer.block(
      `if (${this.#text(test)}) {`,
      () => this.statements(yes),
      hasElse ? "} else {" : "}",
    );
    if (hasElse) {
      writer.block("", () => this.statements(no));
    }
  }

  #for({ init, test, update, body }: Extract<Statement, { op: "for" }>): void {
    const writer = this.#writer;
    writer.block("{", () => {
      this.statements(init);
      const condition = test === undefined ? "" : this.#text(test);
      const updates = update.map((each) => this.#simple(each)).join(", ");
      writer.block(`for (; ${condition}; ${updates}) {`, () => this.statements(body));
    });
  }

  /** A statement that could be an expression. */
  #simple(statement: Statement): string {
    if (statement.op === "storeElement") {
      const { array, index, value } = statement;
      return `${jsElement(array, index, this.#nameOf)} = ${this.#text(value)}`;
    }
    if (statement.op === "declare" && statement.variable.type.kind === "local") {
      const { variable } = statement;
      this.#writer.nameOf(variable);
      this.locals.push(variable);
      return `${this.#nameOf(variable)}.fill(0)`;
    }
    if (statement.op === "declare") {
      const name = this.#writer.nameOf(statement.variable);
      const value =
        statement.value === undefined ? zero(statement.variable.type) : this.#text(statement.value);
      return `let ${name} = ${value}`;
    }
    if (statement.op === "assign") {
      return `${this.#nameOf(statement.variable)} = ${this.#text(statement.value)}`;
    }
    if (statement.op === "call") return this.#text(statement.call);
    const { lines } = this.#writer.apart(() => this.#statement(statement));
    return lines.join(" ").replace(/;$/, "");
  }

  #text(expression: Expression): string {
    return jsExpression(expression, this.#nameOf);
  }

  readonly #nameOf: NameOf = (variable) => {
    if (!this.#writer.isNamed(variable)) this.temporaries.push(this.#writer.nameOf(variable));
    return this.#writer.nameOf(variable);
  };
}

function zero(type: Type): string {
  if (type.kind === "vector") return `[${Array(type.schema.length).fill(0).join(", ")}]`;
  return type.kind === "bool" ? "false" : "0";
}
