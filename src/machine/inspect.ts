/**
 * What `console.log` shows of memory: what it is, where it lies, and the first of what is in it.
 * Nothing else is touched, and nothing at all where it may not be touched now.
 */
import { formatAddress } from "../base/index.ts";
import type { MemoryAccess } from "./memory-access.ts";
import { type PtrSchema, type ScalarSchema, type Schema, schemaName, wordName } from "./schema.ts";

/** Node's `util.inspect` calls a method of this name. */
export const INSPECT: unique symbol = Symbol.for("nodejs.util.inspect.custom");

/** Of an array: so many numbers, or so many of what is larger. */
const WORDS_MAX = 8;
const PARTS_MAX = 3;

/** `Node at 0x38000010 { key: 5, left: 0x0 }`. */
export function describeView(schema: Schema, memory: MemoryAccess, address: number): string {
  const what = `${schemaName(schema)} at ${formatAddress(address)}`;
  const content = contentOf(schema, memory, address);
  return content === undefined ? what : `${what} ${content}`;
}

/** `[1, 2, … 98 more]`. */
export function listText(first: readonly string[], length: number): string {
  const rest = length > first.length ? [`… ${length - first.length} more`] : [];
  return `[${[...first, ...rest].join(", ")}]`;
}

/** Nothing where part of it may not be read now. */
function contentOf(schema: Schema, memory: MemoryAccess, address: number): string | undefined {
  switch (schema.kind) {
    case "scalar":
    case "ptr":
      return wordsAt(schema, memory, { address, count: 1 })?.[0];
    case "vector": {
      const words = { address, count: schema.length };
      const parts = wordsAt({ kind: "scalar", name: schema.component }, memory, words);
      return parts && listText(parts, schema.length);
    }
    case "array": {
      const { element, length, stride } = schema;
      const isWord = element.kind === "scalar" || element.kind === "ptr";
      const count = Math.min(length, isWord ? WORDS_MAX : PARTS_MAX);
      const parts = isWord
        ? wordsAt(element, memory, { address, count })
        : whole(
            Array.from({ length: count }, (_, i) =>
              contentOf(element, memory, address + i * stride),
            ),
          );
      return parts && listText(parts, length);
    }
    case "struct": {
      const parts = Object.entries(schema.fields).map(([field, member]) => {
        const text = contentOf(member, memory, address + schema.offsets[field]!);
        return text && `${field}: ${text}`;
      });
      const texts = whole(parts);
      return texts && `{ ${texts.join(", ")} }`;
    }
  }
}

const whole = (parts: readonly (string | undefined)[]): readonly string[] | undefined =>
  parts.includes(undefined) ? undefined : (parts as readonly string[]);

type Word = Pick<ScalarSchema, "kind" | "name"> | Pick<PtrSchema, "kind">;

function wordsAt(
  word: Word,
  memory: MemoryAccess,
  { address, count }: { readonly address: number; readonly count: number },
): readonly string[] | undefined {
  if (count > 0 && !mayRead(memory, address, count * 4)) return undefined;
  const words = memory[wordName(word)].subarray(address >>> 2, (address >>> 2) + count);
  return Array.from(words, (value) => {
    if (word.kind === "ptr") return formatAddress(value);
    return word.name === "f32" ? shortest(value) : String(value);
  });
}

function mayRead(memory: MemoryAccess, address: number, bytes: number): boolean {
  if (memory.mayRead !== undefined) return memory.mayRead(address, bytes);
  try {
    memory.need(address, bytes, false);
    return true;
  } catch {
    return false;
  }
}

/** As few digits as tell this f32 from all others: 0.1, not 0.10000000149011612. */
function shortest(value: number): string {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(value);
}
