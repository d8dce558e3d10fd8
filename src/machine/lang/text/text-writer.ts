/** Lines of generated text, and the names of variables in it: each its own, near the one given. */
import type { Variable } from "../form/index.ts";

/** Letters and digits; nothing that could be a function of ours (`load_u32`) or a keyword. */
const PLAIN = /^[A-Za-z][A-Za-z0-9]*$/;

export class TextWriter {
  #lines: string[] = [];
  #indent = "";
  readonly #reserved: (name: string) => boolean;
  readonly #names = new Map<Variable, string>();
  readonly #taken = new Set<string>();

  constructor(isReserved: (name: string) => boolean) {
    this.#reserved = isReserved;
  }

  get text(): string {
    return this.#lines.join("\n");
  }

  line(text: string): void {
    this.#lines.push(this.#indent + text);
  }

  /** `head`, the lines of `body` one step further in, and `tail`. */
  block(head: string, body: () => void, tail = "}"): void {
    this.line(head);
    const before = this.#indent;
    this.#indent += "  ";
    body();
    this.#indent = before;
    this.line(tail);
  }

  /** The lines that `body` writes, which are not in the text. */
  apart<Result>(body: () => Result): { readonly lines: string[]; readonly result: Result } {
    const [lines, indent] = [this.#lines, this.#indent];
    this.#lines = [];
    this.#indent = "";
    try {
      const result = body();
      return { lines: this.#lines, result };
    } finally {
      this.#lines = lines;
      this.#indent = indent;
    }
  }

  isNamed(variable: Variable): boolean {
    return this.#names.has(variable);
  }

  nameOf(variable: Variable): string {
    const known = this.#names.get(variable);
    if (known !== undefined) return known;
    const base = PLAIN.test(variable.name) ? variable.name : "v";
    let name = base;
    for (let k = 1; this.#taken.has(name) || this.#reserved(name); k++) name = `${base}_${k}`;
    this.#taken.add(name);
    this.#names.set(variable, name);
    return name;
  }
}
