/**
 * Random kernels, as text. Every operation of integers says its type again (`>>> 0`, `| 0`), and
 * every one of floats rounds, so plain JavaScript computes what a kernel has to. A kernel is made
 * of a list of numbers; a smaller list, or smaller numbers, make a simpler one.
 */

import { atomicAdd, atomicCompareExchange, atomicMin, atomicXor } from "../../src/machine/index.ts";

type Kind = "u" | "i" | "f" | "b" | "v";

interface Name {
  readonly name: string;
  readonly kind: Kind;
  readonly isFixed: boolean;
}

/** What random kernels may call besides `Math`. */
export const HELPERS = {
  mix: (a: number, b: number): number => {
    if (a > b) return (a - b) >>> 0;
    return (Math.imul(a, 31) ^ b) >>> 0;
  },
  countdown: (from: number, step: number): number => {
    let steps = 0;
    for (let left = from & 15; left > 0; left -= 1) {
      if (((left ^ step) & 7) === 5) return (steps + left) | 0;
      steps += 2;
    }
    return steps;
  },
  half: (x: number, isDown: boolean): number => (isDown ? Math.floor(x) : x) * 0.5,
};

/** What a vec2i is in plain JavaScript. */
class PlainVector {
  readonly x: number;
  readonly y: number;

  constructor(x: number, y: number) {
    this.x = x | 0;
    this.y = y | 0;
  }

  #each(other: PlainVector | number, of: (a: number, b: number) => number): PlainVector {
    const { x, y } = typeof other === "number" ? { x: other, y: other } : other;
    return new PlainVector(of(this.x, x), of(this.y, y));
  }

  add(other: PlainVector | number): PlainVector {
    return this.#each(other, (a, b) => a + b);
  }

  sub(other: PlainVector | number): PlainVector {
    return this.#each(other, (a, b) => a - b);
  }

  mul(other: PlainVector | number): PlainVector {
    return this.#each(other, Math.imul);
  }

  div(other: PlainVector | number): PlainVector {
    return this.#each(other, (a, b) => a / b);
  }

  mod(other: PlainVector | number): PlainVector {
    return this.#each(other, (a, b) => a % b);
  }

  min(other: PlainVector | number): PlainVector {
    return this.#each(other, Math.min);
  }

  max(other: PlainVector | number): PlainVector {
    return this.#each(other, Math.max);
  }

  neg(): PlainVector {
    return this.#each(0, (a) => -a);
  }

  abs(): PlainVector {
    return this.#each(0, Math.abs);
  }

  dot(other: PlainVector): number {
    return (Math.imul(this.x, other.x) + Math.imul(this.y, other.y)) | 0;
  }
}

/** Tools of kernels that are no functions outside, for plain JavaScript. */
export const PLAIN_TOOLS = {
  vec2i: (x: number, y = x): PlainVector => new PlainVector(x, y),
  atomicAdd,
  atomicMin,
  atomicXor,
  atomicCompareExchange,
};

/** The arguments: the first three are read at any index, an invocation has 4 words of the others. */
export const ELEMENTS = 16;
export const WORDS_EACH = 4;

export function randomKernel(choices: readonly number[]): string {
  const writer = new KernelWriter(choices);
  const own = "const own = new Uint32Array(4);\nconst scale = new Float32Array(4);";
  const body = `${own}\n${writer.statements(3, false)}`;
  const names = "{ inU, inI, inF, outU, outI, outF, all, n }";
  const tools = "u32, i32, f32, vec2i, atomicAdd, atomicMin, atomicXor, atomicCompareExchange";
  return `(i, ${names}, { ${tools} }) => {\n${body}\n}`;
}

const DEPTH = 3;

class KernelWriter {
  readonly #choices: readonly number[];
  #next = 0;
  #names: Name[] = [
    { name: "i", kind: "u", isFixed: true },
    { name: "n", kind: "u", isFixed: true },
  ];
  #count = 0;

  constructor(choices: readonly number[]) {
    this.#choices = choices;
  }

  /** Below `count`; 0 when there are no choices left. */
  #pick(count: number): number {
    return (this.#choices[this.#next++] ?? 0) % count;
  }

  get #isOver(): boolean {
    return this.#next >= this.#choices.length;
  }

  statements(depth: number, isLoop: boolean): string {
    const before = this.#names;
    const lines: string[] = [];
    const count = 1 + this.#pick(depth === 3 ? 10 : 4);
    for (let k = 0; k < count && !this.#isOver; k++) lines.push(this.#statement(depth, isLoop));
    lines.push(this.#store());
    this.#names = before;
    return lines.join("\n");
  }

  #statement(depth: number, isLoop: boolean): string {
    const kind = (["u", "i", "f", "b", "v"] as const)[this.#pick(5)]!;
    switch (this.#pick(depth === 0 ? 5 : 11)) {
      case 0:
        return this.#declare(kind);
      case 1:
        return this.#store();
      case 2:
        return this.#assign();
      case 3:
        return this.#leave(isLoop);
      case 4:
        return this.#atomic();
      case 5:
      case 6: {
        const head = `if (${this.#b(DEPTH)}) {\n${this.statements(depth - 1, isLoop)}\n}`;
        return this.#pick(2) === 0
          ? head
          : `${head} else {\n${this.statements(depth - 1, isLoop)}\n}`;
      }
      case 7:
        return this.#counted(depth);
      case 8:
        return this.#repeated(depth, "while");
      case 9:
        return this.#repeated(depth, "do");
      default:
        return this.#declare(kind);
    }
  }

  #newName(kind: Kind, isFixed: boolean): string {
    const name = `v${this.#count++}`;
    this.#names = [...this.#names, { name, kind, isFixed }];
    return name;
  }

  #declare(kind: Kind): string {
    const isFixed = this.#pick(3) === 0;
    const value = this.#expression(kind, DEPTH);
    return `${isFixed ? "const" : "let"} ${this.#newName(kind, isFixed)} = ${value};`;
  }

  /** On a word of the invocation's own, so that what was there before is known. */
  #atomic(): string {
    const place = `all, i * ${WORDS_EACH} + (${this.#u(1)} & 3)`;
    const tool = ["Add", "Min", "Xor", "CompareExchange"][this.#pick(4)]!;
    const compare = tool === "CompareExchange" ? `${this.#u(1)}, ` : "";
    const call = `atomic${tool}(${place}, ${compare}${this.#u(DEPTH)})`;
    return this.#pick(2) === 0 ? `${call};` : `const ${this.#newName("u", true)} = ${call};`;
  }

  #assign(): string {
    const free = this.#names.filter(({ isFixed }) => !isFixed);
    const target = free[this.#pick(free.length + 2)];
    if (target === undefined) {
      return this.#pick(2) === 0
        ? `own[${this.#u(1)} & 3] = ${this.#u(DEPTH)};`
        : `scale[${this.#u(1)} & 3] = ${this.#f(DEPTH)};`;
    }
    return `${target.name} = ${this.#expression(target.kind, DEPTH)};`;
  }

  #store(): string {
    const kind = (["u", "i", "f"] as const)[this.#pick(3)]!;
    const place = `out${kind.toUpperCase()}[i * ${WORDS_EACH} + (${this.#u(1)} & 3)]`;
    return `${place} = ${this.#expression(kind, DEPTH)};`;
  }

  #leave(isLoop: boolean): string {
    const way = isLoop ? ["break", "continue", "return"][this.#pick(3)]! : "return";
    return `if (${this.#b(1)}) ${way};`;
  }

  #counted(depth: number): string {
    const name = `v${this.#count++}`;
    const limit = this.#pick(2) === 0 ? String(1 + this.#pick(4)) : `(${this.#u(1)} & 3)`;
    const before = this.#names;
    this.#names = [...before, { name, kind: "u", isFixed: true }];
    const body = this.statements(depth - 1, true);
    this.#names = before;
    return `for (let ${name} = 0; ${name} < ${limit}; ${name}++) {\n${body}\n}`;
  }

  #repeated(depth: number, way: "while" | "do"): string {
    const name = `w${this.#count++}`;
    const test = `${name} < 4 && ${this.#b(2)}`;
    const body = `${name}++;\n${this.statements(depth - 1, true)}`;
    return way === "while"
      ? `let ${name} = 0;\nwhile (${test}) {\n${body}\n}`
      : `let ${name} = 0;\ndo {\n${body}\n} while (${test});`;
  }

  #expression(kind: Kind, depth: number): string {
    return kind === "u" ? this.#u(depth) : this.#other(kind, depth);
  }

  #other(kind: Exclude<Kind, "u">, depth: number): string {
    if (kind === "i") return this.#i(depth);
    if (kind === "v") return this.#v(depth);
    return kind === "f" ? this.#f(depth) : this.#b(depth);
  }

  #named(kind: Kind): string | undefined {
    const known = this.#names.filter((each) => each.kind === kind);
    return known[this.#pick(known.length + 1)]?.name;
  }

  #u(depth: number): string {
    if (depth === 0 || this.#isOver) return this.#named("u") ?? this.#literal();
    const u = (): string => this.#u(depth - 1);
    switch (this.#pick(16)) {
      case 0:
        return this.#literal();
      case 1:
        return `((${u()} + ${u()}) >>> 0)`;
      case 2:
        return `((${u()} - ${u()}) >>> 0)`;
      case 3:
        return `(Math.imul(${u()}, ${u()}) >>> 0)`;
      case 4:
        return `((${u()} ${"&|^"[this.#pick(3)]} ${u()}) >>> 0)`;
      case 5:
        return `((${u()} << (${u()} & 31)) >>> 0)`;
      case 6:
        return `(${u()} >>> (${u()} & 31))`;
      case 7:
        return `((${u()} / ${u()}) >>> 0)`;
      case 8:
        return `((${u()} % ${u()}) >>> 0)`;
      case 9:
        return `Math.${this.#pick(2) === 0 ? "min" : "max"}(${u()}, ${u()})`;
      case 10:
        return `(${this.#b(depth - 1)} ? ${u()} : ${u()})`;
      case 11:
        return `(Math.clz32(${u()}) >>> 0)`;
      case 12:
        return `u32(${this.#pick(2) === 0 ? this.#i(depth - 1) : this.#b(depth - 1)})`;
      case 13:
        return `(mix(${u()}, ${u()}) >>> 0)`;
      case 14:
        return this.#pick(2) === 0 ? `inU[${u()} & 15]` : `own[${u()} & 3]`;
      default:
        return this.#named("u") ?? `(~${u()} >>> 0)`;
    }
  }

  #i(depth: number): string {
    if (depth === 0 || this.#isOver) return this.#named("i") ?? this.#signed();
    const i = (): string => this.#i(depth - 1);
    const u = (): string => this.#u(depth - 1);
    switch (this.#pick(20)) {
      case 0:
        return this.#signed();
      case 1:
        return `((${i()} ${"+-"[this.#pick(2)]} ${i()}) | 0)`;
      case 2:
        return `Math.imul(${i()}, ${i()})`;
      case 3:
        return `(${i()} ${"&|^"[this.#pick(3)]} ${i()})`;
      case 4:
        return `(${i()} << (${u()} & 31))`;
      case 5:
        return `(${i()} >> (${u()} & 31))`;
      case 6:
        return `((${i()} / ${i()}) | 0)`;
      case 7:
        return `(Math.${["floor", "ceil", "trunc"][this.#pick(3)]}(${i()} / ${i()}) | 0)`;
      case 8:
        return `((${i()} % ${i()}) | 0)`;
      case 9:
        return `(-${i()} | 0)`;
      case 10:
        return `(Math.${["abs", "sign"][this.#pick(2)]}(${i()}) | 0)`;
      case 11:
        return `Math.${["min", "max"][this.#pick(2)]}(${i()}, ${i()}, ${i()})`;
      case 12:
        return `(${this.#b(depth - 1)} ? ${i()} : ${i()})`;
      case 13:
        return `(${u()} | 0)`;
      case 14:
        return `(Math.floor(${this.#f(depth - 1)}) | 0)`;
      case 15:
        return `(countdown(${i()}, ${i()}) | 0)`;
      case 16:
        return `inI[${u()} & 15]`;
      case 17:
        return `${this.#v(depth - 1)}.${"xy"[this.#pick(2)]}`;
      case 18:
        return `${this.#v(depth - 1)}.dot(${this.#v(depth - 1)})`;
      default:
        return this.#named("i") ?? `~${i()}`;
    }
  }

  /** A vec2i. */
  #v(depth: number): string {
    const i = (): string => this.#i(Math.max(0, depth - 1));
    if (depth === 0 || this.#isOver) return this.#named("v") ?? `vec2i(${i()}, ${i()})`;
    const v = (): string => this.#v(depth - 1);
    switch (this.#pick(6)) {
      case 0:
        return `vec2i(${i()})`;
      case 1:
      case 2: {
        const name = ["add", "sub", "mul", "div", "mod", "min", "max"][this.#pick(7)]!;
        return `${v()}.${name}(${this.#pick(2) === 0 ? v() : i()})`;
      }
      case 3:
        return `${v()}.${["neg", "abs"][this.#pick(2)]}()`;
      case 4:
        return `(${this.#b(depth - 1)} ? ${v()} : ${v()})`;
      default:
        return this.#named("v") ?? `vec2i(${i()}, ${i()})`;
    }
  }

  /** Kept small, so that products and sums stay what they are. */
  #f(depth: number): string {
    if (depth === 0 || this.#isOver) return this.#named("f") ?? this.#fraction();
    const f = (): string => this.#f(depth - 1);
    switch (this.#pick(13)) {
      case 0:
        return this.#fraction();
      case 1:
      case 2:
        return limited(`Math.fround(${f()} ${"+-*"[this.#pick(3)]} ${f()})`);
      case 3:
        return `Math.fround((${this.#i(depth - 1)} & 1023) / 4)`;
      case 4:
        return limited(`Math.fround(${f()} + f32(${this.#u(depth - 1)} & 1023))`);
      case 5:
        return `Math.${["floor", "ceil", "trunc", "round"][this.#pick(4)]}(${f()})`;
      case 6:
        return `Math.abs(${f()})`;
      case 7:
        return `(-${f()})`;
      case 8:
        return `Math.${["min", "max"][this.#pick(2)]}(${f()}, ${f()})`;
      case 9:
        return `(${this.#b(depth - 1)} ? ${f()} : ${f()})`;
      case 10:
        return `f32(${this.#pick(2) === 0 ? this.#b(depth - 1) : `${this.#i(depth - 1)} & 255`})`;
      case 11:
        return this.#pick(2) === 0
          ? `inF[${this.#u(depth - 1)} & 15]`
          : `scale[${this.#u(depth - 1)} & 3]`;
      default:
        return this.#named("f") ?? `half(${f()}, ${this.#b(depth - 1)})`;
    }
  }

  #b(depth: number): string {
    if (depth === 0 || this.#isOver) return this.#named("b") ?? "(n > 2)";
    const kind = (["u", "i", "f"] as const)[this.#pick(3)]!;
    const side = (): string => this.#expression(kind, depth - 1);
    const b = (): string => this.#b(depth - 1);
    switch (this.#pick(6)) {
      case 0:
      case 1:
        return `(${side()} ${["<", "<=", ">", ">=", "===", "!=="][this.#pick(6)]} ${side()})`;
      case 2:
        return `!${b()}`;
      case 3:
        return `(${b()} ${["&&", "||"][this.#pick(2)]} ${b()})`;
      case 4:
        return `(${b()} ${["===", "!=="][this.#pick(2)]} ${b()})`;
      default:
        return this.#named("b") ?? `(${this.#pick(2) === 0})`;
    }
  }

  #literal(): string {
    const edges = [1, 2, 3, 31, 255, 65_535, 2_147_483_647, 2_147_483_648, 4_294_967_295];
    return String(edges[this.#pick(edges.length)]);
  }

  #signed(): string {
    const edges = [1, 2, -1, 3, -3, 100, -100, 65_536, 2_147_483_647, -2_147_483_647];
    const value = edges[this.#pick(edges.length)]!;
    return value < 0 ? `(${value})` : String(value);
  }

  #fraction(): string {
    const value = (this.#pick(64) - 16) / 4;
    return value < 0 ? `(${value})` : String(value);
  }
}

const limited = (text: string): string => `Math.min(Math.max(${text}, -4096), 4096)`;
